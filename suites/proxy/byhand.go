package proxy

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Names that the migration documents give the two containers, where a manifest has them.
const (
	byHandInit  = "init-networking"
	byHandProxy = "proxy"
)

// byHand adds the subject's init container and proxy to a pod as the migration documents have it done: an ordinary
// container, here the first one, so that its post-start hook ends before the next begins. change is for the proxy.
func byHand(ctx context.Context, t *suites.T, pod *corev1.Pod, change func(proxy *corev1.Container)) {
	init, proxy := injected(ctx, t, pod.Spec.ServiceAccountName)
	init.Name, proxy.Name = byHandInit, byHandProxy
	change(&proxy)
	pod.Spec.InitContainers = append([]corev1.Container{init}, pod.Spec.InitContainers...)
	pod.Spec.Containers = append([]corev1.Container{proxy}, pod.Spec.Containers...)
}

// injected are the containers that the subject injects, without what it injects into every container.
func injected(ctx context.Context, t *suites.T, account string) (init, proxy corev1.Container) {
	pod := newPod(ctx, t, "template", account, corev1.Container{Name: "app", Image: "app"})
	admitted, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	t.Must(err, "have the proxy injected into a pod that is not kept")
	for _, c := range slices.Concat(admitted.Spec.InitContainers, admitted.Spec.Containers) {
		c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return strings.HasPrefix(v.Name, "AZURE_") })
		c.VolumeMounts, c.RestartPolicy = nil, nil
		switch c.Name {
		case suites.ProxyInitContainer:
			init = c
		case suites.ProxyContainer:
			proxy = c
		}
	}
	t.Require(init.Image != "" && proxy.Image != "", "a pod that asks for the proxy is not given one")
	return init, proxy
}
