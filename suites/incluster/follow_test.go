package incluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// heard notes what an observer is told.
type heard struct {
	tests  []string
	notes  []string
	refuse error
}

func (h *heard) Result(_ context.Context, _ Begun, outcome Outcome) error {
	h.tests = append(h.tests, outcome.Test.ID)
	return h.refuse
}

func (h *heard) Note(text string) { h.notes = append(h.notes, text) }

func aJob(conditions ...batchv1.JobCondition) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: shards}, Status: batchv1.JobStatus{Conditions: conditions}}
}

func aPod(index, name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, Labels: map[string]string{batchv1.JobNameLabel: shards},
			Annotations: map[string]string{batchv1.JobCompletionIndexAnnotation: index},
		},
		Status: corev1.PodStatus{Phase: phase},
	}
}

func ended(kind batchv1.JobConditionType, why string) batchv1.JobCondition {
	return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: why}
}

func TestAControllerThatComesLateIsToldEveryResultOnce(t *testing.T) {
	r, kube := aCluster(t)
	for _, test := range []string{"one", "two", "three"} {
		begun, err := r.Begin(t.Context(), 1, test, "pod-1")
		if err != nil {
			t.Fatal(err)
		}
		if test != "three" {
			if err := r.Finish(t.Context(), begun, passed(test)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(t, kube, aPod("0", "pod-1", corev1.PodSucceeded), aJob(ended(batchv1.JobComplete, "")))
	h := &heard{}
	if err := r.Follow(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	slices.Sort(h.tests)
	if !slices.Equal(h.tests, []string{"one", "two"}) {
		t.Errorf("it was told %v", h.tests)
	}
}

func TestFollowFails(t *testing.T) {
	broken := aPod("1", "pod-2", corev1.PodFailed)
	broken.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "shard", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", Message: "no such test"},
	}}}
	unpulled := aPod("0", "pod-1", corev1.PodPending)
	unpulled.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "shard", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull"},
	}}}
	for title, c := range map[string]struct {
		pods   []*corev1.Pod
		job    *batchv1.Job
		refuse error
		want   []string
	}{
		"when the Job is gone":                         {nil, nil, nil, []string{"Job shards in namespace ns", "there is none"}},
		"at once when an image cannot be pulled":       {[]*corev1.Pod{unpulled}, aJob(), nil, []string{"pod ns/pod-1", "ErrImageNeverPull"}},
		"when a result is refused":                     {[]*corev1.Pod{aPod("0", "pod-1", corev1.PodRunning)}, aJob(), errors.New("not its test"), []string{"not its test"}},
		"when no pod starts in time, and says how far": {[]*corev1.Pod{aPod("0", "pod-1", corev1.PodPending)}, aJob(), nil, []string{"not within 3m0s", "pod pod-1: Pending"}},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, kube := aCluster(t)
				if c.refuse != nil {
					begun, err := r.Begin(t.Context(), 1, "one", "pod-1")
					if err == nil {
						err = r.Finish(t.Context(), begun, passed("one"))
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				for _, pod := range c.pods {
					add(t, kube, pod)
				}
				if c.job != nil {
					add(t, kube, c.job)
				}
				expectError(t, r.Follow(t.Context(), &heard{refuse: c.refuse}), c.want...)
			})
		})
	}
	t.Run("when the Job fails, by the last pod of each index", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, kube := aCluster(t)
			add(t, kube, aPod("0", "pod-1", corev1.PodRunning), broken, aJob())
			h := &heard{}
			done := make(chan error, 1)
			go func() { done <- r.Follow(t.Context(), h) }()
			synctest.Wait()
			if _, err := kube.BatchV1().Jobs("ns").Update(t.Context(), aJob(ended(batchv1.JobFailed, "FailedIndexes")), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			expectError(t, <-done, "FailedIndexes", "pod pod-2 of shard 2 ended early", "no such test")
			if len(h.notes) != 1 || !strings.Contains(h.notes[0], "pod-2") {
				t.Errorf("notes %q", h.notes)
			}
		})
	})
	t.Run("when it is interrupted", func(t *testing.T) {
		r, kube := aCluster(t)
		add(t, kube, aPod("0", "pod-1", corev1.PodRunning), aJob())
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the user had enough"))
		defer cancel()
		expectError(t, r.Follow(ctx, &heard{}), "the user had enough")
	})
}

func expectError(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, part := range want {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
}
