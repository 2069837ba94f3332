package exchange

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// reading are a row's attempts with nothing but what is injected: one for each of its ways, or the only one.
func reading(w workloads.Workload) []workloads.Attempt {
	var attempts []workloads.Attempt
	for _, credential := range w.Credentials {
		attempts = append(attempts, workloads.Attempt{Credential: credential})
	}
	if attempts == nil {
		attempts = []workloads.Attempt{{}}
	}
	return attempts
}

// expectRead expects of the reading attempts' results that each read the secret, and of what Azure was asked meanwhile that it was
// this program that asked.
func expectRead(ctx context.Context, t *suites.T, w workloads.Workload, o programs.Outcome, asked []evidence.Entry) {
	subject, clientID := subjectOf(ctx, t), t.Identity(app, reader).ClientID
	seen := slices.DeleteFunc(asked, func(e evidence.Entry) bool { return e.Status != http.StatusOK || e.Subject != subject })
	name := func(i int) string {
		if len(w.Credentials) == 0 {
			return w.Name
		}
		return w.Name + " with credential " + w.Credentials[i]
	}
	t.CaseOf(ctx, "EXC-01", w.Name, func(_ context.Context, t *suites.T) {
		for i, r := range o {
			t.Ran(programs.Ran(t, w, r, seen))
			programs.HasRead(t, name(i), r, clientID)
			t.Equal("language and library of the workload", w.Language+" "+w.Library, r.Language+" "+r.Library)
			t.Check(w.Minimum == "" || semver.Compare("v"+strings.TrimPrefix(r.Version, "v"), "v"+w.Minimum) >= 0,
				"version %s of %s is older than %s, or none", r.Version, w.Library, w.Minimum)
		}
	})
	for i, way := range w.Credentials {
		t.CaseOf(ctx, "EXC-02", name(i), func(_ context.Context, t *suites.T) {
			programs.HasRead(t, w.Name, o[i], clientID)
			// The SDKs of all languages name the types alike: DefaultAzureCredential is the way "default".
			t.Check(strings.HasPrefix(strings.ToLower(o[i].Credential), way), "it is %s that was exercised", o[i].Credential)
		})
	}
	if t.Azure().Evidence == nil {
		return
	}
	t.CaseOf(ctx, "EXC-01", w.Name+" as Azure saw it", func(_ context.Context, t *suites.T) {
		t.Require(len(seen) >= len(o), "Azure gave %d tokens for %d attempts", len(seen), len(o))
		for _, e := range seen {
			t.Equal("client ID of the exchange", clientID, e.ClientID)
			version := strings.TrimPrefix(o[0].Version, "v")
			t.Check(strings.Contains(e.UserAgent+" "+e.Client, version),
				"the program says that its %s is %s; the exchange came from %q, %q", w.Library, version, e.UserAgent, e.Client)
		}
	})
}
