package admission

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/suites"
)

// The containers that the webhook adds (section 7).
const (
	proxyName     = suites.ProxyContainer
	proxyInitName = suites.ProxyInitContainer
)

// clientID is the identity that the tests' service accounts name. It exists nowhere.
const clientID = "5d2f6a0c-63f1-4c0b-9e57-2f0d7c1b8a44"

// identified are the annotations of an ordinary service account.
func identified() map[string]string { return map[string]string{suites.ClientIDAnnotation: clientID} }

// newPod is a labelled pod of one container "app" that uses the service account. It asks for
// no default token mount, whose volume has a random name.
func newPod(serviceAccount string, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   "pod",
			Labels: map[string]string{suites.UseLabel: "true"},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:           serviceAccount,
			AutomountServiceAccountToken: ptr.To(false),
			Containers:                   []corev1.Container{container("app")},
		},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// variant is a named change of a pod.
type variant struct {
	name   string
	change func(*corev1.Pod)
}

func container(name string, env ...corev1.EnvVar) corev1.Container {
	return corev1.Container{Name: name, Image: "wi-e2e.invalid/never-pulled:1", Env: env}
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value) }
}

func withContainers(containers ...corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers = containers }
}

func withInit(containers ...corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.InitContainers = containers }
}

// withSidecar adds a native sidecar of the user's own.
func withSidecar(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := container(name)
		c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
}

func unlabelled(p *corev1.Pod) { delete(p.Labels, suites.UseLabel) }

func generateName(p *corev1.Pod) { p.Name, p.GenerateName = "", "pod-" }

func withProxy(p *corev1.Pod) { annotated(suites.ProxyAnnotation, "true")(p) }

func hostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

// allContainers are the containers and init containers of a pod. The elements point into it.
func allContainers(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	return all
}

// find is the container or init container of that name, or nil.
func find(pod *corev1.Pod, name string) *corev1.Container {
	all := allContainers(pod)
	if i := slices.IndexFunc(all, func(c *corev1.Container) bool { return c.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}
