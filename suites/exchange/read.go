package exchange

import (
	"context"
	"strings"

	"golang.org/x/mod/semver"
	corev1 "k8s.io/api/core/v1"

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
	pod := newPod(ctx, t, w.Name, app)
	for _, credential := range w.Credentials {
		pod.Spec.Containers = append(pod.Spec.Containers, program(t, credential, w.Name, corev1.EnvVar{Name: "WORKLOAD_CREDENTIAL", Value: credential}))
	}
	if len(w.Credentials) == 0 {
		pod.Spec.Containers = append(pod.Spec.Containers, program(t, w.Library, w.Name))
	}
	outcomes := run(ctx, t, pod)
	for _, c := range pod.Spec.Containers {
		t.Case(ctx, w.Name+" with credential "+c.Name, func(_ context.Context, t *suites.T) {
			o := outcomes[c.Name]
			hasRead(t, w.Name, o, clientID)
			t.Equal("language and library of the workload", w.Language+" "+w.Library, o.Language+" "+o.Library)
			t.Check(w.Minimum == "" || semver.Compare("v"+strings.TrimPrefix(o.Version, "v"), "v"+w.Minimum) >= 0,
				"version %s of %s is older than %s, or none", o.Version, w.Library, w.Minimum)
			// The SDKs of all languages name the types alike: DefaultAzureCredential is the way "default".
			t.Check(len(w.Credentials) == 0 || strings.HasPrefix(strings.ToLower(o.Credential), c.Name), "it is %s that was exercised", o.Credential)
		})
	}
}
