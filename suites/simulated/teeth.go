package simulated

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Teeth are the tests of a tier, which have to pass in worlds that conform, and to bite in those with a fault.
type Teeth []suites.Test

// Fault is one of a world. The tests of its requirement find it, in each of these words.
type Fault struct {
	Name        string
	Requirement string
	Findings    []string
	// World makes the world with the fault, for these tests.
	World func(t *testing.T, tests []suites.Test) *World
}

// Of are the tests of a requirement.
func (tests Teeth) Of(requirement string) Teeth {
	return slices.DeleteFunc(slices.Clone(tests), func(test suites.Test) bool { return !slices.Contains(test.Requirements, requirement) })
}

// ExpectPass expects that all tests pass in the world.
func (tests Teeth) ExpectPass(t *testing.T, w *World) {
	t.Helper()
	for _, test := range tests {
		if result := w.Run(t, test); result.Status != reports.Pass || result.ID != test.ID {
			t.Errorf("%s is %s:\n%s", test.ID, result.Status, Findings(result, ""))
		}
	}
}

// ExpectCaught expects that each fault is held against its requirement, and that none is mistaken for one of the harness.
func (tests Teeth) ExpectCaught(t *testing.T, faults []Fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.Requirement+" "+f.Name, func(t *testing.T) {
			t.Parallel()
			tests := tests.Of(f.Requirement)
			w := f.World(t, tests)
			var found strings.Builder
			missing := func(want string) bool { return !strings.Contains(found.String(), want) }
			for _, test := range tests {
				result := w.Run(t, test)
				if result.Status == reports.Error {
					t.Errorf("%s is an error, which proves nothing:\n%s", test.ID, Findings(result, reports.Error))
				}
				found.WriteString(Findings(about(result, f.Requirement), reports.Fail) + "\n")
				if !slices.ContainsFunc(f.Findings, missing) {
					break
				}
			}
			for _, want := range f.Findings {
				if missing(want) {
					t.Errorf("nothing that is held against %s says %q:\n%s", f.Requirement, want, found.String())
				}
			}
			if k := w.API.Keyring(); k.Current[0].ID != k.Ever[0].ID {
				t.Error("the cluster does not sign with the key of before")
			}
		})
	}
}

// about is the result without the cases that are about other requirements.
func about(result reports.Test, requirement string) reports.Test {
	result.Cases = slices.DeleteFunc(slices.Clone(result.Cases), func(c reports.Case) bool {
		return len(c.Requirements) > 0 && !slices.Contains(c.Requirements, requirement)
	})
	return result
}

// ExpectNoBlame expects that each fault, which is one of the environment, is an error, in the first of its words: nothing is known
// about the subject, so that no test may blame it.
func (tests Teeth) ExpectNoBlame(t *testing.T, faults []Fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.Requirement+" "+f.Name, func(t *testing.T) {
			t.Parallel()
			tests := tests.Of(f.Requirement)
			w := f.World(t, tests)
			for _, test := range tests {
				result := w.Run(t, test)
				if blame := Findings(result, reports.Fail); blame != "" {
					t.Errorf("%s blames the subject:\n%s", result.ID, blame)
				}
				if strings.Contains(Findings(result, reports.Error), f.Findings[0]) {
					return
				}
			}
			t.Errorf("no test of %s is an error with %q", f.Requirement, f.Findings[0])
		})
	}
}

// ExpectWhole expects a fault for each requirement, which keeps the table whole when a test is added.
func (tests Teeth) ExpectWhole(t *testing.T, faults []Fault) {
	t.Helper()
	for _, test := range tests {
		for _, id := range test.Requirements {
			if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Requirement == id && len(f.Findings) > 0 }) {
				t.Errorf("there is no fault for %s", id)
			}
		}
	}
}

// Forbid has the API server forbid changes and reads below a path of that ending.
func (w *World) Forbid(suffix string) {
	w.API.Forbids = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
}
