package windows

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// wineTests are one test for each program that runs under Wine.
func wineTests() []suites.Test {
	var tests []suites.Test
	for _, w := range workloads.Windows() {
		if !w.OnWine() {
			continue
		}
		tests = append(tests, suites.Test{
			ID: "windows-" + w.Name,
			Title: "On " + w.Platform + ", which is no Windows node, " + w.Of + " as built for Windows reads a secret with what the webhook " +
				"injected into a pod for Windows",
			Tier: suites.Windows, Requirements: []string{"WIN-06"},
			Needs: []suites.Capability{suites.Nodes, suites.AzureAvailable, suites.WorkloadImage(w.Name)}, Trust: trusted(),
			Timeout: 5 * time.Minute, // as for the SDKs on Linux: one that reaches nobody tries for up to a minute in an attempt
			Body:    func(ctx context.Context, t *suites.T) { readOnWine(ctx, t, w) },
		})
	}
	return tests
}

func readOnWine(ctx context.Context, t *suites.T, w workloads.Workload) {
	pod, file := mutated(ctx, t, windowsPod(ctx, t, w.Name, programs.New(t, app, w.Name)))
	all := attempts(w, file)
	pod = onLinux(pod)
	programs.Attempting(t, &pod.Spec.Containers[0], all)
	expectRead(ctx, t, w, all, programs.Run(ctx, t, pod)[app])
}

// onLinux is a pod for Windows as one that a Linux node takes: what makes it one for Windows is left out, and all else is as it
// was mutated, the variables, volumes and mounts above all. The webhook is not asked again. The image has the container's file system as
// its drive C:, so that what is mounted at a path is where Windows would have it.
func onLinux(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.ObjectMeta = metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels, Annotations: pod.Annotations}
	delete(pod.Labels, suites.UseLabel)
	pod.Status = corev1.PodStatus{}
	pod.Spec.OS = nil
	pod.Spec.SecurityContext = nil
	pod.Spec.NodeSelector[corev1.LabelOSStable] = string(corev1.Linux)
	return pod
}
