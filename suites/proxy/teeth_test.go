package proxy

import (
	"context"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
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
			w := newWorld(t, l, teeth...)
			v.variant(w)
			teeth.ExpectPass(t, w.World)
		})
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	teeth.ExpectCaught(t, faultsOf(mutants, newLab(t)))
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []mutant{
	{"pods cannot be made", "PRX-10", func(w *world) { w.Forbid("/pods") }, "run pod route"},
	{"pods cannot be read", "PRX-14", func(w *world) { w.Forbid("/pods") }, "list the pods of other tests"},
	{"logs cannot be read", "PRX-12", func(w *world) { w.Forbid("/log") }, "read the log of pod"},
	{"jobs cannot be made", "PRX-08", func(w *world) { w.Forbid("/jobs") }, "create job job"},
	{"events cannot be read", "PRX-14", func(w *world) { w.Forbid("/events") }, "list the events"},
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
	teeth.ExpectNoBlame(t, faultsOf(breakages, newLab(t)))
}

func TestEveryRequirementHasAFault(t *testing.T) {
	teeth.ExpectWhole(t, faultsOf(mutants, nil))
}

var teeth = simulated.Teeth(Tests())

// faultsOf puts the mutants' into worlds, all of them in one Azure.
func faultsOf(mutants []mutant, l *simulated.Lab) []simulated.Fault {
	var all []simulated.Fault
	for _, m := range mutants {
		all = append(all, simulated.Fault{
			Name: m.name, Requirement: m.requirement, Findings: []string{m.finding},
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := newWorld(t, l, tests...)
				m.fault(w)
				return w.World
			},
		})
	}
	return all
}
