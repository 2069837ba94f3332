package exchange

import (
	"context"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// neighbour is a workload in another language than the sample.
const neighbour = "python-azidentity"

func selectionTests() []suites.Test {
	return []suites.Test{{
		ID:    "no-credential-unasked",
		Title: "A pod without the label and a skipped container get no credential",
		Tier:  suites.Exchange, Requirements: []string{"EXC-05"},
		Needs: needs(sample, neighbour), Trust: trusted(reader), Body: unasked,
	}}
}

func unasked(ctx context.Context, t *suites.T) {
	t.Case(ctx, "a pod of the same account without the label", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "unlabelled", app, program(t, "app", sample), program(t, "neighbour", neighbour))
		delete(pod.Labels, suites.UseLabel)
		outcomes := run(ctx, t, pod)
		refused(t, "a pod without the label", outcomes["app"].only(), "token", workloads.CredentialUnavailable)
		refused(t, "its other container", outcomes["neighbour"].only(), "token", workloads.CredentialUnavailable)
	})
	for _, c := range []struct{ skipped, beside string }{{neighbour, sample}, {sample, neighbour}} {
		t.Case(ctx, "a skipped container of "+c.skipped+" beside one of "+c.beside, func(ctx context.Context, t *suites.T) {
			pod := newPod(ctx, t, "skips-"+c.skipped, app, program(t, "app", c.beside), program(t, "skipped", c.skipped))
			pod.Annotations = map[string]string{suites.SkipAnnotation: "skipped"}
			outcomes := run(ctx, t, pod)
			hasRead(t, "the container that is not skipped", outcomes["app"].only(), t.Identity(app, reader).ClientID)
			refused(t, "the skipped container", outcomes["skipped"].only(), "token", workloads.CredentialUnavailable)
		})
	}
}
