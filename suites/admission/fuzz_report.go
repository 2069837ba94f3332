package admission

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/suites"
)

// report holds an invariant against all pods at once: an expectation a pod, and the smallest violations as reproducers.
func (f *fuzzer) report(ctx context.Context, t *suites.T, inv invariant, violations []violation, held int) {
	for range held - len(violations) {
		t.Check(true, "")
	}
	if len(violations) > 0 {
		t.Note("%d of %d pods violate it", len(violations), held)
	}
	var reproducers []string
	for _, v := range violations[:min(len(violations), shownViolations)] {
		pod, what := f.shrink(ctx, t, inv, f.pods.pod(v.index))
		found := fmt.Sprintf("pod %d of seed %d: %s", v.index, t.Env().Fuzz.Seed, cmp.Or(what, v.what+" (but not when it was sent once more)"))
		r := reproducer(t, pod)
		if !slices.Contains(reproducers, r) { // another pod with the same fault
			reproducers = append(reproducers, r)
			t.Check(false, "%s\n%s", found, r)
		}
	}
}

// mostCreates bounds what it costs to shrink one pod.
const mostCreates = 500

// shrink takes away from a pod whatever is not needed to violate the invariant. It returns the pod as it is, and no violation, if
// it does not violate the invariant when it is sent once more.
func (f *fuzzer) shrink(ctx context.Context, t *suites.T, inv invariant, pod object) (object, string) {
	tries := mostCreates / 2
	if inv.again {
		tries = mostCreates / 4
	}
	what := ""
	s := shrinker{pod: pod, fails: func(pod object) bool {
		if tries--; tries < 0 {
			return false
		}
		o, refusal := f.observe(ctx, t, pod, inv.again)
		if refusal != "" {
			return false
		}
		found := inv.violated(o)
		if found != "" {
			what = found
		}
		return found != ""
	}}
	if s.fails(pod) {
		s.shrink()
	}
	return s.pod, what
}

// shrinker makes a pod smaller as long as it fails.
type shrinker struct {
	pod   object
	fails func(pod object) bool
}

// shrink ends with a pod that fails, and does not without any one of its parts.
func (s *shrinker) shrink() {
	for smaller := true; smaller; {
		smaller = false
		for _, key := range []string{"spec", "metadata"} {
			smaller = s.below(key) || smaller
		}
	}
}

// needed are parts that no pod, or not this one, can be without.
var needed = map[string]bool{"metadata.name": true, "metadata.generateName": true, "spec.serviceAccountName": true}

// below tries to do without each part of the value at the path, and then without parts of the parts that are left.
func (s *shrinker) below(path ...any) (smaller bool) {
	for _, key := range keysOf(at(s.pod, path)) {
		here := append(slices.Clip(path), key)
		if !needed[fmt.Sprintf("%v.%v", path[len(path)-1], key)] && s.try(here, nil) {
			smaller = true
			continue
		}
		switch {
		case key == suites.SkipAnnotation:
			smaller = s.items(here) || smaller
		case key == "name" && len(path) == 3 && at(s.pod, here) != "app":
			smaller = s.try(here, "app") || smaller // if the container's name does not matter, all show the same
		}
		smaller = s.below(here...) || smaller
	}
	return smaller
}

// items tries to do without the names of a skip-containers annotation.
func (s *shrinker) items(path []any) (smaller bool) {
	annotation, _ := at(s.pod, path).(string)
	names := strings.Split(annotation, ";")
	for i := len(names) - 1; i >= 0 && len(names) > 1; i-- {
		fewer := slices.Delete(slices.Clone(names), i, i+1)
		if s.try(path, strings.Join(fewer, ";")) {
			names, smaller = fewer, true
		}
	}
	return smaller
}

// try replaces what is at the path, or removes it for nil, if the pod then still fails.
func (s *shrinker) try(path []any, value any) bool {
	smaller, _ := replaced(s.pod, path, value).(object)
	if !s.fails(smaller) {
		return false
	}
	s.pod = smaller
	return true
}

// keysOf are the keys of an object, or the indexes of a list, the last one first: to remove one leaves the others where they are.
func keysOf(value any) []any {
	var keys []any
	switch value := value.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			keys = append(keys, key)
		}
	case list:
		for i := range slices.Backward(value) {
			keys = append(keys, i)
		}
	}
	return keys
}

// at is the value at a path of keys and indexes.
func at(value any, path []any) any {
	for _, key := range path {
		switch key := key.(type) {
		case string:
			o, _ := value.(object)
			value = o[key]
		case int:
			value = value.(list)[key]
		}
	}
	return value
}

// replaced is a copy with another value at the path, or none for nil. What is not on the path is shared.
func replaced(value any, path []any, with any) any {
	if len(path) == 0 {
		return with
	}
	switch value := value.(type) {
	case object:
		key, _ := path[0].(string)
		c := make(object, len(value))
		for k, v := range value {
			c[k] = v
		}
		if c[key] = replaced(value[key], path[1:], with); c[key] == nil {
			delete(c, key)
		}
		return c
	case list:
		i, _ := path[0].(int)
		c := slices.Clone(value)
		if c[i] = replaced(value[i], path[1:], with); c[i] == nil {
			c = slices.Delete(c, i, i+1)
		}
		return c
	}
	return value
}

// reproducer is what a person pastes into a shell to see what the test saw.
func reproducer(t *suites.T, pod object) string {
	text, err := yaml.Marshal(withLabel(pod))
	t.Must(err, "write the pod as YAML")
	account := fmt.Sprintf("kubectl create serviceaccount %s && kubectl annotate serviceaccount %[1]s %s=%s", fieldsServiceAccount, suites.ClientIDAnnotation, clientID)
	const create = "kubectl create --dry-run=server -o yaml -f "
	return fmt.Sprintf("%s\ncat >pod.yaml <<'EOF'\n%sEOF\n%spod.yaml\ngrep -v %s: pod.yaml | %s-", account, text, create, suites.UseLabel, create)
}

func compact(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		return []byte(err.Error())
	}
	return data
}
