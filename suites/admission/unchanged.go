package admission

import (
	"context"
	_ "embed"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/suites"
)

func mechanicsUnchanged() []suites.Test {
	return []suites.Test{
		{
			ID:           "unchanged-schema-fields",
			Title:        "Nothing but the injected parts changes, for every field of the API server's own Pod schema",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-01"},
			Timeout:      2 * time.Minute, // several hundred fields
			Body:         unchangedSchemaFields,
		},
		{
			ID:           "unchanged-rich-pod",
			Title:        "Nothing but the injected parts changes in a pod that uses many features at once",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-01"},
			Body:         unchangedRichPod,
		},
	}
}

// comparison is what became of one field.
type comparison int

const (
	ended    comparison = iota // before there was anything to compare; the case says why
	compared                   // equal or not
	dropped                    // by the API server, which knows the field but has its feature off
	refused                    // by a policy of the cluster, with and without the label
)

func unchangedSchemaFields(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	t.ServiceAccount(ctx, fieldsServiceAccount, identified())
	fields := schemaFields(ctx, t)

	control := func(ctx context.Context, t *suites.T) {
		pod := fieldsBase()
		plain, refusal := send(ctx, t, ns, encode(t, pod))
		if refusal != nil {
			t.Broken("a plain pod is refused without the label: %s", refusal.Message)
		}
		compareLabelled(ctx, t, ns, pod, plain)
	}
	if keptWithLabel(ctx, t, ns, fieldsBase()) == nil {
		// Then no pod comes back as it was, and several hundred cases would all say so.
		t.Case(ctx, "none of the fields", control)
		return
	}

	type result struct {
		path    string
		outcome comparison
	}
	results := make(chan result, len(fields))
	cases, skipped := 0, map[string]int{}
	var settable []field
	for _, f := range fields {
		if _, ok := notSettableBecause(f); !ok {
			settable = append(settable, f)
		}
	}
	batches := batchesOf(settable)
	for _, f := range fields {
		if reason, ok := notSettableBecause(f); ok {
			skipped[reason]++
			continue
		}
		cases++
		t.Case(ctx, f.path, func(ctx context.Context, t *suites.T) {
			r := result{path: f.path}
			defer func() { results <- r }() // also when an expectation ends the case
			proved := slices.ContainsFunc(batches[f.path], func(b *batch) bool { return b.unchanged(ctx, t, ns, f) })
			if proved {
				t.Check(proved, "")
				r.outcome = compared
				return
			}
			r.outcome = compareField(ctx, t, ns, f)
		})
	}
	paths := map[comparison][]string{}
	for range cases {
		select {
		case r := <-results:
			paths[r.outcome] = append(paths[r.outcome], r.path)
		case <-ctx.Done():
			t.Broken("wait for the fields to be compared: %v", context.Cause(ctx))
		}
	}
	// The control beside all fields, and the place for what there is to say of them together.
	t.Case(ctx, "none of the fields", func(ctx context.Context, t *suites.T) {
		t.Note("%d fields in the API server's Pod schema, %d of them compared", len(fields), len(paths[compared]))
		noteFields(t, "dropped by the API server, which has their feature off", paths[dropped])
		noteFields(t, "refused by a policy of the cluster", paths[refused])
		for _, reason := range slices.Sorted(maps.Keys(skipped)) {
			t.Note("%d not sent: %s", skipped[reason], reason)
		}
		if len(paths[dropped])+len(paths[refused]) == cases {
			t.Broken("not one field of the schema could be compared")
		}
		control(ctx, t)
	})
}

func noteFields(t *suites.T, what string, paths []string) {
	if len(paths) > 0 {
		slices.Sort(paths)
		t.Note("%d %s: %s", len(paths), what, strings.Join(paths, ", "))
	}
}

// batch is a number of fields that are sent in one pod, which proves all of them with one pair of creates in most
// cases. A batch that the API server refuses, or that comes back changed, proves nothing: its fields are then sent in smaller
// batches and at last alone, to see which it is and why.
type batch struct {
	fields []field

	once sync.Once
	kept object // the API server's pod without the label, if it is the one with it too
}

// batchesOf gives for each field, by its path, the batches that it is in, the larger first: with the fields of all
// objects of the same kind (every probe's httpGet), and with those of the same object. Fields of one kind seldom exclude each other.
func batchesOf(fields []field) map[string][]*batch {
	batches := map[string][]*batch{}
	for _, key := range []func(field) any{
		func(f field) any { return f.steps[len(f.steps)-1].owner },
		func(f field) any { return f.path[:strings.LastIndex(f.path, ".")] },
	} {
		together := map[any]*batch{}
		for _, f := range fields {
			b := together[key(f)]
			if b == nil {
				b = &batch{}
				together[key(f)] = b
			}
			b.fields = append(b.fields, f)
			batches[f.path] = append(batches[f.path], b)
		}
	}
	return batches
}

