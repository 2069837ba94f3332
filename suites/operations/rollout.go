package operations

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/suites"
)

// rollingRestart rolls the webhook as `kubectl rollout restart` does, and back again, which is one more rollout.
func rollingRestart(ctx context.Context, t *suites.T) {
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	var fresh []readiness
	result := streamed(ctx, t, func(s *stream) {
		asked := webhook.askTheReady(ctx, t)
		defer asked.stop()
		for _, rollout := range []struct {
			event string
			begin func(context.Context, *suites.T)
		}{{"restarted", webhook.restart}, {"rolled back", webhook.undoRestart}} {
			s.mark(rollout.event)
			rollout.begin(ctx, t)
			err := awaitWhole(ctx, t)
			t.Require(err == nil, "the rollout does not end: %v", err)
		}
		t.Must(s.await(ctx, aftermath), "look at creates after the rollouts")
		fresh = asked.stop()
	})
	result.unbroken(t)
	if want := 2 * webhook.replicas(); len(fresh) < want {
		t.Broken("%d new replicas were seen to become ready in two rollouts, want %d", len(fresh), want)
	}
	for _, r := range fresh {
		t.Check(r.err == nil, "replica %s is ready, but answers no admission call: %v", r.pod, r.err)
	}
}

// readiness is what a replica answered when it had become ready.
type readiness struct {
	pod string
	err error
}

// asking is the questioning of replicas that become ready.
type asking struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	answers []readiness
}

// askTheReady sends every replica that becomes ready from now on an admission review, at that moment.
func (i *installation) askTheReady(ctx context.Context, t *suites.T) *asking {
	known := map[types.UID]bool{}
	for _, pod := range i.pods(ctx, t) {
		known[pod.UID] = true
	}
	ask := newReplicaClient(ctx, t)
	ctx, cancel := context.WithCancel(ctx)
	a := &asking{cancel: cancel}
	a.running.Go(func() {
		// It ends with its context: that it does is no error.
		_, _ = watchtools.UntilWithSync(ctx, i.listPods(t), &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok || e.Type == watch.Deleted || known[pod.UID] || isEnding(pod) || !isReady(pod) {
				return false, nil
			}
			known[pod.UID] = true
			a.running.Go(func() {
				err := ask.review(ctx, pod)
				a.mu.Lock()
				defer a.mu.Unlock()
				a.answers = append(a.answers, readiness{pod.Name, err})
			})
			return false, nil
		})
	})
	return a
}

// stop ends the questioning and returns the answers. It may be called again.
func (a *asking) stop() []readiness {
	a.cancel()
	a.running.Wait()
	return a.answers
}
