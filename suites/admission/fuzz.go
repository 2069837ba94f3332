package admission

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wi-e2e/wi-e2e/suites"
)

func fuzzTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "fuzzed-pods",
			Title:        "Random pods are mutated by the rules, and are otherwise as they were",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-01", "ADM-02", "ADM-04", "ENV-06", "VOL-02", "SKP-02"},
			Timeout:      10 * time.Minute, // for as many pods as the user asks for
			Body:         fuzzedPods,
		},
	}
}

const (
	// fuzzWorkers keep two processors busy: more of them only make each create slower.
	fuzzWorkers = 16
	// everyPod is how often a pod is sent again, for the rules that take a further create each.
	everyPod = 8
	// shownViolations of an invariant are shrunk and shown, the smallest pods first. The others are counted.
	shownViolations = 3
)

func fuzzedPods(ctx context.Context, t *suites.T) {
	f := newFuzzer(ctx, t)
	tally := f.fuzz(ctx, t)
	if tally == nil {
		return // a worker broke, and has said why
	}
	t.Note("seed %d: %d pods, %d of them checked, %d of these sent again; %d discarded, which the API server refuses without the label",
		t.Env().Fuzz.Seed, tally.checked+tally.discarded, tally.checked, tally.again, tally.discarded)
	if tally.discarded > 0 {
		t.Note("pod %d is discarded: %s", tally.example.index, tally.example.refusal)
	}
	if tally.checked < tally.discarded {
		t.Broken("the API server refuses most of the pods, so that next to nothing is checked; pod %d: %s", tally.example.index, tally.example.refusal)
	}
	for i, inv := range invariants {
		t.CaseOf(ctx, inv.requirement, inv.name, func(ctx context.Context, t *suites.T) {
			f.report(ctx, t, inv, tally.violations[i], tally.held[i])
		})
	}
}

// fuzzer sends pods, without and with the label, and holds the answers against the invariants.
type fuzzer struct {
	namespace string
	pods      *podGenerator
	// variables are those that an ordinary container gets.
	variables []string
}

// newFuzzer looks at what the subject injects into a plain pod.
func newFuzzer(ctx context.Context, t *suites.T) *fuzzer {
	f := &fuzzer{namespace: t.Namespace(ctx)}
	t.ServiceAccount(ctx, fieldsServiceAccount, identified())
	fields := schemaFields(ctx, t)
	control, refusal := f.observe(ctx, t, fieldsBase(), false)
	if refusal != "" {
		t.Broken("a plain pod is refused without the label: %s", refusal)
	}
	var mount object
	for c := range control.containers() {
		for e := range items(c.after, "env") {
			f.variables = append(f.variables, name(e))
		}
		for m := range items(c.after, "volumeMounts") {
			mount = m
		}
	}
	directory, _ := mount["mountPath"].(string)
	volume, _ := mount["name"].(string)
	f.pods = newPodGenerator(fields, uint64(t.Env().Fuzz.Seed), volume, directory)
	return f
}

// tally is what became of the pods. It is the same for the same seed and schema, whoever sent which pod.
type tally struct {
	checked, discarded, again int
	example                   struct {
		index   int
		refusal string
	} // of a discarded pod
	held       []int         // by invariant: how many pods it was held against
	violations [][]violation // by invariant, the smallest pods first
}

// violation is a pod that violates an invariant.
type violation struct {
	index, size int
	what        string
}

func newTally() *tally {
	return &tally{held: make([]int, len(invariants)), violations: make([][]violation, len(invariants))}
}

// fuzz sends all pods; nil if that broke.
func (f *fuzzer) fuzz(ctx context.Context, t *suites.T) *tally {
	pods := int64(cmp.Or(t.Env().Fuzz.Pods, suites.DefaultFuzzPods))
	var next atomic.Int64
	var broken atomic.Bool
	var wg sync.WaitGroup
	tallies := make([]*tally, fuzzWorkers)
	for w := range tallies {
		tallies[w] = newTally()
		wg.Go(func() {
			finished := false
			defer func() { // also when send ends the goroutine: the harness broke
				if !finished {
					broken.Store(true)
				}
			}()
			for !broken.Load() {
				i := next.Add(1) - 1
				if i >= pods {
					break
				}
				f.check(ctx, t, int(i), tallies[w])
			}
			finished = true
		})
	}
	wg.Wait()
	if broken.Load() {
		return nil
	}
	return sum(tallies)
}

