package exchange

import (
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
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

// variants are worlds that conform, and use what a rule leaves open.
var variants = []struct {
	name        string
	requirement string
	variant     func(w *simulated.World)
}{
	{"an Azure that does not tell what it decided", "EXC-03", silently},
	{"an Azure that does not tell what it decided", "EXC-04", silently},
	{"a webhook that sees a changed annotation at the third look", "EXC-03", func(w *simulated.World) {
		seen, looks := map[string]string{}, map[string]int{}
		w.API.Webhook = reference.Fault{Accounts: func(next reference.Accounts) reference.Accounts {
			var mu sync.Mutex
			return func(ctx context.Context, namespace, name string) (map[string]string, error) {
				account, err := next(ctx, namespace, name)
				mu.Lock()
				defer mu.Unlock()
				clientID := account[suites.ClientIDAnnotation]
				if old, ok := seen[name]; ok && old != clientID && looks[name] < 2 {
					looks[name]++
					account = maps.Clone(account)
					account[suites.ClientIDAnnotation] = old
					return account, err
				}
				seen[name] = clientID
				return account, err
			}
		}}
	}},
	{"tokens signed with ES256", "VOL-07", func(w *simulated.World) { w.API.SetKeys(issuer.NewECKey()) }},
	{"a retired key that still verifies", "VOL-07", func(w *simulated.World) {
		w.API.SetKeys(append(w.API.Keyring().Current, issuer.NewECKey())...)
	}},
}

// silently is the real Azure's way.
func silently(w *simulated.World) { w.Env.Azure.Evidence = nil }

// propagationTime is that of the Azure in which the propagation of federated credentials is tested. In the other, where
// nobody should have to wait, they hold at once.
const propagationTime = 300 * time.Millisecond

// newLabs makes an Azure for each requirement's tests.
func newLabs(t *testing.T) func(requirement string) *simulated.Lab {
	t.Helper()
	slow, instant := teeth.NewLab(t, propagationTime), teeth.NewLab(t, 0)
	return func(requirement string) *simulated.Lab {
		if requirement == "EXC-08" {
			return slow
		}
		return instant
	}
}

// TestTheConformantWorldPasses runs all tests in one world, as a run does.
func TestTheConformantWorldPasses(t *testing.T) {
	t.Parallel()
	labOf, byLab := newLabs(t), map[*simulated.Lab]teeth.Tests{}
	for _, test := range Tests() {
		l := labOf(test.Requirements[0])
		byLab[l] = append(byLab[l], test)
	}
	for l, tests := range byLab {
		tests.ExpectPass(t, teeth.NewWorld(t, l, tests...))
	}
	for _, v := range variants {
		t.Run(v.requirement+" "+v.name, func(t *testing.T) {
			t.Parallel()
			tests := tier.Of(v.requirement)
			w := teeth.NewWorld(t, labOf(v.requirement), tests...)
			v.variant(w)
			tests.ExpectPass(t, w)
		})
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	tier.ExpectCaught(t, inWorlds(faults, newLabs(t)))
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []fault{
	{"pods cannot be made", "EXC-01", forbidding("/pods"), finds("run pod go-azidentity")},
	{"pods cannot be made", "EXC-03", forbidding("/pods"), finds("run pod first")},
	{"pods cannot be made", "EXC-04", forbidding("/pods"), finds("run pod go-azidentity")},
	{"pods cannot be made", "EXC-05", forbidding("/pods"), finds("run pod unlabelled")},
	{"pods cannot be made", "EXC-06", forbidding("/pods"), finds("run pod go-azidentity")},
	{"pods cannot be made", "VOL-06", forbidding("/pods"), finds("run pod non-root")},
	{"pods cannot be made", "VOL-07", forbidding("/pods"), finds("run pod default")},
	{"logs cannot be read", "EXC-01", forbidding("/log"), finds("read the log of pod")},
	{"a workload's result cannot be read", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Language = "" }),
		finds("read what container app of pod go-azidentity came to")},
	{"accounts cannot be changed", "EXC-03", forbidding("/serviceaccounts/many"), finds("annotate service account many")},
	{"the evidence cannot be read", "EXC-03", withoutEvidence, finds("read the emulator's evidence")},
	{"the evidence cannot be read", "EXC-04", withoutEvidence, finds("read the emulator's evidence")},
	{"identities cannot be made", "EXC-07", refusingAt(simulated.ManagementHost, "", noPermission), finds("create an identity")},
	{"identities cannot be made", "EXC-08", refusingAt(simulated.ManagementHost, "", noPermission), finds("create an identity")},
	{"no federated credential can be made", "EXC-08",
		refusingAt(simulated.ManagementHost, "/federatedIdentityCredentials/late", noPermission),
		finds("federate an identity")},
	{"no token can be had", "EXC-08", forbidding("/token"), finds("request a token of service account late")},
	{"no token can be had", "ISS-05", forbidding("/token"), finds("request a token of service account app")},
	{"Azure is silent", "ISS-05", refusingAt(simulated.LoginHost, "", page), finds("exchange a token")},
}

func forbidding(suffix string) func(*simulated.World) {
	return func(w *simulated.World) { w.Forbid(suffix) }
}

func withoutEvidence(w *simulated.World) {
	w.Env.Azure.Evidence = func(context.Context, uint64) ([]evidence.Entry, error) {
		return nil, errors.New("the emulator is gone")
	}
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheSubject(t *testing.T) {
	t.Parallel()
	tier.ExpectNoBlame(t, inWorlds(breakages, newLabs(t)))
}

var tier = teeth.Tests(Tests())

// inWorlds puts the faults into worlds, each in the Azure of its requirement.
func inWorlds(faults []fault, labOf func(requirement string) *simulated.Lab) []teeth.Fault {
	var all []teeth.Fault
	for _, f := range faults {
		all = append(all, teeth.Fault{
			Name: f.name, Requirement: f.requirement, Findings: f.findings,
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := teeth.NewWorld(t, labOf(f.requirement), tests...)
				f.fault(w)
				return w
			},
		})
	}
	return all
}
