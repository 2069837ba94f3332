package windows

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
)

var tier = teeth.Tests(Tests())

// TestTheConformantWorldPasses runs all tests in one world, which has images for Windows, and runs programs as Windows would.
func TestTheConformantWorldPasses(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	tier.ExpectPass(t, teeth.NewWorld(t, l, tier...))
	t.Run("of an Azure that does not tell what it decided", func(t *testing.T) {
		w := teeth.NewWorld(t, l, tier...)
		w.Env.Azure.Evidence = nil
		tier.ExpectPass(t, w)
	})
}

// faults are those of a world that the subject and Azure have no part in. The others are in the registry (package mutants).
var faults = []struct {
	name        string
	requirement string
	fault       func(w *simulated.World)
	findings    []string
}{
	{"a program does not know the drive C:", "WIN-06", onAttempts(func(a *workloads.Attempt) {
		if strings.HasPrefix(a.TokenFile, `C:\var`) {
			a.TokenFile = noFile
		}
	}), []string{`on windows (wine) with the token at C:\var`, "does not get the secret"}},
	{"a program finds a token wherever it looks", "WIN-06", onAttempts(func(a *workloads.Attempt) { a.TokenFile = "" }),
		[]string{"gets the secret with a token file that is not there"}},
	{"a program without a token file asks for one all the same", "WIN-06", func(w *simulated.World) {
		w.API.Node.Result = func(a workloads.Attempt, r *workloads.Result) {
			if a.TokenFile == noFile {
				r.Error.Code = "AADSTS700213"
			}
		}
	}, []string{"without a token file should have asked nobody"}},
	{"a program is another client", "WIN-06", onResults(func(r *workloads.Result) { r.ClientID = "another" }), []string{"client ID of the token"}},
	{"an image holds another library", "WIN-06", onResults(func(r *workloads.Result) { r.Library = "adal" }), []string{"language and library"}},
	{"a program has its token from elsewhere", "WIN-06", onEvidence(func(e *evidence.Entry) { e.Status = 403 }), []string{"Azure gave 0 tokens"}},
	{"an exchange is another client's", "WIN-06", onEvidence(func(e *evidence.Entry) { e.ClientID = "another" }), []string{"client ID of the exchange"}},
	{"Windows' users cannot read the token", "WIN-07", func(w *simulated.World) {
		w.API.Node.Environment = func(c corev1.Container, env map[string]string) {
			if strings.Contains(c.Image, "ltsc2022") {
				env[suites.TokenFileVariable] = "/no/such/file"
			}
		}
	}, []string{"go-azidentity on windows with credential workload does not get the secret"}},
}

func onAttempts(change func(a *workloads.Attempt)) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.Attempt = change }
}

func onResults(change func(r *workloads.Result)) func(*simulated.World) {
	return func(w *simulated.World) {
		w.API.Node.Result = func(_ workloads.Attempt, r *workloads.Result) { change(r) }
	}
}

func onEvidence(change func(e *evidence.Entry)) func(*simulated.World) {
	return func(w *simulated.World) {
		w.Evidence = func(entries []evidence.Entry) []evidence.Entry {
			for i := range entries {
				change(&entries[i])
			}
			return entries
		}
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	var all []teeth.Fault
	for _, f := range faults {
		all = append(all, teeth.Fault{
			Name: f.name, Requirement: f.requirement, Findings: f.findings,
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := teeth.NewWorld(t, l, tests...)
				f.fault(w)
				return w
			},
		})
	}
	tier.ExpectCaught(t, all)
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheSubject(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	var all []teeth.Fault
	for _, f := range []struct{ requirement, forbidden, finding string }{
		{"WIN-06", "/pods", "create pod go-azidentity-wine with a dry run"},
		{"WIN-07", "/pods", "with a dry run"},
		{"WIN-07", "/log", "read the log of pod"},
		{"WIN-08", "/pods", "run pod skips"},
		{"WIN-08", "/deployments", "create deployment deployment"},
	} {
		all = append(all, teeth.Fault{
			Name: f.forbidden + " cannot be asked", Requirement: f.requirement, Findings: []string{f.finding},
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := teeth.NewWorld(t, l, tests...)
				w.Forbid(f.forbidden)
				return w
			},
		})
	}
	tier.ExpectNoBlame(t, all)
}
