package operations

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// executed is the status of a test with that body, which asks nobody.
func executed(t *testing.T, body func(*suites.T)) reports.Test {
	t.Helper()
	env := &suites.Env{Cluster: nowhere{}, RunID: "r", KeepNamespaces: true}
	if err := env.Connect(); err != nil {
		t.Fatal(err)
	}
	test := suites.Test{ID: "x", Title: "X", Tier: suites.Operations, Body: func(_ context.Context, t *suites.T) { body(t) }}
	return suites.Execute(t.Context(), env, test, reports.Fail, make(chan struct{}, 1))
}

// nowhere is a cluster of which there is a name only.
type nowhere struct{ cluster.Cluster }

func (nowhere) RESTConfig() (*rest.Config, error) {
	return &rest.Config{Host: "https://nowhere.invalid"}, nil
}

func TestAPodThatAnUpgradeDisturbsIsToldFromOneThatItDoesNot(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   reports.Status
	}{
		"nothing changed":          {func(*corev1.Pod) {}, reports.Pass},
		"it got an annotation":     {func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, reports.Pass},
		"it is another pod":        {func(p *corev1.Pod) { p.UID = "other" }, reports.Fail},
		"it is going":              {func(p *corev1.Pod) { p.DeletionTimestamp = &now }, reports.Fail},
		"a container restarted":    {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ContainerID = "containerd://2" }, reports.Fail},
		"another image runs":       {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "other" }, reports.Fail},
		"a deadline was set to it": {func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64) }, reports.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			before := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "one"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
				Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", ContainerID: "containerd://1"}}}}
			after := before.DeepCopy()
			c.change(after)
			if got := executed(t, func(t *suites.T) { undisturbed(t, before, after) }); got.Status != c.want {
				t.Errorf("%s, want %s: %+v", got.Status, c.want, got.Cases)
			}
		})
	}
}

func TestANewPodIsHeldToTheNewProfile(t *testing.T) {
	podOf := func(p subject.Profile) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"},
			Spec: corev1.PodSpec{
				Volumes:    []corev1.Volume{{Name: p.VolumeName("app-", true)}},
				Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "AZURE_FEDERATED_TOKEN_FILE", Value: p.TokenFile("app-", true)}}}},
			},
		}
	}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want reports.Status
	}{
		"as the new version has it": {podOf(subject.Latest), reports.Pass},
		"as the version before":     {podOf("1.5.1"), reports.Fail},
		"as the one between":        {podOf("1.6.0"), reports.Fail},
		"untouched":                 {&corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}, reports.Fail},
		"with the variable alone":   {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"}, Spec: corev1.PodSpec{Containers: podOf(subject.Latest).Spec.Containers}}, reports.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			if got := executed(t, func(t *suites.T) { asOf(t, subject.Latest, c.pod) }); got.Status != c.want {
				t.Errorf("%s, want %s: %+v", got.Status, c.want, got.Cases)
			}
		})
	}
}
