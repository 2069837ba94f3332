package exchange

import (
	"context"
	"errors"
	"flag"
	"maps"
	"net/http"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
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

// variants are worlds that conform, and use what a rule leaves open.
var variants = []struct {
	name        string
	requirement string
	variant     func(w *world)
}{
	{"an Azure that does not tell what it decided", "EXC-03", silently},
	{"an Azure that does not tell what it decided", "EXC-04", silently},
	{"a webhook that sees a changed annotation at the third look", "EXC-03", func(w *world) {
		seen, looks := map[string]string{}, map[string]int{}
		w.API.Annotations = func(pod *corev1.Pod, _ bool, account map[string]string) map[string]string {
			name, clientID := pod.Spec.ServiceAccountName, account[suites.ClientIDAnnotation]
			if old, ok := seen[name]; ok && old != clientID && looks[name] < 2 {
				looks[name]++
				account = maps.Clone(account)
				account[suites.ClientIDAnnotation] = old
				return account
			}
			seen[name] = clientID
			return account
		}
	}},
	{"tokens signed with ES256", "VOL-07", onHeader("alg", "ES256")},
	{"a retired key that still verifies", "VOL-07", func(w *world) {
		w.API.SetKeys(append(w.API.Keyring().Current, simulated.NewSigningKey(w.Lab.OtherKey))...)
	}},
}

// silently is the real Azure's way.
func silently(w *world) { w.Env.Azure.Evidence = nil }

// TestTheConformantWorldPasses runs all tests in one world, as a run does.
func TestTheConformantWorldPasses(t *testing.T) {
	t.Parallel()
	labOf, byLab := newLabs(t), map[*simulated.Lab]simulated.Teeth{}
	for _, test := range Tests() {
		l := labOf(test.Requirements[0])
		byLab[l] = append(byLab[l], test)
	}
	for l, tests := range byLab {
		tests.ExpectPass(t, newWorld(t, l, tests...).World)
	}
	for _, v := range variants {
		t.Run(v.requirement+" "+v.name, func(t *testing.T) {
			t.Parallel()
			tests := teeth.Of(v.requirement)
			w := newWorld(t, labOf(v.requirement), tests...)
			v.variant(w)
			tests.ExpectPass(t, w.World)
		})
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	teeth.ExpectCaught(t, faultsOf(mutants, newLabs(t)))
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []mutant{
	{"pods cannot be made", "EXC-01", func(w *world) { w.Forbid("/pods") }, finds("run pod go-azidentity")},
	{"pods cannot be made", "EXC-03", func(w *world) { w.Forbid("/pods") }, finds("run pod first")},
	{"pods cannot be made", "EXC-04", func(w *world) { w.Forbid("/pods") }, finds("run pod go-azidentity")},
	{"pods cannot be made", "EXC-05", func(w *world) { w.Forbid("/pods") }, finds("run pod unlabelled")},
	{"pods cannot be made", "EXC-06", func(w *world) { w.Forbid("/pods") }, finds("run pod go-azidentity")},
	{"pods cannot be made", "VOL-06", func(w *world) { w.Forbid("/pods") }, finds("run pod non-root")},
	{"pods cannot be made", "VOL-07", func(w *world) { w.Forbid("/pods") }, finds("run pod default")},
	{"logs cannot be read", "EXC-01", func(w *world) { w.Forbid("/log") }, finds("read the log of pod")},
	{"a workload's result cannot be read", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Language = "" }),
		finds("read what container app of pod go-azidentity came to")},
	{"accounts cannot be changed", "EXC-03", func(w *world) { w.Forbid("/serviceaccounts/many") }, finds("annotate service account many")},
	{"the evidence cannot be read", "EXC-03", withoutEvidence, finds("read the emulator's evidence")},
	{"the evidence cannot be read", "EXC-04", withoutEvidence, finds("read the emulator's evidence")},
	{"identities cannot be made", "EXC-07", withoutIdentities, finds("create an identity")},
	{"identities cannot be made", "EXC-08", withoutIdentities, finds("create an identity")},
	{"no federated credential can be made", "EXC-08",
		onCredential("late", managementRefusal(http.StatusForbidden, "AuthorizationFailed")),
		finds("federate an identity")},
	{"no token can be had", "EXC-08", func(w *world) { w.Forbid("/token") }, finds("request a token of service account late")},
	{"no token can be had", "ISS-05", func(w *world) { w.Forbid("/token") }, finds("request a token of service account app")},
	{"Azure is silent", "ISS-05", onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) { a.page() }), finds("exchange a token")},
}

func withoutEvidence(w *world) {
	w.Env.Azure.Evidence = func(context.Context, uint64) ([]evidence.Entry, error) {
		return nil, errors.New("the emulator is gone")
	}
}

func withoutIdentities(w *world) {
	onAzure(simulated.ManagementHost, func(_ *world, _ *http.Request, a *answer) {
		managementRefusal(http.StatusForbidden, "AuthorizationFailed")(a)
	})(w)
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheSubject(t *testing.T) {
	t.Parallel()
	teeth.ExpectNoBlame(t, faultsOf(breakages, newLabs(t)))
}

func TestEveryRequirementHasAFault(t *testing.T) {
	teeth.ExpectWhole(t, faultsOf(mutants, nil))
}

var teeth = simulated.Teeth(Tests())

// faultsOf puts the mutants' into worlds, each in the Azure of its requirement.
func faultsOf(mutants []mutant, labOf func(requirement string) *simulated.Lab) []simulated.Fault {
	var all []simulated.Fault
	for _, m := range mutants {
		all = append(all, simulated.Fault{
			Name: m.name, Requirement: m.requirement, Findings: m.findings,
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := newWorld(t, labOf(m.requirement), tests...)
				m.fault(w)
				return w.World
			},
		})
	}
	return all
}
