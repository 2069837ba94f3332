package exchange

import (
	"context"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func readTests() []suites.Test {
	return forEveryRow(func(w workloads.Workload) suites.Test {
		requirements := []string{"EXC-01"}
		if len(w.Credentials) > 0 { // Azure Identity's ways; MSAL has one
			requirements = append(requirements, "EXC-02")
		}
		return suites.Test{
			ID:    "read-secret-" + w.Name,
			Title: "The workload " + w.Name + " reads a Key Vault secret with nothing but what the webhook injected",
			Tier:  suites.Exchange, Requirements: requirements,
			Needs: needs(w.Name), Trust: trusted(reader),
			// An SDK that reaches nobody tries for up to a minute in each of its ways, and is to say so itself.
			Timeout: time.Duration(max(1, len(w.Credentials)))*time.Minute + suites.DefaultTimeout,
			Body:    func(ctx context.Context, t *suites.T) { readSecret(ctx, t, w) },
		}
	})
}

func readSecret(ctx context.Context, t *suites.T, w workloads.Workload) {
	var attempts []workloads.Attempt
	for _, credential := range w.Credentials {
		attempts = append(attempts, workloads.Attempt{Credential: credential})
	}
	o := programs.Run(ctx, t, programs.Pod(ctx, t, w.Name, app, programs.New(t, "app", w.Name, attempts...)))["app"]
	seen := programs.Exchanges(ctx, t, app)
	for i, r := range o {
		name, way := w.Name, ""
		if len(attempts) > 0 {
			way = attempts[i].Credential
			name += " with credential " + way
		}
		t.Case(ctx, name, func(_ context.Context, t *suites.T) {
			t.Ran(programs.Ran(t, w, r, seen))
			programs.HasRead(t, w.Name, r, t.Identity(app, reader).ClientID)
			t.Equal("language and library of the workload", w.Language+" "+w.Library, r.Language+" "+r.Library)
			t.Check(w.Minimum == "" || semver.Compare("v"+strings.TrimPrefix(r.Version, "v"), "v"+w.Minimum) >= 0,
				"version %s of %s is older than %s, or none", r.Version, w.Library, w.Minimum)
			// The SDKs of all languages name the types alike: DefaultAzureCredential is the way "default".
			t.Check(strings.HasPrefix(strings.ToLower(r.Credential), way), "it is %s that was exercised", r.Credential)
		})
	}
	if t.Azure().Evidence == nil {
		return
	}
	t.Case(ctx, w.Name+" as Azure saw it", func(_ context.Context, t *suites.T) {
		t.Require(len(seen) >= len(o), "Azure gave %d tokens for %d attempts", len(seen), len(o))
		for _, e := range seen {
			t.Equal("client ID of the exchange", t.Identity(app, reader).ClientID, e.ClientID)
			version := strings.TrimPrefix(o.Only().Version, "v")
			t.Check(strings.Contains(e.UserAgent+" "+e.Client, version),
				"the program says that its %s is %s; the exchange came from %q, %q", w.Library, version, e.UserAgent, e.Client)
		}
	})
}
