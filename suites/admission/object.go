package admission

import (
	"iter"
	"slices"
)

// JSON as it is: pods with fields that no client library knows are never Go types here.
type (
	object = map[string]any
	list   = []any
)

// child is the object at a path of properties; nil, which can be read, if there is none.
func child(o object, path ...string) object {
	for _, name := range path {
		o, _ = o[name].(object)
	}
	return o
}

// items are the objects of a list.
func items(o object, key string) iter.Seq[object] {
	return func(yield func(object) bool) {
		elements, _ := o[key].(list)
		for _, element := range elements {
			if item, ok := element.(object); ok && !yield(item) {
				return
			}
		}
	}
}

// byName is the object of that name in a list, or nil.
func byName(o object, key string, name any) object {
	for item := range items(o, key) {
		if item["name"] == name {
			return item
		}
	}
	return nil
}

// remove takes objects out of a list, and takes the list out when it is empty: API servers leave empty lists out.
func remove(o object, key string, drop func(object) bool) {
	elements, ok := o[key].(list)
	if !ok {
		return
	}
	elements = slices.DeleteFunc(elements, func(element any) bool {
		item, ok := element.(object)
		return ok && drop(item)
	})
	if o[key] = elements; len(elements) == 0 {
		delete(o, key)
	}
}

// merge adds to dst what it does not have yet, lists element by element.
func merge(dst, src object) {
	for key, value := range src {
		have, ok := dst[key]
		if !ok {
			dst[key] = clone(value)
			continue
		}
		dst[key] = merged(have, value)
	}
}

// merged is have with what only value has. What is neither object nor list in both stays as it is.
func merged(have, value any) any {
	switch value := value.(type) {
	case object:
		if have, ok := have.(object); ok {
			merge(have, value)
		}
	case list:
		if have, ok := have.(list); ok {
			for i, element := range value {
				if i < len(have) {
					have[i] = merged(have[i], element)
				} else {
					have = append(have, clone(element))
				}
			}
			return have
		}
	}
	return have
}

// clone keeps pods from sharing what is merged into them later.
func clone(value any) any {
	switch value := value.(type) {
	case object:
		c := make(object, len(value))
		for k, v := range value {
			c[k] = clone(v)
		}
		return c
	case list:
		c := make(list, len(value))
		for i, v := range value {
			c[i] = clone(v)
		}
		return c
	default:
		return value
	}
}
