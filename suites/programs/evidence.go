package programs

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Ran is the evidence of a workload's result. Results and exchanges do not name each other; those of one program are alike.
func Ran(t *suites.T, w workloads.Workload, r workloads.Result, seen []evidence.Entry) reports.Workload {
	evidence := reports.Workload{
		Name: w.Name, Language: w.Language, Library: w.Library, OS: w.Platform, Version: r.Version, Credential: r.Credential, Image: t.Image(w.Name),
		SecretSHA256: r.SecretSHA256, TokenSeconds: r.Seconds.Token, SecretSeconds: r.Seconds.Secret,
	}
	if !r.OK {
		evidence.Error = Describe(r)
	}
	if len(seen) > 0 {
		evidence.Exchange = exchangeOf(seen[0])
	}
	return evidence
}

func exchangeOf(e evidence.Entry) *reports.Exchange {
	return &reports.Exchange{ClientID: e.ClientID, Subject: e.Subject, Issuer: e.Issuer, UserAgent: e.UserAgent, Client: e.Client}
}

// Exchanges are the tokens that Azure gave for an account of the test. Only an emulator tells.
func Exchanges(ctx context.Context, t *suites.T, account string) []evidence.Entry {
	subject := "system:serviceaccount:" + t.Namespace(ctx) + ":" + account
	return slices.DeleteFunc(Asked(ctx, t), func(e evidence.Entry) bool { return e.Status != http.StatusOK || e.Subject != subject })
}

// fromHarness: that a trust is known was waited for by exchanges for the same account.
func fromHarness(e evidence.Entry) bool {
	return strings.HasPrefix(e.UserAgent, azure.ApplicationID+" ")
}

// Asked are the requests for tokens that Azure had, but for the harness' own. Only an emulator tells.
func Asked(ctx context.Context, t *suites.T) []evidence.Entry {
	if t.Azure().Evidence == nil {
		return nil
	}
	entries, err := t.Azure().Evidence(ctx, 0)
	t.Must(err, "read the emulator's evidence")
	return slices.DeleteFunc(entries, func(e evidence.Entry) bool { return e.Service != "entra" || fromHarness(e) })
}
