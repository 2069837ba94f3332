package exchange

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
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
	o := run(ctx, t, newPod(ctx, t, w.Name, app, program(t, "app", w.Name, attempts...)))["app"]
	seen := exchanges(ctx, t, app)
	for i, r := range o {
		name, way := w.Name, ""
		if len(attempts) > 0 {
			way = attempts[i].Credential
			name += " with credential " + way
		}
		t.Case(ctx, name, func(_ context.Context, t *suites.T) {
			t.Ran(ran(t, w, r, seen))
			hasRead(t, w.Name, r, t.Identity(app, reader).ClientID)
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
			version := strings.TrimPrefix(o.only().Version, "v")
			t.Check(strings.Contains(e.UserAgent+" "+e.Client, version),
				"the program says that its %s is %s; the exchange came from %q, %q", w.Library, version, e.UserAgent, e.Client)
		}
	})
}

// ran is the evidence of a workload's result. Results and exchanges do not name each other; those of one program are alike.
func ran(t *suites.T, w workloads.Workload, r workloads.Result, seen []evidence.Entry) reports.Workload {
	evidence := reports.Workload{
		Name: w.Name, Language: w.Language, Library: w.Library, Version: r.Version, Credential: r.Credential, Image: t.Image(w.Name),
		SecretSHA256: r.SecretSHA256, TokenSeconds: r.Seconds.Token, SecretSeconds: r.Seconds.Secret,
	}
	if !r.OK {
		evidence.Error = describe(r)
	}
	if len(seen) > 0 {
		evidence.Exchange = exchangeOf(seen[0])
	}
	return evidence
}

func exchangeOf(e evidence.Entry) *reports.Exchange {
	return &reports.Exchange{ClientID: e.ClientID, Subject: e.Subject, Issuer: e.Issuer, UserAgent: e.UserAgent, Client: e.Client}
}

// exchanges are the tokens that Azure gave for an account of the test. Only an emulator tells.
func exchanges(ctx context.Context, t *suites.T, account string) []evidence.Entry {
	subject := "system:serviceaccount:" + t.Namespace(ctx) + ":" + account
	return slices.DeleteFunc(asked(ctx, t), func(e evidence.Entry) bool { return e.Status != http.StatusOK || e.Subject != subject })
}

// fromHarness: that a trust is known was waited for by exchanges for the same account.
func fromHarness(e evidence.Entry) bool {
	return strings.HasPrefix(e.UserAgent, azure.ApplicationID+" ")
}
