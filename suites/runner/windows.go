package runner

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

// windowsNodes are the capabilities that a cluster's ready nodes with Windows are: that there are some, and of which builds.
func windowsNodes(nodes []corev1.Node) []suites.Capability {
	var all []suites.Capability
	for _, node := range nodes {
		ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if !ready || node.Spec.Unschedulable || node.Labels[corev1.LabelOSStable] != string(corev1.Windows) {
			continue
		}
		all = append(all, suites.WindowsNodes, suites.WindowsNodesOf(node.Labels[corev1.LabelWindowsBuild]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
