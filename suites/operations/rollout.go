package operations

import (
	"context"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/suites"
)

// rollingRestart rolls the webhook as `kubectl rollout restart` does, and back again, which is one more rollout.
func rollingRestart(ctx context.Context, t *suites.T) {
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	var fresh []readiness
	var unseen error
	result := streamed(ctx, t, func(s *stream) {
		asked := askTheCalled(ctx, t, webhook)
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
		fresh, unseen = asked.stop()
	})
	result.unbroken(t)
	t.Must(unseen, "look at the replicas that the Service leads to")
	if want := 2 * webhook.replicas(); len(fresh) < want {
		t.Broken("the Service was seen to lead to %d new replicas in two rollouts, want %d", len(fresh), want)
	}
	for _, r := range fresh {
		t.Check(r.err == nil, "the Service leads to replica %s, which answers no admission call: %v", r.pod, r.err)
	}
}

// readiness is what a replica answered when the Service began to lead to it.
type readiness struct {
	pod string
	err error
}

// asking is the questioning of replicas that are new in the Service's endpoints.
type asking struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	answers []readiness
	failed  error // of the questioning itself
}

// askTheCalled sends every replica that the Service leads to from now on an admission review, at that moment: whether the API server
// would have called it just then is chance.
func askTheCalled(ctx context.Context, t *suites.T, webhook *installation) *asking {
	known := map[types.UID]bool{}
	for _, pod := range webhook.pods(ctx, t) {
		known[pod.UID] = true
	}
	ask := newReplicaClient(ctx, t)
	service := t.Subject().Service
	endpoints := cache.NewFilteredListWatchFromClient(t.Kube().DiscoveryV1().RESTClient(), "endpointslices", service.Namespace,
		func(o *metav1.ListOptions) { o.LabelSelector = discoveryv1.LabelServiceName + "=" + service.Name })
	ctx, cancel := context.WithCancel(ctx)
	a := &asking{cancel: cancel}
	a.running.Go(func() {
		// It ends with its context: that it does is no error.
		_, _ = watchtools.UntilWithSync(ctx, endpoints, &discoveryv1.EndpointSlice{}, nil, func(e watch.Event) (bool, error) {
			slice, ok := e.Object.(*discoveryv1.EndpointSlice)
			if !ok || e.Type == watch.Deleted {
				return false, nil
			}
			for _, endpoint := range slice.Endpoints {
				// Unknown is ready, as the API's documentation has it.
				if replica := endpoint.TargetRef; replica != nil && !known[replica.UID] && ptr.Deref(endpoint.Conditions.Ready, true) {
					known[replica.UID] = true
					a.running.Go(func() { a.ask(ctx, t, ask, replica) })
				}
			}
			return false, nil
		})
	})
	return a
}

func (a *asking) ask(ctx context.Context, t *suites.T, client *replicaClient, replica *corev1.ObjectReference) {
	pod, failed := t.Kube().CoreV1().Pods(replica.Namespace).Get(ctx, replica.Name, metav1.GetOptions{})
	var err error
	if failed == nil {
		err = client.review(ctx, pod)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed != nil {
		a.failed = errors.Join(a.failed, failed)
		return
	}
	a.answers = append(a.answers, readiness{pod.Name, err})
}

// stop ends the questioning and returns the answers. It may be called again.
func (a *asking) stop() ([]readiness, error) {
	a.cancel()
	a.running.Wait()
	return a.answers, a.failed
}