// unchanged says whether the batch, and f in it, came back as it was.
func (b *batch) unchanged(ctx context.Context, t *suites.T, ns string, f field) bool {
	if len(b.fields) == 1 {
		return false
	}
	b.once.Do(func() {
		pod := object{}
		for _, f := range b.fields {
			merge(pod, podWith(f, fieldsBase()))
		}
		b.kept = keptWithLabel(ctx, t, ns, pod)
	})
	return b.kept != nil && has(b.kept, f.steps)
}

// keptWithLabel is the API server's pod without the label, if it is the one with it too; nil if not, or if one is refused.
func keptWithLabel(ctx context.Context, t *suites.T, ns string, pod object) object {
	plain, refusal := send(ctx, t, ns, encode(t, pod))
	if refusal != nil {
		return nil
	}
	merge(pod, labelled)
	mutated, refusal := send(ctx, t, ns, encode(t, pod))
	if refusal != nil {
		return nil
	}
	if want, got := comparablePods(t, plain, mutated); reflect.DeepEqual(want, got) {
		return want
	}
	return nil
}

// compareField sends a pod with that field twice, without and with the label, and compares the answers.
func compareField(ctx context.Context, t *suites.T, ns string, f field) comparison {
	pod := podWith(f, fieldsBase())
	plain, refusal := send(ctx, t, ns, encode(t, pod))
	if refusal != nil {
		return compareRefused(ctx, t, ns, f, pod, refusal)
	}
	if want := compareLabelled(ctx, t, ns, pod, plain); !has(want, f.steps) {
		t.Note("the API server drops the field, so only the rest of the pod was compared")
		return dropped
	}
	return compared
}

// compareLabelled sends a pod with the label and compares the answer with the one to the pod without, which it returns.
func compareLabelled(ctx context.Context, t *suites.T, ns string, pod object, plain []byte) object {
	merge(pod, labelled)
	mutated, refusal := send(ctx, t, ns, encode(t, pod))
	t.Require(refusal == nil, "the pod is refused with the label, but admitted without: %s", describe(refusal))
	want, got := comparablePods(t, plain, mutated)
	t.Equal("the pod without what was injected", want, got)
	return want
}

// comparablePods are the pod without the label, and the one with it as it would be without what was injected.
func comparablePods(t *suites.T, plain, mutated []byte) (want, got object) {
	want, got = decodeObject(t, plain), decodeObject(t, mutated)
	removeIncidental(want)
	removeIncidental(got)
	removeInjected(got, want)
	return want, got
}

// compareRefused decides what the refusal of a pod without the label means; with the label it must be refused as well.
func compareRefused(ctx context.Context, t *suites.T, ns string, f field, pod object, refusal *metav1.Status) comparison {
	outcome := refused
	switch {
	case refusal.Code == http.StatusForbidden, strings.Contains(refusal.Message, "denied the request"):
		t.Note("a policy of the cluster refuses the pod, nothing to compare: %s", refusal.Message)
	case featureOff(f, refusal):
		t.Note("the API server drops the field, nothing to compare: %s", refusal.Message)
		outcome = dropped
	default:
		t.Broken("the harness has no valid value for %s (extend schema_values.go): %s", f.path, refusal.Message)
	}
	merge(pod, labelled)
	_, twin := send(ctx, t, ns, encode(t, pod))
	t.Check(twin != nil, "the pod is admitted with the label, but refused without: %s", refusal.Message)
	return outcome
}

// featureOff says whether a pod is refused because the API server dropped the field that made it valid.
func featureOff(f field, refusal *metav1.Status) bool {
	for _, s := range f.steps {
		for r := range recipesFor(s.path) {
			if r.off != "" && strings.Contains(refusal.Message, r.off) {
				return true
			}
		}
	}
	return false
}

var labelled = object{"metadata": object{"labels": object{suites.UseLabel: "true"}}}

// richPod has many containers, volumes of many kinds, and fields that depend on each other. Some of its containers have
// requests, so that its QoS class stays the same with a proxy beside them.
//
//go:embed rich_pod.yaml
var richPod []byte

func unchangedRichPod(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	t.ServiceAccount(ctx, fieldsServiceAccount, identified())
	for _, c := range []struct {
		name   string
		change func(metadata, spec object)
	}{
		{"as it is", func(metadata, spec object) {}},
		{"with a generated name", func(metadata, spec object) {
			delete(metadata, "name")
			metadata["generateName"] = "rich-"
		}},
		{"with the default token's mount", func(metadata, spec object) { delete(spec, "automountServiceAccountToken") }},
		{"with a skipped container", func(metadata, spec object) {
			metadata["annotations"] = object{suites.SkipAnnotation: "app;migrate"}
		}},
		{"with the proxy", func(metadata, spec object) {
			metadata["annotations"] = object{suites.ProxyAnnotation: "true"}
		}},
	} {
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := object{}
			t.Must(yaml.UnmarshalStrict(richPod, &pod), "read rich_pod.yaml")
			c.change(child(pod, "metadata"), child(pod, "spec"))
			plain, refusal := send(ctx, t, ns, encode(t, pod))
			if refusal != nil {
				t.Broken("rich_pod.yaml is refused without the label: %s", refusal.Message)
			}
			compareLabelled(ctx, t, ns, pod, plain)
		})
	}
}
