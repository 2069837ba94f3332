package exchange

import (
	"context"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

func selectionTests() []suites.Test {
	return []suites.Test{{
		ID:    "no-credential-unasked",
		Title: "A pod without the label and a skipped container get no credential",
		Tier:  suites.Exchange, Requirements: []string{"EXC-05"},
		Needs: needs(), Trust: trusted(reader), Body: unasked,
	}}
}

func unasked(ctx context.Context, t *suites.T) {
	t.Case(ctx, "a pod of the same account without the label", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "unlabelled", app, program(t, "app", sample))
		delete(pod.Labels, suites.UseLabel)
		refused(t, "a pod without the label", run(ctx, t, pod)["app"], "token", workloads.CredentialUnavailable)
	})
	t.Case(ctx, "a skipped container beside one that is not", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "skipped", app, program(t, "app", sample), program(t, "skipped", sample))
		pod.Annotations = map[string]string{suites.SkipAnnotation: "skipped"}
		outcomes := run(ctx, t, pod)
		hasRead(t, "the container that is not skipped", outcomes["app"], t.Identity(app, reader).ClientID)
		refused(t, "the skipped container", outcomes["skipped"], "token", workloads.CredentialUnavailable)
	})
}
