package admission

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/suites"
)

func diagnosisTests() []suites.Test {
	return []suites.Test{{
		ID:           "preset-token-file-diagnosed",
		Title:        "A preset AZURE_FEDERATED_TOKEN_FILE that points where nothing is mounted is reported by the diagnosis",
		Tier:         suites.Admission,
		Requirements: []string{"ENV-08"},
		Body:         presetTokenFileDiagnosed,
	}}
}

func presetTokenFileDiagnosed(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	preset := func(name, file string) corev1.Container {
		return container(name, corev1.EnvVar{Name: suites.TokenFileVariable, Value: file})
	}
	mounted := func(c corev1.Container, path string) corev1.Container {
		c.VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: path}}
		return c
	}
	ownVolume := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	}
	for _, c := range []struct {
		name     string
		change   func(*corev1.Pod)
		reported []string // containers
	}{
		{"nothing is preset", func(*corev1.Pod) {}, nil},
		{"where nothing is mounted", withContainers(preset("app", "/nowhere/token"), container("neighbour")), []string{"app"}},
		{"in an init container", withInit(preset("init", "/nowhere/token")), []string{"init"}},
		{"a file of a volume of its own", func(p *corev1.Pod) {
			ownVolume(p)
			withContainers(mounted(preset("app", "/own/tokens/token"), "/own"))(p)
		}, nil},
		{"beside a volume of its own", func(p *corev1.Pod) {
			ownVolume(p)
			withContainers(mounted(preset("app", "/own-tokens/token"), "/own"))(p)
		}, []string{"app"}},
		{"in the volume of a neighbour", func(p *corev1.Pod) {
			ownVolume(p)
			withContainers(preset("app", "/own/token"), mounted(container("neighbour"), "/own"))(p)
		}, []string{"app"}},
	} {
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := admit(ctx, t, ns, newPod(sa, c.change))
			var want, got []string
			for _, name := range c.reported {
				want = append(want, "container "+name+" of pod "+pod.Namespace+"/"+pod.Name)
			}
			for _, f := range diagnosis.Diagnose(&diagnosis.Snapshot{Pod: pod}).Findings {
				if f.Requirement == "ENV-08" && !slices.Contains(got, f.Object) {
					got = append(got, f.Object)
				}
			}
			t.Equal("what is reported", want, got)
		})
	}
}
