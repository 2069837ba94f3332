package exchange

import (
	"context"

	corev1 "k8s.io/api/core/v1"

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
	accepted(ctx, t)
	t.Case(ctx, "a pod of the same account without the label", func(ctx context.Context, t *suites.T) {
		o := run(ctx, t, newPod(ctx, t, "unlabelled", sample, app, unlabelled))
		refused(ctx, t, "a pod without the label", o, "token", workloads.CredentialUnavailable)
	})
	t.Case(ctx, "a skipped container beside one that is not", func(ctx context.Context, t *suites.T) {
		beside := func(pod *corev1.Pod) {
			pod.Spec.Containers = append(pod.Spec.Containers, container(t, "skipped", sample))
		}
		pod := newPod(ctx, t, "skipped", sample, app, beside, annotated(map[string]string{suites.SkipAnnotation: "skipped"}))
		outcomes := runAll(ctx, t, pod)
		hasRead(t, "the container that is not skipped", outcomes["app"], t.Identity(app, reader).ClientID)
		refused(ctx, t, "the skipped container", outcomes["skipped"], "token", workloads.CredentialUnavailable)
	})
}
