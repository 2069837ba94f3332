package admission

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

// invariant holds for every pod, whatever is in it.
type invariant struct {
	requirement string
	name        string // of its case
	again       bool   // takes further creates, which only some pods get
	// violated says what is wrong; empty if nothing is.
	violated func(o *observation) string
}

var invariants = []invariant{
	{"ADM-01", "nothing but the injected parts changes", false, onlyInjectedChanges},
	{"ADM-02", "a mutated pod that is sent again gains nothing", true, gainsNothing},
	{"ADM-04", "the same request gives the same pod", true, sameAgain},
	{"ENV-06", "a variable of the user's own stays as it is, and alone", false, variablesStay},
	{"VOL-02", "every container that is not skipped has the token, read-only", false, tokenMounted},
	{"SKP-02", "a skipped container has nothing, the others have their variables", false, onlySkippedHaveNothing},
}

// observation is what the API server made of one pod, without what differs between any two pods.
type observation struct {
	// plain is the pod without the label, mutated the one with it.
	plain   object
	mutated answer
	// twin is the answer to the same request, resubmitted that to the mutated pod. Both are empty unless they were asked for.
	twin, resubmitted answer

	variables []string        // that an ordinary container gets
	skipped   map[string]bool // names in the pod's annotation
	size      int             // of the request
}

// answer is a pod, or why it was refused.
type answer struct {
	pod     object
	refusal string
}

func onlyInjectedChanges(o *observation) string {
	if o.mutated.refusal != "" {
		return "the pod is refused with the label, but admitted without: " + o.mutated.refusal
	}
	got, _ := clone(o.mutated.pod).(object)
	removeInjected(got, o.plain)
	if metadata := child(got, "metadata"); len(child(metadata, "labels")) == 0 {
		delete(metadata, "labels") // as API servers do
	}
	return difference("without the label", o.plain, "with it", got)
}

func gainsNothing(o *observation) string {
	switch {
	case o.resubmitted.refusal != "":
		return "the mutated pod is refused when it is sent again: " + o.resubmitted.refusal
	case o.resubmitted.pod == nil:
		return ""
	}
	return difference("at first", o.mutated.pod, "sent again", o.resubmitted.pod)
}

func sameAgain(o *observation) string {
	switch {
	case o.twin.refusal != "":
		return "the same pod is refused at the second time: " + o.twin.refusal
	case o.twin.pod == nil:
		return ""
	}
	return difference("at first", o.mutated.pod, "the second time", o.twin.pod)
}

func variablesStay(o *observation) string {
	for c := range o.containers() {
		for e := range items(c.after, "env") {
			want, got := declaredIn(c.before, name(e)), declaredIn(c.after, name(e))
			if want == nil && len(got) > 1 {
				return fmt.Sprintf("container %s has %d declarations of %s", c.name, len(got), name(e))
			}
			if want != nil && !same(want, got) {
				return fmt.Sprintf("container %s declares %s itself: %s, and with the label %s", c.name, name(e), shown(want), shown(got))
			}
		}
		for e := range items(c.before, "env") {
			if declaredIn(c.after, name(e)) == nil {
				return fmt.Sprintf("container %s has lost its own %s", c.name, name(e))
			}
		}
	}
	return ""
}

func tokenMounted(o *observation) string {
	if o.mutated.refusal != "" {
		return ""
	}
	tokens := o.tokens()
	if len(tokens) != 1 {
		return fmt.Sprintf("%d token volumes were added, want 1", len(tokens))
	}
	directory := ""
	for c := range o.containers() {
		if o.skipped[c.name] {
			continue
		}
		mounts := c.mountsOf(tokens)
		if len(mounts) != 1 {
			return fmt.Sprintf("container %s mounts the token %d times, want 1", c.name, len(mounts))
		}
		m := mounts[0]
		path, _ := m["mountPath"].(string)
		switch {
		case m["readOnly"] != true:
			return fmt.Sprintf("container %s can write to the token's mount", c.name)
		case m["subPath"] != nil || m["subPathExpr"] != nil:
			return fmt.Sprintf("container %s mounts the token with a subPath", c.name)
		case directory != "" && path != directory:
			return fmt.Sprintf("container %s has the token at %s, another container at %s", c.name, path, directory)
		}
		directory = path
		for _, e := range c.gained() {
			if want := path + "/" + tokens[name(m)]; name(e) == suites.TokenFileVariable && e["value"] != want {
				return fmt.Sprintf("container %s has %s %v, want %s", c.name, suites.TokenFileVariable, e["value"], want)
			}
		}
	}
	return ""
}

