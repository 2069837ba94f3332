package simulated

import (
	"context"
	"slices"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
)

// job returns a Job as it is when it is as wanted.
func (s *stage) job(t *testing.T, spec batchv1.JobSpec, wanted func(s batchv1.JobStatus) bool) batchv1.JobStatus {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j"}, Spec: spec}
	created, err := s.kube.BatchV1().Jobs(ns).Create(t.Context(), job, metav1.CreateOptions{})
	must(t, err)
	w, err := s.kube.BatchV1().Jobs(ns).Watch(t.Context(), metav1.ListOptions{ResourceVersion: created.ResourceVersion})
	must(t, err)
	defer w.Stop()
	for event := range w.ResultChan() {
		if seen := event.Object.(*batchv1.Job); wanted(seen.Status) {
			got, err := s.kube.BatchV1().Jobs(ns).Get(t.Context(), "j", metav1.GetOptions{})
			must(t, err)
			return got.Status
		}
	}
	t.Fatal("the watch has ended")
	return batchv1.JobStatus{}
}

func template(init []corev1.Container, containers ...corev1.Container) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: podOf(init, containers...).Spec}
}

func is(kind batchv1.JobConditionType) func(s batchv1.JobStatus) bool {
	return func(s batchv1.JobStatus) bool {
		return slices.ContainsFunc(s.Conditions, func(c batchv1.JobCondition) bool { return c.Type == kind && c.Status == corev1.ConditionTrue })
	}
}

func TestAJobCompletesWhenItsPodsHave(t *testing.T) {
	s := newStage(t)
	var together sync.WaitGroup
	together.Add(3)
	s.programs["three"] = func(context.Context, *Container) int32 {
		together.Done()
		together.Wait() // for ever, unless three run side by side
		return 0
	}
	spec := batchv1.JobSpec{Completions: ptr.To[int32](3), Parallelism: ptr.To[int32](3), Template: template([]corev1.Container{sidecar("beside", "stay")}, does("app", "three"))}
	status := s.job(t, spec, is(batchv1.JobComplete))
	if status.Succeeded != 3 || status.Failed != 0 || status.Active != 0 || status.CompletionTime == nil {
		t.Errorf("%+v", status)
	}
	list, err := s.kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=j"})
	must(t, err)
	if len(list.Items) != 3 || list.Items[0].Name == list.Items[1].Name || list.Items[0].OwnerReferences[0].Kind != "Job" {
		t.Errorf("pods: %+v", list.Items)
	}
}

func TestAJobFailsWhenTooManyOfItsPodsHave(t *testing.T) {
	for limit, want := range map[int32]int32{0: 1, 2: 3} {
		spec := batchv1.JobSpec{BackoffLimit: &limit, Template: template(nil, does("app", "fail"))}
		if status := newStage(t).job(t, spec, is(batchv1.JobFailed)); status.Failed != want || status.Succeeded != 0 {
			t.Errorf("with backoff limit %d: %+v", limit, status)
		}
	}
}

func TestAnOrdinarySidecarKeepsAJobFromItsEnd(t *testing.T) {
	s := newStage(t)
	job, err := s.kube.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j"}, Spec: batchv1.JobSpec{Template: template(nil, does("beside", "stay"), does("app", "end"))},
	}, metav1.CreateOptions{})
	must(t, err)
	ended, err := pods.AwaitEnd(t.Context(), s.kube, ns, batchv1.JobNameLabel+"=j", "app")
	must(t, err)
	job, err = s.kube.BatchV1().Jobs(ns).Get(t.Context(), job.Name, metav1.GetOptions{})
	must(t, err)
	if ended.Pod.Status.Phase != corev1.PodRunning || job.Status.Active != 1 || job.Status.Conditions != nil {
		t.Errorf("the pod is %s, the Job %+v", ended.Pod.Status.Phase, job.Status)
	}

	w, err := s.kube.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{ResourceVersion: ended.Pod.ResourceVersion})
	must(t, err)
	defer w.Stop()
	must(t, s.kube.BatchV1().Jobs(ns).Delete(t.Context(), "j", metav1.DeleteOptions{}))
	for event := range w.ResultChan() {
		if event.Type == watch.Deleted {
			return
		}
	}
	t.Error("the Job is deleted, and its pod is not")
}
