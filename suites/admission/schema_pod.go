package admission

import (
	"slices"
	"strings"
)

// recipe is what makes a valid pod of a field where its schema does not say enough.
type recipe struct {
	// value of the field, instead of one made from its schema.
	value any
	// with is what goes with it: further properties of an object, the properties beside a value.
	with object
	// pod is what it needs elsewhere in the pod.
	pod object
	// oneOf are the properties of which this object must have one; the first is the one that is added.
	oneOf []string
	// off is part of the refusal by an API server that has the field's feature off, if what is left of the pod without
	// the field is invalid. Most fields are dropped without a refusal.
	off string
}

// podWith is a pod that has the field. base gives what every pod needs.
//
// What is there stays, so that the most specific source wins: first the field itself, then what its recipe and those
// of the objects that hold it add, then the base, then what the schema requires. All lists
// have one element and are merged element by element.
func podWith(f field, base object) object {
	pod := object{}
	holders := place(pod, f)
	for i, s := range slices.Backward(f.steps) {
		for r := range recipesFor(s.path) {
			merge(pod, r.pod)
			if i+1 < len(f.steps) {
				merge(holders[i+1], r.with)
				addOneOf(holders[i+1], r.oneOf, s.schema, s.path)
			} else {
				merge(holders[i], r.with)
			}
		}
	}
	merge(pod, base)
	for i, s := range slices.Backward(f.steps) {
		path := ""
		if i > 0 {
			path = f.steps[i-1].path
		}
		addRequired(holders[i], s.owner, path)
	}
	return pod
}

// place puts the field's value into the pod and returns the object that holds each step's property.
func place(pod object, f field) []object {
	var holders []object
	node := pod
	for i, s := range f.steps {
		holders = append(holders, node)
		var value any
		if i == len(f.steps)-1 {
			value = leafValue(s.schema, s.path)
		} else {
			value = object{}
		}
		next, _ := value.(object)
		if s.list {
			value = list{value}
		}
		node[s.name] = value
		node = next
	}
	return holders
}

// valueOf is a value for a property that is needed, but is not the one that matters.
func valueOf(s *schema, path string) any {
	if s.Items != nil {
		return list{leafValue(s.Items, path+"[]")}
	}
	if s.AdditionalProperties != nil {
		path += "{}"
	}
	return leafValue(s, path)
}

// leafValue is the recipe's value for the path, else one that the schema allows. It is never a type's zero
// value, which the API server would leave out.
func leafValue(s *schema, path string) any {
	for r := range recipesFor(path) {
		if r.value != nil {
			return clone(r.value)
		}
	}
	switch {
	case len(s.Properties) > 0:
		o := object{}
		for r := range recipesFor(path) {
			merge(o, r.with)
			addOneOf(o, r.oneOf, s, path)
		}
		addRequired(o, s, path)
		return o
	case s.AdditionalProperties != nil:
		return object{"wi-e2e": valueOf(s.AdditionalProperties, path)}
	case len(s.Enum) > 0:
		return s.Enum[len(s.Enum)-1]
	case s.Type == "boolean":
		return true
	case s.Type == "integer", s.Type == "number", s.Format == "int-or-string":
		return 7
	case s.Type == "object":
		return object{}
	case s.Type == "string":
		return "wi-e2e"
	default: // a quantity: a string or a number
		return "7"
	}
}

// addRequired adds the properties that the schema says an object must have.
func addRequired(o object, s *schema, path string) {
	for _, name := range s.Required {
		if _, ok := o[name]; !ok {
			o[name] = valueOf(s.Properties[name], strings.TrimPrefix(path+"."+name, "."))
		}
	}
}

// addOneOf adds the first of the properties if the object has none of them.
func addOneOf(o object, names []string, s *schema, path string) {
	if len(names) == 0 || slices.ContainsFunc(names, func(name string) bool { return o[name] != nil }) {
		return
	}
	o[names[0]] = valueOf(s.Properties[names[0]], path+"."+names[0])
}

// has says whether a pod has the field: through lists, whether any element has it.
func has(value any, steps []step) bool {
	if len(steps) == 0 {
		return true
	}
	o, _ := value.(object)
	next, ok := o[steps[0].name]
	if !ok {
		return false
	}
	if elements, ok := next.(list); ok && steps[0].list {
		return slices.ContainsFunc(elements, func(item any) bool { return has(item, steps[1:]) })
	}
	return has(next, steps[1:])
}
