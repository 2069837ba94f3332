package exchange

import (
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// unknown is the ID of nothing.
const unknown = "99999999-9999-4999-8999-999999999999"

func onEnvironment(change func(c corev1.Container, env map[string]string)) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.Environment = change }
}

func onAttempts(change func(a *workloads.Attempt)) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.Attempt = change }
}

// ignoringTheCode has workloads be the injected client whatever their code says.
func ignoringTheCode(w *simulated.World) {
	onAttempts(func(a *workloads.Attempt) { a.ClientID = "" })(w)
}

func onResults(change func(asked workloads.Attempt, r *workloads.Result)) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.Result = change }
}

func exiting(code int32) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.ExitCode = func([]workloads.Result) int32 { return code } }
}

// failingWay has one of Azure Identity's ways find no token.
func failingWay(name string) func(*simulated.World) {
	return onAttempts(func(a *workloads.Attempt) {
		if a.Credential == name {
			a.TokenFile = "/no/such/file"
		}
	})
}

func onReports(change func(r *probe.Report)) func(*simulated.World) {
	return func(w *simulated.World) { w.API.Node.Report = change }
}

// onEvidence changes what Azure tells of its refusals.
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

// onGrants changes what Azure tells of the tokens that it gave: the nth to a client for an account, from 0.
func onGrants(change func(nth int, e *evidence.Entry)) func(*simulated.World) {
	return func(w *simulated.World) {
		w.Evidence = func(entries []evidence.Entry) []evidence.Entry {
			given := map[string]int{}
			for i := range entries {
				if e := &entries[i]; e.Service == "entra" && e.Status == http.StatusOK {
					grant := e.Subject + " " + e.ClientID
					change(given[grant], e)
					given[grant]++
				}
			}
			return entries
		}
	}
}

// mutant is one of the registry.
func mutant(id string) func(*simulated.World) {
	m, err := mutants.Find(id)
	if err != nil {
		panic(err)
	}
	return func(w *simulated.World) { w.Apply(m) }
}

// refusingAt has Azure answer who asks for a path of that ending with a page, or with a code of Resource Manager's.
func refusingAt(host, suffix, answer string) func(*simulated.World) {
	return func(w *simulated.World) {
		w.Azure = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Host != host || !strings.HasSuffix(r.URL.Path, suffix) {
				next.ServeHTTP(rw, r)
				return
			}
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte(answer))
		}
	}
}

// What stands before Azure may say.
const (
	page         = "<html>Forbidden</html>"
	noPermission = `{"error": {"code": "AuthorizationFailed", "message": "Refused."}}`
)
