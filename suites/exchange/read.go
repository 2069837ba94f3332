package exchange

import (
	"context"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// readTests are one test for each workload of the catalogue.
func readTests() []suites.Test {
	var tests []suites.Test
	for _, w := range workloads.Catalogue() {
		requirements := []string{"EXC-01"}
		if len(w.Credentials) > 0 { // Azure Identity's ways; MSAL has one
			requirements = append(requirements, "EXC-02")
		}
		tests = append(tests, suites.Test{
			ID:    "read-secret-" + w.Name,
			Title: "The workload " + w.Name + " reads a Key Vault secret with nothing but what the webhook injected",
			Tier:  suites.Exchange, Requirements: requirements,
			Needs: []suites.Capability{suites.Nodes, suites.AzureAvailable, suites.WorkloadImage(w.Name)},
			Trust: trusted(reader),
			Body:  func(ctx context.Context, t *suites.T) { readSecret(ctx, t, w) },
		})
	}
	return tests
}

func readSecret(ctx context.Context, t *suites.T, w workloads.Workload) {
	clientID := t.Identity(app, reader).ClientID
	credentials := w.Credentials
	if len(credentials) == 0 {
		credentials = []string{""}
	}
	for _, credential := range credentials {
		name, changes := w.Name, []change(nil)
		if credential != "" {
			name, changes = w.Name+"-"+credential, []change{withCredential(credential)}
		}
		t.Case(ctx, name, func(ctx context.Context, t *suites.T) {
			o := run(ctx, t, newPod(ctx, t, name, w.Name, app, changes...))
			hasRead(t, w.Name, o, clientID)
			t.Equal("language and library of the workload", w.Language+" "+w.Library, o.Language+" "+o.Library)
		})
	}
}
