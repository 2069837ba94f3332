package runner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

func TestWindowsNodesAreTheReadyOnesByBuild(t *testing.T) {
	node := func(os, build string, ready corev1.ConditionStatus) corev1.Node {
		return corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelOSStable: os, corev1.LabelWindowsBuild: build}},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: ready},
			}},
		}
	}
	cordoned := node("windows", "10.0.20348", corev1.ConditionTrue)
	cordoned.Spec.Unschedulable = true
	const both = suites.WindowsNodes
	for name, c := range map[string]struct {
		nodes []corev1.Node
		want  []suites.Capability
	}{
		"no node":                 {nil, nil},
		"one with Linux":          {[]corev1.Node{node("linux", "", corev1.ConditionTrue)}, nil},
		"one that is not ready":   {[]corev1.Node{node("windows", "10.0.20348", corev1.ConditionFalse)}, nil},
		"one that is cordoned":    {[]corev1.Node{cordoned}, nil},
		"one":                     {[]corev1.Node{node("windows", "10.0.20348", corev1.ConditionTrue)}, []suites.Capability{both, both + ":10.0.20348"}},
		"two, one beside Linux's": {[]corev1.Node{node("linux", "", "True"), node("windows", "10.0.20348", "True"), node("windows", "10.0.20348", "True")}, []suites.Capability{both, both + ":10.0.20348"}},
		"two builds": {
			[]corev1.Node{node("windows", "10.0.26100", "True"), node("windows", "10.0.20348", "True")},
			[]suites.Capability{both, both + ":10.0.20348", both + ":10.0.26100"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, windowsNodes(c.nodes)); diff != "" {
				t.Errorf("capabilities (-want +got):\n%s", diff)
			}
		})
	}
}
