package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

// field is a leaf of a pod's schema: a place that holds a value of its own. Its path names every
// property from the pod down to it; lists are marked [], maps {}:
// spec.containers[].resources.limits{}.
type field struct {
	path  string
	steps []step
}

// step is one property on the way to a field.
type step struct {
	name   string  // of the property
	path   string  // of the property, marks included
	owner  *schema // of the object that has the property
	schema *schema // of the property's value, or of a list's items
	list   bool
}

// schema is what the generation of pods needs of an OpenAPI v3 schema as API servers publish it.
type schema struct {
	Ref                  string             `json:"$ref"`
	AllOf                []*schema          `json:"allOf"`
	OneOf                []*schema          `json:"oneOf"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Enum                 []any              `json:"enum"`
	Required             []string           `json:"required"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
}

const (
	// podDocument is where an API server publishes the schemas of core/v1.
	podDocument = "/openapi/v3/api/v1"
	podSchema   = "io.k8s.api.core.v1.Pod"
	schemaRef   = "#/components/schemas/"
)

// schemaFields are the fields of the API server's own Pod schema.
func schemaFields(ctx context.Context, t *suites.T) []field {
	document, err := t.Kube().Discovery().RESTClient().Get().AbsPath(podDocument).SetHeader("Accept", "application/json").DoRaw(ctx)
	t.Must(err, "get %s", podDocument)
	fields, err := podFields(document)
	t.Must(err, "read the API server's Pod schema")
	return fields
}

// podFields are all fields of a pod in the API server's own OpenAPI document, in the order of their paths.
func podFields(document []byte) ([]field, error) {
	var file struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &file); err != nil {
		return nil, fmt.Errorf("decode the OpenAPI document: %w", err)
	}
	w := walker{raw: file.Components.Schemas, resolved: map[string]*schema{}}
	pod, err := w.resolve(&schema{Ref: schemaRef + podSchema})
	if err != nil {
		return nil, err
	}
	if len(pod.Properties) == 0 {
		return nil, fmt.Errorf("the OpenAPI document's %s has no fields", podSchema)
	}
	if err := w.walk(pod, nil); err != nil {
		return nil, err
	}
	return w.fields, nil
}

// walker collects fields. It decodes only the schemas that a pod refers to.
type walker struct {
	raw      map[string]json.RawMessage
	resolved map[string]*schema
	fields   []field
}

// maxDepth is far beyond any pod; it ends the walk of a schema that contains itself.
const maxDepth = 32

// walk collects the fields of an object that is reached by the steps.
func (w *walker) walk(o *schema, steps []step) error {
	prefix := ""
	if len(steps) > 0 {
		prefix = steps[len(steps)-1].path + "."
	}
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		next := step{name: name, path: prefix + name, owner: o}
		if len(steps) == maxDepth {
			return fmt.Errorf("the schema of %s is too deep, or contains itself", next.path)
		}
		if err := w.enter(&next); err != nil {
			return fmt.Errorf("field %s: %w", next.path, err)
		}
		below := append(slices.Clip(steps), next)
		if len(next.schema.Properties) == 0 {
			w.fields = append(w.fields, field{path: next.path, steps: below})
			continue
		}
		if err := w.walk(next.schema, below); err != nil {
			return err
		}
	}
	return nil
}

// enter completes a step with the schema of its property. The property is left resolved, so that a value can be made
// from it when a sibling needs it.
func (w *walker) enter(s *step) (err error) {
	value, err := w.resolve(s.owner.Properties[s.name])
	if err != nil {
		return err
	}
	s.owner.Properties[s.name], s.schema = value, value
	switch {
	case value.Items != nil:
		value.Items, err = w.resolve(value.Items)
		s.schema, s.list = value.Items, true
		s.path += "[]"
	case value.AdditionalProperties != nil:
		value.AdditionalProperties, err = w.resolve(value.AdditionalProperties)
		s.path += "{}"
	}
	return err
}

// resolve follows references, also those that are wrapped in an allOf of one to carry a default.
func (w *walker) resolve(s *schema) (*schema, error) {
	for {
		switch {
		case s.Ref != "":
			if known := w.resolved[s.Ref]; known != nil {
				return known, nil
			}
			raw, ok := w.raw[strings.TrimPrefix(s.Ref, schemaRef)]
			if !ok {
				return nil, fmt.Errorf("the OpenAPI document has no %s", s.Ref)
			}
			target := &schema{}
			if err := json.Unmarshal(raw, target); err != nil {
				return nil, fmt.Errorf("decode %s: %w", s.Ref, err)
			}
			w.resolved[s.Ref] = target
			s = target
		case len(s.AllOf) == 1 && s.Type == "":
			s = s.AllOf[0]
		default:
			return s, nil
		}
	}
}
