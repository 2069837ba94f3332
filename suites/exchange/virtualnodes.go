package exchange

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func virtualNodeTests() []suites.Test {
	return []suites.Test{{
		ID:    "virtual-nodes-avoided",
		Title: "Programs are scheduled to no virtual node, also when they are mutated",
		Tier:  suites.Exchange, Requirements: []string{"EXC-09"},
		Needs: needs(sample), Body: avoidVirtualNodes,
	}}
}

// avoidVirtualNodes asks the scheduler's own rule about a pod as the API server would store it, so that no cluster needs to have a virtual
// node. That a cluster has some is said by the doctor, before anything runs.
func avoidVirtualNodes(ctx context.Context, t *suites.T) {
	pod := programs.Pod(ctx, t, "anywhere", t.ServiceAccount(ctx, app, nil), programs.New(t, "app", sample))
	stored, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	t.Must(err, "create pod %s with a dry run", pod.Name)
	for _, c := range []struct {
		what   string
		labels map[string]string
		takes  bool
	}{
		{"an ordinary node", map[string]string{corev1.LabelOSStable: "linux"}, true},
		{"a node of another type", map[string]string{corev1.LabelOSStable: "linux", "type": "gpu"}, true},
		{"a virtual node", map[string]string{corev1.LabelOSStable: "linux", "type": "virtual-kubelet"}, false},
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: c.labels}}
		takes, err := nodeaffinity.GetRequiredNodeAffinity(stored).Match(node)
		t.Must(err, "match the pod's node affinity")
		t.Equal("whether programs may be scheduled to "+c.what, c.takes, takes)
	}
}
