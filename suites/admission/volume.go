package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/suites"
)

func volumeTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "volume-one-token",
			Title:        "Exactly one volume is added, with one service account token",
			Tier:         suites.Admission,
			Requirements: []string{"VOL-01"},
			Body:         volumeOneToken,
		},
		{
			ID:           "volume-mounts",
			Title:        "The volume is mounted read-only, without subPath, in every container",
			Tier:         suites.Admission,
			Requirements: []string{"VOL-02"},
			Body:         volumeMounts,
		},
		{
			ID:           "volume-reserved-name",
			Title:        "A volume or mount of the reserved name leads to no duplicate and no invalid pod",
			Tier:         suites.Admission,
			Requirements: []string{"VOL-03"},
			Body:         volumeReservedName,
		},
		{
			ID:           "volume-not-in-ephemeral-containers",
			Title:        "Ephemeral containers get neither variables nor mount",
			Tier:         suites.Admission,
			Requirements: []string{"VOL-04"},
			Body:         volumeNotInEphemeralContainers,
		},
		{
			ID:           "volume-without-containers",
			Title:        "The volume is there even when every container is skipped",
			Tier:         suites.Admission,
			Requirements: []string{"VOL-05"},
			Body:         volumeWithoutContainers,
		},
	}
}

func volumeOneToken(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range append([]variant{{"the proxy", withProxy}}, shapes...) {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			volume := tokenVolume(t, pod, admit(ctx, t, ns, pod))
			t.Equal("number of sources", 1, len(volume.Projected.Sources))
			source := tokenSource(volume)
			t.Equal("audience", t.Subject().Audience, source.Audience)
			t.Require(source.ExpirationSeconds != nil, "the token has no expirationSeconds")
			t.Equal("expirationSeconds", int64(3600), *source.ExpirationSeconds)
			t.Check(source.Path != "", "the token has no path")
		})
	}
}

func volumeMounts(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range append([]variant{{"the proxy", withProxy}}, shapes...) {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			volume := tokenVolume(t, pod, got)
			in := observe(pod, got)
			for _, c := range allContainers(got) {
				mounts := in.containers[c.Name].mounts
				t.Require(len(mounts) == 1, "container %s got %d mounts, want 1", c.Name, len(mounts))
				m := mounts[0]
				t.Equal("volume mounted in container "+c.Name, volume.Name, m.Name)
				t.Check(m.ReadOnly, "the mount in container %s can be written", c.Name)
				t.Check(m.SubPath == "" && m.SubPathExpr == "", "the mount in container %s has a subPath", c.Name)
				expectTokenFile(t, c.Name, in.containers[c.Name], volume)
			}
		})
	}
}

func volumeReservedName(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	// The reserved name is the one that the subject itself gives to the volume of a pod of that name.
	plain := newPod(sa, withContainers(container("app"), container("second")), withInit(container("init")))
	reserved := tokenVolume(t, plain, admit(ctx, t, ns, plain)).Name

	own := corev1.Volume{Name: reserved, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	mount := corev1.VolumeMount{Name: reserved, MountPath: "/own"}
	for _, v := range []variant{
		{"a volume of that name", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{own} }},
		{"a volume of that name between others", func(p *corev1.Pod) {
			empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
			p.Spec.Volumes = []corev1.Volume{{Name: "before", VolumeSource: empty}, own, {Name: "behind", VolumeSource: empty}}
		}},
		{"a volume and a mount", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{own}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mount}
		}},
		{"a volume and a mount in every container", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{own}
			for _, c := range allContainers(p) {
				c.VolumeMounts = []corev1.VolumeMount{mount}
			}
		}},
		{"a mount beside the container's other mounts", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{own, {Name: "other", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "other", MountPath: "/other"}, mount}
		}},
	} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := plain.DeepCopy()
			v.change(pod)
			got := admit(ctx, t, ns, pod)
			volumes := volumesNamed(got.Spec.Volumes, reserved)
			t.Require(len(volumes) == 1, "%d volumes are named %s", len(volumes), reserved)
			replaced := tokenSource(volumes[0]) != nil
			if t.Subject().Profile.AtLeast("1.6.0") {
				t.Check(replaced, "the reserved volume is kept, want it replaced (profile %s)", t.Subject().Profile)
			} else {
				t.Check(!replaced, "the reserved volume is replaced, want it kept (profile %s)", t.Subject().Profile)
			}
			for _, c := range allContainers(got) {
				paths := map[string]int{}
				own := 0
				for _, m := range c.VolumeMounts {
					paths[m.MountPath]++
					t.Check(paths[m.MountPath] == 1, "container %s mounts %s twice", c.Name, m.MountPath)
					if m.Name == reserved {
						own++
					}
				}
				t.Check(own == 1, "container %s mounts %s %d times", c.Name, reserved, own)
			}
		})
	}
}

func volumesNamed(volumes []corev1.Volume, name string) []corev1.Volume {
	return slices.DeleteFunc(slices.Clone(volumes), func(v corev1.Volume) bool { return v.Name != name })
}

func volumeNotInEphemeralContainers(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	stored := create(ctx, t, ns, newPod(sa, gated))
	got, err := t.Kube().CoreV1().Pods(ns).Patch(ctx, stored.Name, types.StrategicMergePatchType, []byte(ephemeral),
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "ephemeralcontainers")
	t.Must(err, "add an ephemeral container to pod %s/%s", ns, stored.Name)
	t.Require(len(got.Spec.EphemeralContainers) == 1, "the pod has %d ephemeral containers, want 1", len(got.Spec.EphemeralContainers))
	debug := got.Spec.EphemeralContainers[0]
	t.Check(len(debug.Env) == 0, "the ephemeral container got %q", envNames(debug.Env))
	t.Check(len(debug.VolumeMounts) == 0, "the ephemeral container got %d mounts", len(debug.VolumeMounts))
	t.Equal("the rest of the pod", stored.Spec.Containers, got.Spec.Containers)
}

func volumeWithoutContainers(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, c := range []struct {
		skip   string
		change func(*corev1.Pod)
	}{
		{"app", func(*corev1.Pod) {}},
		{"app;init", withInit(container("init"))},
	} {
		t.Case(ctx, fmt.Sprintf("skipping %q", c.skip), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, c.change, annotated(suites.SkipAnnotation, c.skip))
			got := admit(ctx, t, ns, pod)
			tokenVolume(t, pod, got)
			expectNoIdentity(t, pod, got, containerNames(pod)...)
		})
	}
}
