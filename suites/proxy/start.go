package proxy

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
)

func startTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "proxy-starts-fifty-times",
			Title: "50 pods start with the proxy, without a failed hook or a restart, and it answers their first call",
			Tier:  suites.Proxy, Requirements: []string{"PRX-14"},
			Needs: needs(), Serial: true, Timeout: 3 * suites.DefaultTimeout, Body: startsOften,
		},
		{
			ID:    "proxy-lets-jobs-complete",
			Title: "A Job with the proxy completes",
			Tier:  suites.Proxy, Requirements: []string{"PRX-08"},
			Needs: needs(suites.NativeSidecar), Body: letsJobsComplete,
		},
	}
}

const (
	manyPods = 50 // PRX-14
	// failedHook is the reason of a kubelet's event when a post-start hook fails.
	failedHook = "FailedPostStartHook"
)

func startsOften(ctx context.Context, t *suites.T) {
	account := t.ServiceAccount(ctx, app, nil)
	made := make([]called, manyPods)
	group, together := errgroup.WithContext(ctx)
	for i := range manyPods {
		pod := newPod(ctx, t, fmt.Sprintf("pod-%02d", i+1), account, caller(t, "app", ready()))
		pod.Spec.TerminationGracePeriodSeconds = ptr.To[int64](5)
		group.Go(func() (err error) {
			made[i], err = tryCall(together, t, pod)
			return err
		})
	}
	t.Must(group.Wait(), "run %d pods", manyPods)
	events, err := t.Kube().CoreV1().Events(t.Namespace(ctx)).List(ctx, metav1.ListOptions{})
	t.Must(err, "list the events")
	started := map[string]bool{}
	for _, e := range events.Items {
		if e.Reason == "Started" {
			started[e.InvolvedObject.Name] = true
		}
		t.Check(e.Reason != failedHook, "pod %s: %s: %s", e.InvolvedObject.Name, e.Reason, e.Message)
	}
	for _, c := range made {
		if !started[c.pod.Name] {
			t.Broken("the cluster has no event of pod %s, so that nothing is known of its hooks", c.pod.Name)
		}
		isProxy(t, "pod "+c.pod.Name, c.of(t, "app", "ready"))
		for _, s := range slices.Concat(c.pod.Status.InitContainerStatuses, c.pod.Status.ContainerStatuses) {
			t.Check(s.RestartCount == 0, "container %s of pod %s restarted %d times", s.Name, c.pod.Name, s.RestartCount)
		}
	}
}

func letsJobsComplete(ctx context.Context, t *suites.T) {
	pod := newPod(ctx, t, "", t.ServiceAccount(ctx, app, nil), caller(t, "app", ready()))
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "job"},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0),
			Template:     corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec},
		},
	}
	ns := t.Namespace(ctx)
	_, err := t.Kube().BatchV1().Jobs(ns).Create(ctx, job, metav1.CreateOptions{})
	t.Must(err, "create job %s", job.Name)
	finished, err := pods.AwaitEnd(ctx, t.Kube(), ns, batchv1.JobNameLabel+"="+job.Name, "app")
	t.Must(err, "run job %s", job.Name)
	answers, err := ask.Parse(finished.Containers["app"].Log)
	t.Must(err, "read what came of the calls of job %s", job.Name)
	isProxy(t, "the Job's pod", answers["ready"])

	// From here on it is the sidecar that keeps the Job from its end.
	ended := t.Check(jobEnds(ctx, t, ns, job.Name) == batchv1.JobComplete, "the Job does not complete, though its container has ended: the proxy goes on")
	if ended {
		left, err := t.Kube().CoreV1().Pods(ns).Get(ctx, finished.Pod.Name, metav1.GetOptions{})
		t.Must(err, "get the Job's pod")
		t.Equal("phase of the Job's pod", corev1.PodSucceeded, left.Status.Phase)
	}
}

// jobEnds is the condition that a Job ends with; "" if it does not within the time that a proxy has to stop.
func jobEnds(ctx context.Context, t *suites.T, namespace, name string) (condition batchv1.JobConditionType) {
	ctx, cancel := context.WithTimeout(ctx, suites.DefaultTimeout/2)
	defer cancel()
	list := cache.NewListWatchFromClient(t.Kube().BatchV1().RESTClient(), "jobs", namespace, fields.OneTermEqualSelector(metav1.ObjectNameField, name))
	_, err := watchtools.UntilWithSync(ctx, list, &batchv1.Job{}, nil, func(event watch.Event) (bool, error) {
		job, ok := event.Object.(*batchv1.Job)
		if !ok {
			return false, nil
		}
		for _, c := range job.Status.Conditions {
			if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
				condition = c.Type
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil && ctx.Err() == nil {
		t.Must(err, "watch job %s", name)
	}
	return condition
}
