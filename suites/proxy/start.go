package proxy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
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
	// podsAtATime keep a small node busy. All of them at once take longer, as its runtime reads the mounts of all for each.
	podsAtATime = 10
	// eventsWithin is how long a kubelet may take to tell of what has happened.
	eventsWithin = time.Minute
	// failedHook is the reason of a kubelet's event when a post-start hook fails.
	failedHook = "FailedPostStartHook"
)

func startsOften(ctx context.Context, t *suites.T) {
	earlier := startedEarlier(ctx, t)
	for _, pod := range earlier {
		expectNoRestart(t, &pod)
	}
	account := t.ServiceAccount(ctx, app, nil)
	made := make([]called, max(manyPods-len(earlier), podsAtATime))
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(podsAtATime)
	for i := range made {
		pod := newPod(ctx, t, fmt.Sprintf("pod-%02d", i+1), account, caller(t, "app", ready()))
		group.Go(func() (err error) {
			made[i], err = tryCall(together, t, pod)
			return err
		})
	}
	begun := time.Now()
	t.Must(group.Wait(), "run %d pods", len(made))
	ended := time.Now()
	awaitStarted(ctx, t, made)
	t.Note("%d pods of other tests, %d of this one, which took %.1f s, and their events %.1f s more",
		len(earlier), len(made), ended.Sub(begun).Seconds(), time.Since(ended).Seconds())
	failures, err := t.Kube().CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("reason", failedHook).String()})
	t.Must(err, "list the events")
	for _, e := range failures.Items {
		about := func(pod corev1.Pod) bool { return pod.UID == e.InvolvedObject.UID }
		if slices.ContainsFunc(earlier, about) || slices.ContainsFunc(made, func(c called) bool { return about(*c.pod) }) {
			t.Check(false, "pod %s/%s: %s: %s", e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
	for _, c := range made {
		isProxy(t, "pod "+c.pod.Name, c.of(t, "app", "ready"))
		expectNoRestart(t, c.pod)
	}
}

// startedEarlier are the pods of other tests of the run that have started with the proxy, where they are kept: a start is a
// start, whatever the pod is for.
func startedEarlier(ctx context.Context, t *suites.T) []corev1.Pod {
	if !t.Env().KeepNamespaces {
		return nil
	}
	all, err := t.Kube().CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: suites.RunLabel + "=" + t.Env().RunID})
	t.Must(err, "list the pods of other tests")
	return slices.DeleteFunc(all.Items, func(pod corev1.Pod) bool {
		return !slices.ContainsFunc(statuses(&pod), func(s corev1.ContainerStatus) bool {
			return s.Name == suites.ProxyContainer && (s.State.Running != nil || s.State.Terminated != nil)
		})
	})
}

func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

func expectNoRestart(t *suites.T, pod *corev1.Pod) {
	for _, s := range statuses(pod) {
		t.Check(s.RestartCount == 0, "container %s of pod %s/%s restarted %d times", s.Name, pod.Namespace, pod.Name, s.RestartCount)
	}
}

// awaitStarted follows the events of the test's namespace until they tell that the application of each pod has started, which is
// after its proxy's hook: the kubelet sends them in order, and in its own time.
func awaitStarted(ctx context.Context, t *suites.T, made []called) {
	ctx, cancel := context.WithTimeout(ctx, eventsWithin)
	defer cancel()
	left := map[string]bool{}
	for _, c := range made {
		left[c.pod.Name] = true
	}
	see := func(object runtime.Object) (bool, error) {
		e, ok := object.(*corev1.Event)
		if ok && e.Reason == "Started" && e.InvolvedObject.FieldPath == "spec.containers{app}" {
			delete(left, e.InvolvedObject.Name)
		}
		return len(left) == 0, nil
	}
	events := t.Kube().CoreV1().Events(t.Namespace(ctx))
	there, err := events.List(ctx, metav1.ListOptions{})
	t.Must(err, "list the events")
	for i := range there.Items {
		if all, _ := see(&there.Items[i]); all {
			return
		}
	}
	watcher := &cache.ListWatch{WatchFuncWithContext: events.Watch}
	_, err = watchtools.Until(ctx, there.ResourceVersion, watcher, func(event watch.Event) (bool, error) { return see(event.Object) })
	t.Must(err, "read the events of %d pods; none tells that these have started: %s", len(made), strings.Join(slices.Sorted(maps.Keys(left)), ", "))
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

// jobEnds is the condition that a Job ends with; "" if it does not within the time that a proxy has to stop. A watch that sees no end may
// be one that sees nothing, so that the Job itself has the last word.
func jobEnds(ctx context.Context, t *suites.T, namespace, name string) batchv1.JobConditionType {
	limited, cancel := context.WithTimeout(ctx, suites.DefaultTimeout/2)
	defer cancel()
	list := cache.NewListWatchFromClient(t.Kube().BatchV1().RESTClient(), "jobs", namespace, fields.OneTermEqualSelector(metav1.ObjectNameField, name))
	_, err := watchtools.UntilWithSync(limited, list, &batchv1.Job{}, nil, func(event watch.Event) (bool, error) {
		job, ok := event.Object.(*batchv1.Job)
		return ok && endOf(job) != "", nil
	})
	if err != nil && limited.Err() == nil {
		t.Must(err, "watch job %s", name)
	}
	job, err := t.Kube().BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
	t.Must(err, "get job %s", name)
	return endOf(job)
}

func endOf(job *batchv1.Job) batchv1.JobConditionType {
	for _, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return c.Type
		}
	}
	return ""
}
