package operations

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// disturbing is what a test needs that disturbs the webhook's pods.
var disturbing = []suites.Capability{suites.OwnInstallation, suites.SubjectPods, suites.Nodes}

func outageTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "fail-closed",
			Title:        "Without a webhook labelled pods are refused and others admitted, until it is back",
			Requirements: []string{"OPS-01"},
			Needs:        disturbing,
			Timeout:      4 * time.Minute,
			Body:         failClosed,
		},
		{
			ID:           "rolling-restart",
			Title:        "A rolling restart fails no admission, and a replica that is ready answers",
			Requirements: []string{"OPS-02"},
			Needs:        disturbing,
			Timeout:      6 * time.Minute,
			Body:         rollingRestart,
		},
		{
			ID:           "node-drain",
			Title:        "A drain of the webhook's nodes ends, and fails no admission",
			Requirements: []string{"OPS-02"},
			Needs:        disturbing,
			Timeout:      6 * time.Minute,
			Body:         nodeDrain,
		},
		{
			ID:           "api-server-restart",
			Title:        "Once a restarted API server serves, the webhook fails no admission",
			Requirements: []string{"OPS-02"},
			Needs:        append([]suites.Capability{suites.ControlPlaneAccess}, disturbing...),
			Timeout:      4 * time.Minute,
			Body:         apiServerRestart,
		},
	}
}

const (
	// recoversWithin is the time that OPS-01 wants stated, from the scaling back to the last failure: a pod starts in seconds, makes or loads its
	// certificate, and is found ready by a probe that may run every ten seconds only.
	recoversWithin = 30 * time.Second
	// refusals that are looked at while the webhook is down, which is a second of the stream.
	refusals = 50
	// aftermath is how many more creates are looked at after a disturbance.
	aftermath = 50
)

// failClosed keeps the stream going from before the outage to after it: at no moment a labelled pod may get by without injection.
func failClosed(ctx context.Context, t *suites.T) {
	const down, back, first, whole = "no replica is left", "scaled back", "first admission", "whole again"
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	result := streamed(ctx, t, func(s *stream) {
		s.mark("scaled to 0")
		webhook.scaleToZero(ctx, t)
		t.Must(webhook.awaitNone(ctx, t), "wait until all of the webhook's pods are gone")
		s.mark(down)
		t.Must(s.await(ctx, refusals), "look at creates while the webhook is down")
		unlabelledIsAdmitted(ctx, t)
		s.mark(back)
		webhook.scaleBack(ctx, t)
		limited, cancel := context.WithTimeoutCause(ctx, 2*recoversWithin, fmt.Errorf("not within %s", 2*recoversWithin))
		defer cancel()
		err := s.await(limited, 1, injected)
		t.Require(err == nil, "no labelled pod is admitted after the webhook was scaled back: %v", err)
		s.mark(first)
		err = awaitWhole(ctx, t)
		t.Require(err == nil, "the installation is not whole after the webhook was scaled back: %v", err)
		s.mark(whole)
		t.Must(s.await(ctx, aftermath), "look at creates after the outage")
	})
	t.Note("%s", result.figures())

	let := result.of(result.answers, untouched)
	t.Check(len(let) == 0, "labelled pods are admitted without injection while the webhook is away: %s", result.describe(let))
	answered := result.of(result.between(down, back), injected, denied)
	t.Check(len(answered) == 0, "the webhook still answers although no replica is left: %s", result.describe(answered))
	if own := result.of(result.answers, refused, unanswered); len(own) > 0 {
		t.Broken("labelled pods are refused, but not for the failed call of webhook %s: %s", subject.WebhookName, result.describe(own))
	}

	failed := result.of(result.between(back, ""), callFailed, denied)
	recovered := time.Duration(0)
	if len(failed) > 0 {
		recovered = failed[len(failed)-1].received - result.at(back)
	}
	t.Note("labelled pods were refused for another %d ms after the webhook was scaled back", recovered.Milliseconds())
	t.Check(recovered <= recoversWithin, "labelled pods are refused for %s after the webhook was scaled back, want at most %s", recovered, recoversWithin)
	result.expectNone(t, result.between(whole, ""))
}

// unlabelledIsAdmitted expects that the outage of the webhook does not concern pods that are not its business.
func unlabelledIsAdmitted(ctx context.Context, t *suites.T) {
	pod, err := dryRun(ctx, t.Kube(), t.Namespace(ctx), encoded(t, streamedPod("stream", nil)))
	became, message := judge(pod, err)
	if became == unanswered || became == refused {
		t.Broken("an unlabelled pod cannot be created: %s", message)
	}
	t.Check(became == untouched, "an unlabelled pod is not left alone while the webhook is down, but %s: %s", became, message)
}

// awaitNone waits until no pod of the webhook is left, not even one that is ending: those still answer.
func (i *installation) awaitNone(ctx context.Context, t *suites.T) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wholeWithin, fmt.Errorf("not within %s", wholeWithin))
	defer cancel()
	left := map[string]bool{}
	_, err := watchtools.UntilWithSync(ctx, i.listPods(t), &corev1.Pod{}, func(store cache.Store) (bool, error) {
		for _, key := range store.ListKeys() {
			left[key] = true
		}
		return len(left) == 0, nil
	}, func(e watch.Event) (bool, error) {
		if pod, ok := e.Object.(*corev1.Pod); ok && e.Type == watch.Deleted {
			delete(left, pod.Namespace+"/"+pod.Name)
		}
		return len(left) == 0, nil
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%d pods are left: %w", len(left), err)
	}
	return nil
}
