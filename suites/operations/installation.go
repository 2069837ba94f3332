package operations

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// installation is the webhook under test as something to disturb: the Deployments whose pods are behind its Service. It is
// found by its registration alone, so that any conformant subject will do.
type installation struct {
	selector    labels.Selector     // of the webhook's Service
	deployments []appsv1.Deployment // as they were found
}

const (
	// wholeWithin is how long an installation may take to become whole again: starts, probes and drains of all replicas on a slow cluster.
	wholeWithin = 2 * time.Minute
	// restoreWithin bounds what puts an installation back, without the time until it is whole.
	restoreWithin = 20 * time.Second
)

// settled is the installation, once it is whole. Who disturbs it defers restore first:
//
//	webhook := settled(ctx, t)
//	defer webhook.restore(ctx, t)
func settled(ctx context.Context, t *suites.T) *installation {
	t.Must(awaitWhole(ctx, t), "wait until the installation is whole before it is disturbed")
	deployments, selector, err := t.Subject().Deployments(ctx, t.Kube())
	t.Must(err, "find what makes the webhook's pods")
	return &installation{selector, deployments}
}

// awaitWhole waits until the installation lacks nothing, an answered admission included.
func awaitWhole(ctx context.Context, t *suites.T) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wholeWithin, fmt.Errorf("not within %s", wholeWithin))
	defer cancel()
	return t.Subject().AwaitWhole(ctx, t.Kube())
}

// restore takes back what scale and restart changed, however the test ended, and waits until the installation is whole for the next
// one. An installation that does not become whole again is the subject's failure.
func (i *installation) restore(ctx context.Context, t *suites.T) {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	for _, found := range i.deployments {
		now, err := t.Kube().AppsV1().Deployments(found.Namespace).Get(undo, found.Name, metav1.GetOptions{})
		t.Must(err, "restore Deployment %s/%s", found.Namespace, found.Name)
		if want := replicas(&found); replicas(now) != want {
			scaleTo(undo, t, &found, want)
		}
		if before := restartOf(&found); !ptr.Equal(before, restartOf(now)) {
			restarted(undo, t, &found, before)
		}
	}
	if ctx.Err() != nil {
		return // nobody waits any more; the next test, if there is one, begins by waiting
	}
	if err := awaitWhole(ctx, t); err != nil {
		_, unreachable := t.Kube().CoreV1().Services(t.Subject().Service.Namespace).Get(undo, t.Subject().Service.Name, metav1.GetOptions{})
		t.Must(unreachable, "wait until the installation is whole again")
		t.Check(false, "the installation is not whole again after the test: %v", err)
	}
}

// replicas of the whole installation, as it was found.
func (i *installation) replicas() int {
	n := 0
	for _, d := range i.deployments {
		n += int(replicas(&d))
	}
	return n
}

// pods are the webhook's, without those that are ending or have ended.
func (i *installation) pods(ctx context.Context, t *suites.T) []corev1.Pod {
	all, err := pods.BehindService(ctx, t.Kube(), t.Subject().Service)
	t.Must(err, "find the webhook's pods")
	var serving []corev1.Pod
	for _, p := range all {
		if !isEnding(&p) {
			serving = append(serving, p)
		}
	}
	return serving
}

// listPods lists and watches the webhook's pods.
func (i *installation) listPods(t *suites.T) cache.ListerWatcher {
	webhooks := func(o *metav1.ListOptions) { o.LabelSelector = i.selector.String() }
	return cache.NewFilteredListWatchFromClient(t.Kube().CoreV1().RESTClient(), "pods", t.Subject().Service.Namespace, webhooks)
}

// scaleToZero scales every Deployment of the webhook to none.
func (i *installation) scaleToZero(ctx context.Context, t *suites.T) {
	for _, d := range i.deployments {
		scaleTo(ctx, t, &d, 0)
	}
}

// scaleBack scales every Deployment of the webhook to what it had.
func (i *installation) scaleBack(ctx context.Context, t *suites.T) {
	for _, d := range i.deployments {
		scaleTo(ctx, t, &d, replicas(&d))
	}
}

// restart rolls every Deployment of the webhook, as `kubectl rollout restart` does.
func (i *installation) restart(ctx context.Context, t *suites.T) {
	for _, d := range i.deployments {
		restarted(ctx, t, &d, ptr.To(time.Now().UTC().Format(time.RFC3339Nano)))
	}
}

// undoRestart rolls them back to the template that they were found with.
func (i *installation) undoRestart(ctx context.Context, t *suites.T) {
	for _, d := range i.deployments {
		restarted(ctx, t, &d, restartOf(&d))
	}
}

// replicas is the API's default where a Deployment does not say.
func replicas(d *appsv1.Deployment) int32 { return ptr.Deref(d.Spec.Replicas, 1) }

func isEnding(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

// scaleTo changes nothing but the number: a Deployment that is written back whole loses the fields that this client does not know.
func scaleTo(ctx context.Context, t *suites.T, d *appsv1.Deployment, to int32) {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to)
	changed, err := t.Kube().AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, types.MergePatchType, patch, patchOptions)
	t.Must(err, "scale Deployment %s/%s to %d", d.Namespace, d.Name, to)
	awaitObserved(ctx, t, changed)
}

// restarted sets the time of the restart, or removes it, and waits until the controllers know.
func restarted(ctx context.Context, t *suites.T, d *appsv1.Deployment, at *string) {
	changed, err := subject.Restart(ctx, t.Kube(), d, at, patchOptions)
	t.Must(err, "roll the webhook's pods")
	awaitObserved(ctx, t, changed)
}

// restartOf is when the Deployment was restarted last, nil if it never was.
func restartOf(d *appsv1.Deployment) *string {
	if at, had := d.Spec.Template.Annotations[subject.RestartedAt]; had {
		return &at
	}
	return nil
}

// awaitObserved waits until the change is known to the controllers, and to who lists from the API server's cache: before that the
// installation is whole still.
func awaitObserved(ctx context.Context, t *suites.T, changed *appsv1.Deployment) {
	if changed.Status.ObservedGeneration >= changed.Generation {
		return // it was like that
	}
	named := fields.OneTermEqualSelector(metav1.ObjectNameField, changed.Name)
	list := cache.NewListWatchFromClient(t.Kube().AppsV1().RESTClient(), "deployments", changed.Namespace, named)
	_, err := watchtools.Until(ctx, changed.ResourceVersion, list, func(e watch.Event) (bool, error) {
		d, ok := e.Object.(*appsv1.Deployment)
		return ok && d.Status.ObservedGeneration >= changed.Generation, nil
	})
	t.Must(err, "wait until Deployment %s/%s is seen to have changed", changed.Namespace, changed.Name)
}

var patchOptions = metav1.PatchOptions{FieldManager: suites.FieldManager}
