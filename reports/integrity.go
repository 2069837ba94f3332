package reports

import (
	"fmt"
	"maps"
	"slices"
)

// Problems says where the record contradicts itself: every status is judged again from what it is made of (a test's from its findings
// and cases, a requirement's from its tests, the verdict's from all), and counts are counted again. A record that a run saved has none;
// one that somebody made greener by hand has, unless they changed all of it. Against that there are signatures (package attestation).
func (r *Record) Problems() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	ids := map[string]bool{}
	for _, t := range r.Tests {
		if ids[t.ID] {
			complain("test %s is there twice", t.ID)
		}
		ids[t.ID] = true
		for _, p := range t.problems() {
			complain("test %s: %s", t.ID, p)
		}
	}
	listed := map[string]bool{}
	for _, q := range r.Requirements {
		if listed[q.ID] {
			complain("requirement %s is there twice", q.ID)
		}
		listed[q.ID] = true
		status, tests, cases := r.Fared(q.ID)
		if q.Status != status {
			complain("requirement %s is %q, its tests are %s", q.ID, q.Status, status)
		}
		if !slices.Equal(q.Tests, tests) {
			complain("requirement %s has the tests %v, the tests that name it are %v", q.ID, q.Tests, tests)
		}
		if q.Cases != cases {
			complain("requirement %s rests on %d cases, its tests have %d", q.ID, q.Cases, cases)
		}
	}
	for _, t := range r.Tests {
		for _, id := range t.Requirements {
			if !listed[id] && len(r.Requirements) > 0 {
				complain("test %s is about %s, which is not among the requirements", t.ID, id)
			}
		}
		for _, f := range t.AllFindings() {
			if f.Waiver != "" && !slices.ContainsFunc(r.Waivers, func(w Waiver) bool { return w.Name == f.Waiver }) {
				complain("test %s: a finding is waived by %s, which is not among the waivers", t.ID, f.Waiver)
			}
		}
	}

	counted := Record{Tests: r.Tests, Requirements: r.Requirements}
	counted.Count()
	for i, row := range r.Counts.rows() {
		if want := counted.Counts.rows()[i]; !sameCounts(row.counts, want.counts) {
			complain("it counts %s as %v, there are %v", row.name, row.counts, want.counts)
		}
	}
	return append(problems, r.verdictProblems()...)
}

// Fared is how the record's tests came out for a requirement: the status, the tests that are about it, and the executed cases.
// A requirement of which something was to be executed, and nothing was, is an error.
func (r *Record) Fared(id string) (status Status, tests []string, cases int) {
	status = Skip
	runnable := false
	for _, t := range r.Tests {
		if !slices.Contains(t.Requirements, id) {
			continue
		}
		one, executed := t.Of(id)
		tests = append(tests, t.ID)
		status = Worst(status, one)
		cases += executed
		runnable = runnable || t.Status != Skip
	}
	if runnable && cases == 0 && r.Run.Shard == nil { // the tests that decide it may be in other shards
		status = Error
	}
	return status, tests, cases
}

// problems are the contradictions within a test.
func (t *Test) problems() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if t.Status == Skip {
		switch {
		case t.Skip == nil:
			complain("it was skipped for no reason")
		case len(t.Cases)+len(t.Findings)+len(t.Attempts) > 0:
			complain("it was skipped, and has results")
		}
		return problems
	}
	if t.Skip != nil {
		complain("it has the reason of a skip, and is %q", t.Status)
	}
	merged := len(t.Attempts) > 0
	cases := Pass
	for _, c := range t.Cases {
		if p := contradiction(c.Status, c.Findings, merged); p != "" {
			complain("case %q %s", c.Name, p)
		}
		if c.Checks == 0 && len(c.Findings) == 0 {
			complain("case %q evaluated no expectation and found nothing", c.Name)
		}
		cases = Worst(cases, c.Status)
	}
	if t.Status != cases || len(t.Findings) > 0 {
		if p := contradiction(t.Status, append(slices.Clone(t.Findings), Finding{Status: cases}), merged); p != "" {
			complain("it %s", p)
		}
	}
	if len(t.Cases) == 0 && t.Status != Error {
		complain("it is %q without a case", t.Status)
	}
	for i, a := range t.Attempts {
		one := Test{Status: a.Status, Findings: a.Findings, Cases: a.Cases}
		for _, p := range one.problems() {
			complain("attempt %d: %s", i+1, p)
		}
		if broke(Worst(a.Status)) && t.Status == Pass {
			complain("attempt %d is %q, and the test is pass", i+1, a.Status)
		}
	}
	return problems
}

// contradiction is what is wrong with a status that is made of findings. What several attempts come to is judged without the findings of an
// attempt that was made again, which are flakes.
func contradiction(status Status, findings []Finding, merged bool) string {
	worst := WorstOf(findings)
	if status == worst {
		return ""
	}
	if merged {
		counted := slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Status == Flake })
		if status == WorstOf(counted) {
			return ""
		}
	}
	return fmt.Sprintf("is %q, its findings are %s", status, worst)
}

// verdictProblems hold the verdict to all that it is about. It may be worse than that: a run can be interrupted, or leave something behind.
func (r *Record) verdictProblems() []string {
	got, want := r.Verdict, r.Judge(false, nil)
	if got.Status == Error && (got.ExitCode == ExitLeaked || got.ExitCode == ExitInterrupted) {
		return nil
	}
	if got.Status != want.Status || got.ExitCode != want.ExitCode {
		return []string{fmt.Sprintf("its verdict is %q with exit code %d, phases, tests and requirements come to %s with %d",
			got.Status, got.ExitCode, want.Status, want.ExitCode)}
	}
	return nil
}

// AllFindings are the test's, those of its cases with them.
func (t Test) AllFindings() []Finding {
	all := slices.Clone(t.Findings)
	for _, c := range t.Cases {
		all = append(all, c.Findings...)
	}
	return all
}

func sameCounts(a, b map[Status]int) bool {
	return maps.Equal(withoutZero(a), withoutZero(b))
}

func withoutZero(counts map[Status]int) map[Status]int {
	counts = maps.Clone(counts)
	maps.DeleteFunc(counts, func(_ Status, n int) bool { return n == 0 })
	return counts
}
