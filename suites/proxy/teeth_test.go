package proxy

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// parallel is how many worlds there are at a time: they wait more than they compute.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func newLab(t *testing.T) *simulated.Lab { return simulated.NewLab(t, 0) }

// variants are worlds that conform, and use what a rule leaves open.
var variants = []struct {
	name    string
	variant func(w *world)
}{
	{"as the reference is", func(*world) {}},
	{"an Azure that does not tell what it decided", func(w *world) { w.Env.Azure.Evidence = nil }},
	{"a proxy that honours other selectors", onToken(func(a *answer) {
		query := a.request.URL.Query()
		for _, trust := range a.world.Trusts {
			for _, name := range []string{"object_id", "mi_res_id", "msi_res_id"} {
				identity := a.world.Env.Azure.Trusted[suites.TrustKey{Test: "proxy-other-identity", Account: trust.Account, Identity: trust.Identity.Name}]
				if value := query.Get(name); value != "" && (value == identity.PrincipalID || value == identity.ResourceID) {
					query.Del(name)
					query.Set("client_id", identity.ClientID)
				}
			}
		}
		a.request.URL.RawQuery = query.Encode()
		a.serve()
	})},
	{"a proxy whose tokens last another time", onAnswer(func(fields map[string]any) { fields["ext_expires_in"] = "7200" })},
}

// TestTheConformantWorldPasses runs all tests in one world, as a run does.
func TestTheConformantWorldPasses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l, Tests()...)
			v.variant(w)
			for _, test := range Tests() {
				if result := w.Run(t, test); result.Status != reports.Pass || result.ID != test.ID {
					t.Errorf("%s is %s:\n%s", test.ID, result.Status, simulated.Findings(result, ""))
				}
			}
		})
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, m := range mutants {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			tests := testsOf(m.requirement)
			w := newWorld(t, l, tests...)
			m.fault(w)
			var found strings.Builder
			failed := false
			for _, test := range tests {
				result := w.Run(t, test)
				if result.Status == reports.Error {
					t.Errorf("%s is an error, which proves nothing:\n%s", test.ID, simulated.Findings(result, reports.Error))
				}
				found.WriteString(simulated.Findings(result, reports.Fail))
				status, _ := result.Of(m.requirement)
				if failed = failed || status == reports.Fail; failed && strings.Contains(found.String(), m.finding) {
					return
				}
			}
			if !failed {
				t.Errorf("what is found is not held against %s", m.requirement)
			}
			t.Errorf("no test of %s finds %q:\n%s", m.requirement, m.finding, found.String())
		})
	}
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []mutant{
	{"pods cannot be made", "PRX-10", forbidding("/pods"), "run pod route"},
	{"pods cannot be read", "PRX-14", forbidding("/pods"), "list the pods of other tests"},
	{"logs cannot be read", "PRX-12", forbidding("/log"), "read the log of pod"},
	{"jobs cannot be made", "PRX-08", forbidding("/jobs"), "create job job"},
	{"events cannot be read", "PRX-14", forbidding("/events"), "list the events"},
	{"the emulator is gone", "PRX-16", func(w *world) {
		w.Env.Azure.Evidence = func(context.Context, uint64) ([]evidence.Entry, error) {
			return nil, errors.New("the emulator is gone")
		}
	}, "the emulator is gone"},
	{"the metadata service is gone", "PRX-09", func(w *world) {
		w.Env.IMDS.Evidence = func(context.Context) ([]imds.Entry, error) { return nil, errors.New("the metadata service is gone") }
	}, "the metadata service is gone"},
	{"the metadata service cannot be paused", "PRX-10", func(w *world) {
		w.Env.IMDS.Pause = func(context.Context) (func(context.Context) error, error) { return nil, errors.New("it goes on") }
	}, "take the metadata service from the nodes: it goes on"},
	{"the metadata service cannot be put back", "PRX-10", func(w *world) {
		w.Env.IMDS.Pause = func(context.Context) (func(context.Context) error, error) {
			w.pause(true)
			return func(context.Context) error { return errors.New("it stays away") }, nil
		}
	}, "put the metadata service back: it stays away"},
	{"nobody is at IMDS' address", "PRX-13", func(w *world) { w.pause(true) }, "without a proxy"},
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheSubject(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, m := range breakages {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			tests := testsOf(m.requirement)
			w := newWorld(t, l, tests...)
			m.fault(w)
			found := false
			for _, test := range tests {
				if found {
					break
				}
				result := w.Run(t, test)
				found = strings.Contains(simulated.Findings(result, reports.Error), m.finding)
				if blame := simulated.Findings(result, reports.Fail); found && blame != "\n" {
					t.Errorf("%s blames the subject:\n%s", result.ID, blame)
				}
			}
			if !found {
				t.Errorf("no test of %s is an error with %q", m.requirement, m.finding)
			}
		})
	}
}

// forbidding has the API server forbid changes and reads below a path of that ending.
func forbidding(suffix string) func(*world) {
	return func(w *world) {
		w.API.Forbids = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
	}
}

// TestEveryRequirementHasAFault keeps the table whole when a test is added.
func TestEveryRequirementHasAFault(t *testing.T) {
	for _, test := range Tests() {
		for _, id := range test.Requirements {
			if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.requirement == id }) {
				t.Errorf("there is no fault for %s", id)
			}
		}
	}
}

func testsOf(requirement string) []suites.Test {
	return slices.DeleteFunc(Tests(), func(test suites.Test) bool { return !slices.Contains(test.Requirements, requirement) })
}
