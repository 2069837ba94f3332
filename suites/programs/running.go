package programs

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Running is the pod of a Deployment, whose programs read again and again.
type Running struct {
	namespace, pod string
	containers     []corev1.Container
}

// Start runs the pod as that of a Deployment of this name, whose programs read every second, and returns when it is ready.
func Start(ctx context.Context, t *suites.T, name string, pod *corev1.Pod) *Running {
	pod.Labels["app"] = name
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.Env = append(c.Env, corev1.EnvVar{Name: "WORKLOAD_INTERVAL", Value: "1"})
	}
	ns := t.Namespace(ctx)
	_, err := t.Kube().AppsV1().Deployments(ns).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{})
	t.Must(err, "create deployment %s", name)
	running, err := pods.AwaitReady(ctx, t.Kube(), ns, "app="+name)
	t.Must(err, "start deployment %s", name)
	return &Running{namespace: ns, pod: running, containers: pod.Spec.Containers}
}

// Await follows what a container prints, from its start, and returns its results as soon as they are enough.
func (r *Running) Await(ctx context.Context, t *suites.T, container string, enough func([]workloads.Result) bool) []workloads.Result {
	var results []workloads.Result
	err := pods.AwaitLog(ctx, t.Kube(), r.namespace, r.pod, container, func(line []byte) bool {
		if parsed, err := workloads.Parse(line); err == nil {
			results = append(results, parsed...)
		}
		return len(results) > 0 && enough(results)
	})
	t.Must(err, "wait for results")
	return results
}

// Results are those that a container has printed so far.
func (r *Running) Results(ctx context.Context, t *suites.T, container string) []workloads.Result {
	log, err := pods.Logs(ctx, t.Kube(), r.namespace, r.pod, container)
	t.Must(err, "read results")
	results, err := workloads.Parse(log)
	t.Must(err, "read results of container %s", container)
	return results
}

// Containers are the names of the programs'.
func (r *Running) Containers() []string {
	var names []string
	for _, c := range r.containers {
		names = append(names, c.Name)
	}
	return names
}

// Pod is how it is now. That it is gone is the caller's to judge.
func (r *Running) Pod(ctx context.Context, t *suites.T) (*corev1.Pod, error) {
	return t.Kube().CoreV1().Pods(r.namespace).Get(ctx, r.pod, metav1.GetOptions{})
}

// ReadAgain expects each of the pod's programs to read the secret twice, as that client.
func ReadAgain(ctx context.Context, t *suites.T, pod *corev1.Pod, clientID string) {
	running := Start(ctx, t, "deployment", pod)
	for _, container := range running.Containers() {
		for _, r := range running.Await(ctx, t, container, func(results []workloads.Result) bool { return len(results) == 2 }) {
			HasRead(t, "container "+container, r, clientID)
		}
	}
}