func onlySkippedHaveNothing(o *observation) string {
	tokens := o.tokens()
	for c := range o.containers() {
		if !o.skipped[c.name] {
			for _, v := range o.variables {
				if declaredIn(c.after, v) == nil {
					return fmt.Sprintf("container %s is not skipped, but has no %s", c.name, v)
				}
			}
			continue
		}
		for _, e := range c.gained() {
			if strings.HasPrefix(name(e), "AZURE_") {
				return fmt.Sprintf("container %s is skipped, but got %s", c.name, name(e))
			}
		}
		if len(c.mountsOf(tokens)) > 0 {
			return fmt.Sprintf("container %s is skipped, but has the token", c.name)
		}
	}
	return ""
}

// mutation is a container of a mutated pod.
type mutation struct {
	name          string
	before, after object // before is nil if the container was added
}

// containers are those of the mutated pod; none if it is refused.
func (o *observation) containers() iter.Seq[mutation] {
	return func(yield func(mutation) bool) {
		spec, plain := child(o.mutated.pod, "spec"), child(o.plain, "spec")
		for _, key := range containerLists {
			for c := range items(spec, key) {
				if !yield(mutation{name(c), byName(plain, key, c["name"]), c}) {
					return
				}
			}
		}
	}
}

// tokens are the token volumes that were added: the token's path in each, by the volume's name.
func (o *observation) tokens() map[string]string {
	tokens := map[string]string{}
	for v := range items(child(o.mutated.pod, "spec"), "volumes") {
		if !isToken(v) || byName(child(o.plain, "spec"), "volumes", v["name"]) != nil {
			continue
		}
		for s := range items(child(v, "projected"), "sources") {
			if path, ok := child(s, "serviceAccountToken")["path"].(string); ok {
				tokens[name(v)] = path
			}
		}
	}
	return tokens
}

// gained are the variables that the container did not declare.
func (m mutation) gained() []object {
	var gained []object
	for e := range items(m.after, "env") {
		if byName(m.before, "env", e["name"]) == nil {
			gained = append(gained, e)
		}
	}
	return gained
}

func (m mutation) mountsOf(volumes map[string]string) []object {
	var mounts []object
	for v := range items(m.after, "volumeMounts") {
		if _, ok := volumes[name(v)]; ok {
			mounts = append(mounts, v)
		}
	}
	return mounts
}

// declaredIn are all those of a variable in a container, in their order.
func declaredIn(container object, variable string) list {
	var all list
	for e := range items(container, "env") {
		if name(e) == variable {
			all = append(all, e)
		}
	}
	return all
}

// skippedNames reads the pod's skip-containers annotation as SKP-01 has it.
func skippedNames(pod object) map[string]bool {
	annotation, _ := child(pod, "metadata", "annotations")[suites.SkipAnnotation].(string)
	skipped := map[string]bool{}
	for _, item := range strings.Split(annotation, ";") {
		skipped[strings.TrimSpace(item)] = true
	}
	return skipped
}

// difference names the first place where two values differ; empty if they are the same.
func difference(nameA string, a any, nameB string, b any) string {
	if same(a, b) {
		return ""
	}
	path, a, b := firstDifference("", a, b)
	return fmt.Sprintf("%s is %s %s, %s %s", strings.TrimPrefix(path, "."), shown(a), nameA, shown(b), nameB)
}

// same is reflect.DeepEqual for JSON, at a fraction of its cost: it is what the fuzzing itself computes.
func same(a, b any) bool {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			if other, ok := b[key]; !ok || !same(value, other) {
				return false
			}
		}
		return true
	case list:
		b, ok := b.(list)
		return ok && slices.EqualFunc(a, b, same)
	}
	switch b.(type) {
	case object, list:
		return false
	}
	return a == b
}

func firstDifference(path string, a, b any) (string, any, any) {
	switch a := a.(type) {
	case object:
		b, ok := b.(object)
		if !ok {
			break
		}
		keys := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
		slices.Sort(keys)
		for _, key := range keys {
			if !same(a[key], b[key]) {
				return firstDifference(path+"."+key, a[key], b[key])
			}
		}
	case list:
		b, ok := b.(list)
		if !ok {
			break
		}
		for i := range min(len(a), len(b)) {
			if !same(a[i], b[i]) {
				return firstDifference(fmt.Sprintf("%s[%d]", path, i), a[i], b[i])
			}
		}
	}
	return path, a, b
}

// shown is a value as JSON.
func shown(value any) string {
	if value == nil {
		return "missing"
	}
	return string(compact(value))
}

func name(o object) string {
	name, _ := o["name"].(string)
	return name
}

var containerLists = []string{"initContainers", "containers"}
