package suites

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
)

// Selection narrows a run down. Empty lists select everything.
type Selection struct {
	Tiers []string `json:"tiers,omitempty"`
	// Tests are test ids; one that begins with "!" is left out.
	Tests        []string `json:"tests,omitempty"`
	Requirements []string `json:"requirements,omitempty"`
	// Languages leave out the tests that take a workload of another language. Tests that take none stay.
	Languages []string `json:"languages,omitempty"`
}

// Facts are what the plan has to know of cluster and subject.
type Facts struct {
	Capabilities []Capability
	// Missing says why images are not among them.
	Missing map[Capability]reports.Skipped
	Profile subject.Profile
}

// Planned is a test in the plan; with a Skip it is not run.
type Planned struct {
	Test Test
	Skip *reports.Skipped
}

// Plan is what a run is going to do, in order: tiers in their order, within a tier the parallel tests, then the serial ones.
type Plan struct {
	Seed  int64
	Tests []Planned
}

// SelectionError is a selection that names something unknown, or nothing at all: the user's mistake.
type SelectionError struct{ problems []string }

func (e *SelectionError) Error() string { return strings.Join(e.problems, "; ") }

// ErrEmptyPlan is a plan of which not one test would run.
var ErrEmptyPlan = errors.New("the plan is empty: every selected test would be skipped, so the run would prove nothing")

// Select returns the tests that the selection names, in their order. Unknown names are an error.
func Select(s Selection, catalogue []Requirement, tests []Test) ([]Test, error) {
	var problems []string
	known := func(what, name string, ok bool, hint string) {
		if !ok {
			problems = append(problems, fmt.Sprintf("unknown %s %q (%s)", what, name, hint))
		}
	}
	for _, tier := range s.Tiers {
		known("tier", tier, slices.Contains(Tiers, Tier(tier)), "there are: "+join(Tiers))
	}
	for _, id := range s.Requirements {
		known("requirement", id, slices.ContainsFunc(catalogue, func(r Requirement) bool { return r.ID == id }), "see: wi-e2e list requirements")
	}
	programs := workloads.All()
	languages := Languages(programs)
	for _, name := range s.Languages {
		known("language", name, slices.Contains(languages, name), "there are: "+strings.Join(languages, ", "))
	}
	var only, without []string
	for _, id := range s.Tests {
		name, negated := strings.CutPrefix(id, "!")
		known("test", name, slices.ContainsFunc(tests, func(t Test) bool { return t.ID == name }), "see: wi-e2e list tests")
		if negated {
			without = append(without, name)
		} else {
			only = append(only, name)
		}
	}
	if len(problems) > 0 {
		return nil, &SelectionError{problems}
	}

	var selected []Test
	for _, t := range tests {
		switch {
		case len(s.Tiers) > 0 && !slices.Contains(s.Tiers, string(t.Tier)),
			len(only) > 0 && !slices.Contains(only, t.ID),
			slices.Contains(without, t.ID),
			len(s.Languages) > 0 && slices.ContainsFunc(t.languages(programs), func(l string) bool { return !slices.Contains(s.Languages, l) }),
			len(s.Requirements) > 0 && !slices.ContainsFunc(t.Requirements, func(id string) bool { return slices.Contains(s.Requirements, id) }):
		default:
			selected = append(selected, t)
		}
	}
	if len(selected) == 0 {
		problem := "the selection matches no test"
		if len(s.Requirements) > 0 {
			problem += pendingHint(s.Requirements, catalogue)
		}
		return nil, &SelectionError{[]string{problem}}
	}
	return selected, nil
}

// languages are those of the workloads that the test takes.
func (t Test) languages(catalogue []workloads.Workload) []string {
	var all []string
	for _, w := range catalogue {
		if slices.Contains(t.Needs, WorkloadImage(w.Name)) {
			all = append(all, w.Language)
		}
	}
	return all
}

// Languages are those of the workloads, sorted.
func Languages(catalogue []workloads.Workload) []string {
	var all []string
	for _, w := range catalogue {
		all = append(all, w.Language)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pendingHint explains a selected requirement that has no test yet.
func pendingHint(ids []string, catalogue []Requirement) string {
	var hints []string
	for _, r := range catalogue {
		if r.Pending != "" && slices.Contains(ids, r.ID) {
			hints = append(hints, fmt.Sprintf("%s has no test yet, issue %s brings it", r.ID, r.Pending))
		}
	}
	if len(hints) == 0 {
		return ""
	}
	return ": " + strings.Join(hints, ", ")
}

// NewPlan decides what becomes of each selected test. It is a function of its arguments alone. A
// plan of which nothing would run is ErrEmptyPlan, beside the plan itself.
func NewPlan(selected []Test, catalogue []Requirement, facts Facts, seed int64) (*Plan, error) {
	plan := &Plan{Seed: seed}
	runnable := 0
	for _, tier := range Tiers {
		var parallel, serial []Planned
		for _, t := range selected {
			if t.Tier != tier {
				continue
			}
			p := Planned{Test: t, Skip: skip(t, catalogue, facts)}
			if p.Skip == nil {
				runnable++
			}
			if t.Serial {
				serial = append(serial, p)
			} else {
				parallel = append(parallel, p)
			}
		}
		// The order is shuffled so that a dependence between tests shows, and repeatable so that it can be found.
		shuffle := rand.New(rand.NewPCG(uint64(seed), 0)).Shuffle
		shuffle(len(parallel), func(i, j int) { parallel[i], parallel[j] = parallel[j], parallel[i] })
		shuffle(len(serial), func(i, j int) { serial[i], serial[j] = serial[j], serial[i] })
		// Those that restart the API server leave scheduler and kubelet, as they back off, slow to run pods for half a minute.
		slices.SortStableFunc(serial, func(a, b Planned) int { return cmp.Compare(restarts(a), restarts(b)) })
		plan.Tests = append(append(plan.Tests, parallel...), serial...)
	}
	if runnable == 0 {
		return plan, ErrEmptyPlan
	}
	return plan, nil
}

// restarts is 1 for a test that restarts the API server.
func restarts(p Planned) int {
	if slices.Contains(p.Test.Needs, ControlPlaneAccess) {
		return 1
	}
	return 0
}

// skip says why a test is not run, or nil.
func skip(t Test, catalogue []Requirement, facts Facts) *reports.Skipped {
	for _, need := range t.Needs {
		if !slices.Contains(facts.Capabilities, need) {
			return facts.skipWithout(need)
		}
	}
	var since []string
	for _, r := range catalogue {
		if !slices.Contains(t.Requirements, r.ID) {
			continue
		}
		if r.AppliesTo(facts.Profile) {
			return nil
		}
		since = append(since, fmt.Sprintf("%s holds from version %s", r.ID, r.Since))
	}
	return &reports.Skipped{
		Reason: string(NotInVersion),
		Text:   fmt.Sprintf("%s; the subject's profile is %s", strings.Join(since, ", "), facts.Profile),
	}
}

// ViolationStatus is what a violated expectation of the test means: Fail, or Warn for a test of no MUST.
func ViolationStatus(t Test, catalogue []Requirement, strict bool) reports.Status {
	for _, r := range catalogue {
		if slices.Contains(t.Requirements, r.ID) && (r.Level == Must || r.Level == Should && strict) {
			return reports.Fail
		}
	}
	return reports.Warn
}

func join[S ~string](items []S) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}
