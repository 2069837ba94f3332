package exchange

import (
	"context"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
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
		pod := programs.Pod(ctx, t, "unlabelled", app, programs.New(t, "app", sample), programs.New(t, "neighbour", neighbour))
		delete(pod.Labels, suites.UseLabel)
		outcomes := programs.Run(ctx, t, pod)
		programs.Refused(t, "a pod without the label", outcomes["app"].Only(), "token", workloads.CredentialUnavailable)
		programs.Refused(t, "its other container", outcomes["neighbour"].Only(), "token", workloads.CredentialUnavailable)
	})
	for _, c := range []struct{ skipped, beside string }{{neighbour, sample}, {sample, neighbour}} {
		t.Case(ctx, "a skipped container of "+c.skipped+" beside one of "+c.beside, func(ctx context.Context, t *suites.T) {
			pod := programs.Pod(ctx, t, "skips-"+c.skipped, app, programs.New(t, "app", c.beside), programs.New(t, "skipped", c.skipped))
			pod.Annotations = map[string]string{suites.SkipAnnotation: "skipped"}
			outcomes := programs.Run(ctx, t, pod)
			programs.HasRead(t, "the container that is not skipped", outcomes["app"].Only(), t.Identity(app, reader).ClientID)
			programs.Refused(t, "the skipped container", outcomes["skipped"].Only(), "token", workloads.CredentialUnavailable)
		})
	}
}
