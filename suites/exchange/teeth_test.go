package exchange

import (
	"context"
	"errors"
	"flag"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
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
	labOf, worlds := newLabs(t), map[*simulated.Lab]*world{}
	for _, test := range Tests() {
		l := labOf(test.Requirements[0])
		if worlds[l] == nil {
			worlds[l] = newWorld(t, l, slices.DeleteFunc(Tests(), func(other suites.Test) bool { return labOf(other.Requirements[0]) != l })...)
		}
		if result := worlds[l].Run(t, test); result.Status != reports.Pass || result.ID != test.ID {
			t.Errorf("%s is %s:\n%s", test.ID, result.Status, simulated.Findings(result, ""))
		}
	}
	for _, v := range variants {
		t.Run(v.requirement+" "+v.name, func(t *testing.T) {
			t.Parallel()
			tests := testsOf(v.requirement)
			w := newWorld(t, labOf(v.requirement), tests...)
			v.variant(w)
			for _, test := range tests {
				if result := w.Run(t, test); result.Status != reports.Pass {
					t.Errorf("%s is %s:\n%s", test.ID, result.Status, simulated.Findings(result, ""))
				}
			}
		})
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	labOf := newLabs(t)
	for _, m := range mutants {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			tests := testsOf(m.requirement)
			w := newWorld(t, labOf(m.requirement), tests...)
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
				failed = failed || status == reports.Fail
				if !slices.ContainsFunc(m.findings, func(want string) bool { return !strings.Contains(found.String(), want) }) {
					break
				}
			}
			if !failed {
				t.Errorf("what is found is not held against %s", m.requirement)
			}
			for _, want := range m.findings {
				if !strings.Contains(found.String(), want) {
					t.Errorf("no test of %s finds %q:\n%s", m.requirement, want, found.String())
				}
			}
			if k := w.API.Keyring(); k.Current[0].ID != k.Ever[0].ID {
				t.Error("the cluster does not sign with the key of before")
			}
		})
	}
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []mutant{
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
	{"identities cannot be made", "EXC-07", withoutIdentities, finds("create an identity")},
	{"identities cannot be made", "EXC-08", withoutIdentities, finds("create an identity")},
	{"no federated credential can be made", "EXC-08",
		onCredential("late", managementRefusal(http.StatusForbidden, "AuthorizationFailed")),
		finds("federate an identity")},
	{"no token can be had", "EXC-08", forbidding("/token"), finds("request a token of service account late")},
	{"no token can be had", "ISS-05", forbidding("/token"), finds("request a token of service account app")},
	{"Azure is silent", "ISS-05", onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) { a.page() }), finds("exchange a token")},
}

// forbidding has the API server forbid changes and reads below a path of that ending.
func forbidding(suffix string) func(*world) {
	return func(w *world) {
		w.API.Forbids = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
	}
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
	labOf := newLabs(t)
	for _, m := range breakages {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			tests := testsOf(m.requirement)
			w := newWorld(t, labOf(m.requirement), tests...)
			m.fault(w)
			found := false
			for _, test := range tests {
				if found {
					break
				}
				result := w.Run(t, test)
				found = strings.Contains(simulated.Findings(result, reports.Error), m.findings[0])
				if blame := simulated.Findings(result, reports.Fail); blame != "\n" {
					t.Errorf("%s blames the subject:\n%s", result.ID, blame)
				}
			}
			if !found {
				t.Errorf("no test of %s is an error with %q", m.requirement, m.findings[0])
			}
		})
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
