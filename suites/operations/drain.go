package operations

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
)

const (
	// drainWithin is how long a drain may have to wait for the budget to allow the eviction of a replica: until the one before it is replaced.
	drainWithin = time.Minute
	// budgetWithin is how long the budget's controller may take to see that all replicas are ready.
	budgetWithin = 15 * time.Second
)

// nodeDrain does what drains do: it evicts all of the webhook's pods at the same moment, of which the disruption budget has to refuse
// some, and tries again until each of them is gone. Where there are several nodes these are drained afterwards, one by one.
func nodeDrain(ctx context.Context, t *suites.T) {
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	pods, nodes := webhook.pods(ctx, t), drainable(ctx, t)
	result := streamed(ctx, t, func(s *stream) {
		for _, pod := range pods {
			evictable(ctx, t, &pod)
		}
		s.mark("all evicted")
		refused := evictAll(ctx, t, pods)
		t.Note("%d of %d replicas were kept from being evicted at the same moment", len(refused), len(pods))
		t.Check(len(refused) > 0, "all %d replicas are evicted at the same moment: no PodDisruptionBudget keeps one", len(pods))
		evictAllowed(ctx, t, refused)
		for _, node := range nodes {
			s.mark("node " + node + " drained")
			webhook.drain(ctx, t, node)
		}
		s.mark("whole again")
		t.Must(s.await(ctx, aftermath), "look at creates after the drain")
	})
	result.unbroken(t)
}

// evictable expects that the pod may be evicted at all. The budget may just not have seen yet that all replicas are ready.
func evictable(ctx context.Context, t *suites.T, pod *corev1.Pod) {
	limited, cancel := context.WithTimeoutCause(ctx, budgetWithin, fmt.Errorf("not within %s", budgetWithin))
	defer cancel()
	err := awaitAllowance(limited, t, pod)
	t.Require(err == nil, "replica %s cannot be evicted although all are ready, so that a drain of its node does not end: %v", pod.Name, err)
}

// evictAll evicts the pods at the same moment, and returns those that a budget refuses to.
func evictAll(ctx context.Context, t *suites.T, pods []corev1.Pod) (refused []corev1.Pod) {
	answers := make([]error, len(pods))
	var asking sync.WaitGroup
	for i := range pods {
		asking.Go(func() { answers[i] = evict(ctx, t, &pods[i]) })
	}
	asking.Wait()
	for i, err := range answers {
		if isBudget(err) {
			refused = append(refused, pods[i])
			continue
		}
		t.Must(err, "evict pod %s", pods[i].Name)
	}
	return refused
}

// evictAllowed evicts the pods as the budget comes to allow it, as a drain does, and waits until they are replaced.
func evictAllowed(ctx context.Context, t *suites.T, pods []corev1.Pod) {
	limited, cancel := context.WithTimeoutCause(ctx, drainWithin, fmt.Errorf("not within %s", drainWithin))
	defer cancel()
	for _, pod := range pods {
		err := evictWhenAllowed(limited, t, &pod)
		t.Require(err == nil, "replica %s cannot be evicted, so that a drain of its node does not end: %v", pod.Name, err)
	}
	err := awaitWhole(ctx, t)
	t.Require(err == nil, "the evicted replicas are not replaced: %v", err)
}

func evictWhenAllowed(ctx context.Context, t *suites.T, pod *corev1.Pod) error {
	for {
		err := evict(ctx, t, pod)
		if !isBudget(err) {
			return err
		}
		if waited := awaitAllowance(ctx, t, pod); waited != nil {
			return fmt.Errorf("%w: %w", err, waited)
		}
	}
}

// evict asks for what a drain asks for. A pod that is gone already is no error.
func evict(ctx context.Context, t *suites.T, pod *corev1.Pod) error {
	err := t.Kube().CoreV1().Pods(pod.Namespace).EvictV1(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: metav1.NewPreconditionDeleteOptions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// isBudget says whether an eviction is refused for a disruption budget, and not because the API server is busy.
func isBudget(err error) bool {
	return apierrors.IsTooManyRequests(err) && apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause)
}

// awaitAllowance waits until every budget of the pod allows a disruption.
func awaitAllowance(ctx context.Context, t *suites.T, pod *corev1.Pod) error {
	forbidding := map[string]bool{}
	look := func(b *policyv1.PodDisruptionBudget) {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		forbids := err == nil && selector.Matches(labels.Set(pod.Labels)) && (b.Status.DisruptionsAllowed < 1 || b.Status.ObservedGeneration < b.Generation)
		if delete(forbidding, b.Name); forbids {
			forbidding[b.Name] = true
		}
	}
	list := cache.NewListWatchFromClient(t.Kube().PolicyV1().RESTClient(), "poddisruptionbudgets", pod.Namespace, fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, list, &policyv1.PodDisruptionBudget{}, func(store cache.Store) (bool, error) {
		for _, b := range store.List() {
			look(b.(*policyv1.PodDisruptionBudget))
		}
		return len(forbidding) == 0, nil
	}, func(e watch.Event) (bool, error) {
		if b, ok := e.Object.(*policyv1.PodDisruptionBudget); ok {
			if look(b); e.Type == watch.Deleted {
				delete(forbidding, b.Name)
			}
		}
		return len(forbidding) == 0, nil
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("no disruption is allowed: %w", err)
	}
	return nil
}

// drainable are the nodes with pods of the webhook that can be cordoned: there are others for the pods to go to.
func drainable(ctx context.Context, t *suites.T) []string {
	all, err := t.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: corev1.LabelOSStable + "=linux"})
	t.Must(err, "list the nodes")
	var names []string
	for _, node := range all.Items {
		if pods.Schedulable(&node) {
			names = append(names, node.Name)
		}
	}
	if len(names) < 2 {
		t.Note("there is one node for pods: it cannot be cordoned, its pods were evicted all the same")
		return nil
	}
	return names
}

// drain cordons the node, evicts the webhook's pods that are on it, and uncordons it, whatever happened.
func (i *installation) drain(ctx context.Context, t *suites.T, node string) {
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
		defer cancel()
		cordon(undo, t, node, false)
	}()
	cordon(ctx, t, node, true)
	here := slices.DeleteFunc(i.pods(ctx, t), func(p corev1.Pod) bool { return p.Spec.NodeName != node })
	evictAllowed(ctx, t, evictAll(ctx, t, here))
}

func cordon(ctx context.Context, t *suites.T, node string, unschedulable bool) {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, unschedulable)
	_, err := t.Kube().CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, patchOptions)
	t.Must(err, "set unschedulable of node %s to %t", node, unschedulable)
}
