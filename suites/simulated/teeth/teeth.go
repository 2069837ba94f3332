// Package teeth holds what the tests of the tiers share that show that their checks can fail, in simulated worlds.
//
// It is for tests to import only.
package teeth

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// Tests are the tests of a tier, which have to pass in worlds that conform, and to bite in those with a fault.
type Tests []suites.Test

// Fault is one of a world. The tests of its requirement find it, in each of these words.
type Fault struct {
	Name        string
	Requirement string
	Findings    []string
	// World makes the world with the fault, for these tests.
	World func(t *testing.T, tests []suites.Test) *simulated.World
}

// NewLab starts an Azure that ends with the test.
func NewLab(t testing.TB, propagation time.Duration) *simulated.Lab {
	t.Helper()
	log.SetLogger(logr.Discard()) // each refusal of the webhook would be a line
	l, err := simulated.NewLab(t.Context(), propagation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, l.Close()) })
	return l
}

// NewWorld makes one that ends with the test.
func NewWorld(t testing.TB, l *simulated.Lab, tests ...suites.Test) *simulated.World {
	t.Helper()
	w, err := simulated.NewWorld(t.Context(), l, tests...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, w.Close()) })
	return w
}

func closed(t testing.TB, err error) {
	if err != nil {
		t.Error(err)
	}
}

// Of are the tests of a requirement.
func (tests Tests) Of(requirement string) Tests {
	return slices.DeleteFunc(slices.Clone(tests), func(test suites.Test) bool { return !slices.Contains(test.Requirements, requirement) })
}

// ExpectPass expects that all tests pass in the world.
func (tests Tests) ExpectPass(t *testing.T, w *simulated.World) {
	t.Helper()
	for _, test := range tests {
		if result := w.Run(t.Context(), test); result.Status != reports.Pass || result.ID != test.ID {
			t.Errorf("%s is %s:\n%s", test.ID, result.Status, Findings(result, ""))
		}
	}
}

// ExpectCaught expects that each fault is held against its requirement, and that none is mistaken for one of the harness.
func (tests Tests) ExpectCaught(t *testing.T, faults []Fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.Requirement+" "+f.Name, func(t *testing.T) {
			t.Parallel()
			tests := tests.Of(f.Requirement)
			w := f.World(t, tests)
			var found strings.Builder
			missing := func(want string) bool { return !strings.Contains(found.String(), want) }
			for _, test := range tests {
				result := w.Run(t.Context(), test)
				if result.Status == reports.Error {
					t.Errorf("%s is an error, which proves nothing:\n%s", test.ID, Findings(result, reports.Error))
				}
				found.WriteString(Findings(result.About(f.Requirement), reports.Fail) + "\n")
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

// ExpectNoBlame expects that each fault, which is one of the environment, is an error, in the first of its words: nothing is known
// about the subject, so that no test may blame it.
func (tests Tests) ExpectNoBlame(t *testing.T, faults []Fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.Requirement+" "+f.Name, func(t *testing.T) {
			t.Parallel()
			tests := tests.Of(f.Requirement)
			w := f.World(t, tests)
			for _, test := range tests {
				result := w.Run(t.Context(), test)
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

// Findings are the messages of that status, of every status if it is "", each with the case that it is of.
func Findings(result reports.Test, status reports.Status) string {
	statuses := []reports.Status{status}
	if status == "" {
		statuses = []reports.Status{reports.Error, reports.Fail, reports.Flake, reports.Warn}
	}
	var text []string
	for _, status := range statuses {
		for _, f := range result.Found(status) {
			text = append(text, strings.TrimSpace(f.Message+"\n"+f.Diff))
		}
	}
	return strings.Join(text, "\n")
}