// check holds one pod against the invariants.
func (f *fuzzer) check(ctx context.Context, t *suites.T, index int, tally *tally) {
	pod := f.pods.pod(index)
	again := index%everyPod == 0
	o, refusal := f.observe(ctx, t, pod, again)
	if refusal != "" {
		if tally.discarded++; tally.discarded == 1 {
			tally.example.index, tally.example.refusal = index, refusal
		}
		return
	}
	tally.checked++
	if again {
		tally.again++
	}
	for i, inv := range invariants {
		if inv.again && !again {
			continue
		}
		tally.held[i]++
		if what := inv.violated(o); what != "" {
			tally.violations[i] = append(tally.violations[i], violation{index: index, size: o.size, what: what})
		}
	}
}

func sum(tallies []*tally) *tally {
	all := newTally()
	for _, w := range tallies {
		all.checked, all.again = all.checked+w.checked, all.again+w.again
		if w.discarded > 0 && (all.discarded == 0 || w.example.index < all.example.index) {
			all.example = w.example
		}
		all.discarded += w.discarded
		for i := range invariants {
			all.held[i] += w.held[i]
			all.violations[i] = append(all.violations[i], w.violations[i]...)
		}
	}
	for _, violations := range all.violations {
		slices.SortFunc(violations, func(a, b violation) int { return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.index, b.index)) })
	}
	return all
}

// observe sends a pod without and with the label. again sends it with the label once more, and then what it became.
// The refusal is that of the pod without the label, which says nothing about the subject.
func (f *fuzzer) observe(ctx context.Context, t *suites.T, pod object, again bool) (o *observation, refusal string) {
	request := encode(t, withLabel(pod))
	o = &observation{size: len(request), variables: f.variables, skipped: skippedNames(pod)}
	plain, refused := send(ctx, t, f.namespace, encode(t, pod))
	if refused != nil {
		return nil, refused.Message
	}
	o.plain = decodeObject(t, plain)
	removeIncidental(o.plain)
	o.mutated = f.answer(ctx, t, request)
	if !again || o.mutated.refusal != "" {
		removeIncidental(o.mutated.pod)
		return o, ""
	}
	o.twin = f.answer(ctx, t, request)
	o.resubmitted = f.answer(ctx, t, resubmission(t, o.mutated.pod))
	for _, a := range []answer{o.mutated, o.twin, o.resubmitted} {
		removeIncidental(a.pod)
	}
	if gainsNothing(o) != "" && !f.stable(ctx, t, plain) {
		o.resubmitted = answer{}
	}
	return o, ""
}

// stable says whether the API server takes a pod that it returned, and returns it as it is. Label keys for pods to match, for instance, it
// turns into expressions each time.
func (f *fuzzer) stable(ctx context.Context, t *suites.T, stored []byte) bool {
	once := decodeObject(t, stored)
	again, refused := send(ctx, t, f.namespace, resubmission(t, once))
	if refused != nil {
		return false
	}
	twice := decodeObject(t, again)
	removeIncidental(once)
	removeIncidental(twice)
	return same(once, twice)
}

// answer is what the API server answers to a labelled pod.
func (f *fuzzer) answer(ctx context.Context, t *suites.T, request []byte) answer {
	stored, refused := send(ctx, t, f.namespace, request)
	if refused != nil {
		return answer{refusal: refused.Message}
	}
	return answer{pod: decodeObject(t, stored)}
}

// resubmission is a pod as the API server returned it, without what no client may set.
func resubmission(t *suites.T, stored object) []byte {
	pod := maps.Clone(stored)
	delete(pod, "status")
	metadata := maps.Clone(child(pod, "metadata"))
	for _, key := range []string{"uid", "creationTimestamp", "managedFields", "generation"} {
		delete(metadata, key)
	}
	pod["metadata"] = metadata
	return encode(t, pod)
}
