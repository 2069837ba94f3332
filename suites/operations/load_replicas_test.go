package operations

import (
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// webhookPod has one container with a memory limit, which was restarted once before the load.
func webhookPod(change func(p *corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "webhook-1", UID: types.UID("1")},
		Spec: corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{
			Name: "manager", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("30Mi")}},
		}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "manager", RestartCount: 1}}},
	}
	change(&p)
	return p
}

func TestADisturbedReplicaIsToldWithItsEnd(t *testing.T) {
	tests := []struct {
		name   string
		change func(p *corev1.Pod)
		want   string
	}{
		{"one that serves on", func(*corev1.Pod) {}, ""},
		{"one that was killed", func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].RestartCount = 2
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}
		}, "container manager of pod webhook-1 was restarted (OOMKilled, exit code 137)"},
		{"one whose end nobody knows", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 2 },
			"container manager of pod webhook-1 was restarted (its last end is not known)"},
		{"one that is being deleted", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, "pod webhook-1 is being deleted"},
		{"another pod of that name", func(p *corev1.Pod) { p.UID, p.Status.ContainerStatuses[0].RestartCount = "2", 9 }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := replicasOf([]corev1.Pod{webhookPod(func(*corev1.Pod) {})})
			p := webhookPod(tt.change)
			if got := before.disturbance(&p); got != tt.want {
				t.Errorf("the disturbance is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAContainerWithoutAMemoryLimitIsNamed(t *testing.T) {
	limited := webhookPod(func(*corev1.Pod) {})
	unlimited := webhookPod(func(p *corev1.Pod) { p.Name, p.Spec.Containers[0].Resources.Limits = "webhook-2", nil })
	if got, want := listed(replicasOf([]corev1.Pod{limited, unlimited}).unlimited()), "manager of pod webhook-2"; got != want {
		t.Errorf("without limit are %q, want %q", got, want)
	}
}

func TestMemoryIsReadOfTheReplicasAndAfterTheLoadBegan(t *testing.T) {
	const summary = `{"pods": [
		{"podRef": {"name": "webhook-1", "uid": "1"}, "containers": [{"name": "manager", "memory": {"time": "2026-01-01T00:00:10Z", "workingSetBytes": 1000}}]},
		{"podRef": {"name": "webhook-1", "uid": "of before"}, "containers": [{"name": "manager", "memory": {"time": "2026-01-01T00:00:10Z", "workingSetBytes": 2000}}]},
		{"podRef": {"name": "other", "uid": "3"}, "containers": [{"name": "manager", "memory": {"time": "2026-01-01T00:00:10Z", "workingSetBytes": 3000}}]}]}`
	replicas := replicasOf([]corev1.Pod{webhookPod(func(*corev1.Pod) {})})
	read := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	tests := []struct {
		name  string
		began time.Time
		want  map[containerName]int64
	}{
		{"a reading of after it", read.Add(-time.Second), map[containerName]int64{{"webhook-1", "manager"}: 1000}},
		{"a reading of before it", read.Add(time.Second), map[containerName]int64{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := replicas.workingSets([]byte(summary), tt.began)
			if err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("used are %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}
