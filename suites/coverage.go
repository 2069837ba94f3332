package suites

import (
	"fmt"
	"slices"
)

// Mutant is a deliberate violation of a requirement: what coverage has to know of it.
type Mutant struct{ ID, Requirement string }

// Covered is a requirement with the tests that decide it and the mutants that prove them.
type Covered struct {
	Requirement
	Tests   []Test
	Mutants []string
}

// Coverage joins requirements, tests and mutants, and names what is missing between them: a MUST that some tier decides without
// a test or without a mutant, and a mutant that no test is there to kill. A rule that is pending is not missing.
func Coverage(catalogue []Requirement, tests []Test, mutants []Mutant) (covered []Covered, gaps []string) {
	for _, r := range catalogue {
		c := Covered{Requirement: r, Tests: TestsOf(r.ID, tests)}
		for _, m := range mutants {
			if m.Requirement == r.ID {
				c.Mutants = append(c.Mutants, m.ID)
			}
		}
		covered = append(covered, c)
		switch {
		case r.Level != Must || r.Pending != "" && r.PendingPart == "":
		case len(c.Tests) == 0:
			gaps = append(gaps, r.ID+" has no test")
		case len(c.Mutants) == 0:
			gaps = append(gaps, r.ID+" has no mutant, so nothing shows that its tests can fail")
		}
	}
	for _, m := range mutants {
		i := slices.IndexFunc(covered, func(c Covered) bool { return c.ID == m.Requirement })
		switch {
		case i < 0:
			gaps = append(gaps, fmt.Sprintf("mutant %s violates the unknown requirement %q", m.ID, m.Requirement))
		case len(covered[i].Tests) == 0:
			gaps = append(gaps, fmt.Sprintf("mutant %s violates %s, of which there is no test", m.ID, m.Requirement))
		}
	}
	return covered, gaps
}

// TestsOf are the tests that decide a requirement.
func TestsOf(requirement string, tests []Test) []Test {
	var all []Test
	for _, t := range tests {
		if slices.Contains(t.Requirements, requirement) {
			all = append(all, t)
		}
	}
	return all
}
