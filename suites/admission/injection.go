package admission

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

// injection is what a webhook added to a pod: what is in the answer and was not in the request.
type injection struct {
	volumes    []corev1.Volume
	containers map[string]added // by container name, containers that were not sent included
}

// added is what a webhook added to one container.
type added struct {
	env    []corev1.EnvVar
	mounts []corev1.VolumeMount
}

// observe compares a sent pod with the admitted one, by names: values that the API server
// defaults are no difference.
func observe(sent, got *corev1.Pod) injection {
	in := injection{containers: map[string]added{}}
	for _, v := range got.Spec.Volumes {
		if !slices.ContainsFunc(sent.Spec.Volumes, func(s corev1.Volume) bool { return s.Name == v.Name }) {
			in.volumes = append(in.volumes, v)
		}
	}
	for _, c := range allContainers(got) {
		before := find(sent, c.Name)
		if before == nil {
			before = &corev1.Container{}
		}
		var a added
		a.env = surplus(before.Env, c.Env, func(e corev1.EnvVar) string { return e.Name })
		a.mounts = surplus(before.VolumeMounts, c.VolumeMounts, func(m corev1.VolumeMount) string { return m.Name + " " + m.MountPath })
		in.containers[c.Name] = a
	}
	return in
}

// surplus are the items of after beyond those of before, a key that occurs more often included.
func surplus[T any](before, after []T, key func(T) string) []T {
	count := map[string]int{}
	for _, b := range before {
		count[key(b)]++
	}
	var more []T
	for _, a := range after {
		if count[key(a)]--; count[key(a)] < 0 {
			more = append(more, a)
		}
	}
	return more
}

// variable is the value of an injected variable; ok is false if it was not injected.
func (a added) variable(name string) (value string, ok bool) {
	for _, e := range a.env {
		if e.Name == name {
			return e.Value, true
		}
	}
	return "", false
}

// azureNames are the names of the injected AZURE_* variables, in order.
func (a added) azureNames() []string {
	var names []string
	for _, e := range a.env {
		if strings.HasPrefix(e.Name, "AZURE_") {
			names = append(names, e.Name)
		}
	}
	return names
}

// tokenSource is the service account token source of the volume, or nil.
func tokenSource(v corev1.Volume) *corev1.ServiceAccountTokenProjection {
	if v.Projected == nil {
		return nil
	}
	for _, s := range v.Projected.Sources {
		if s.ServiceAccountToken != nil {
			return s.ServiceAccountToken
		}
	}
	return nil
}

// tokenVolume is the one volume that was injected.
func tokenVolume(t *suites.T, sent, got *corev1.Pod) corev1.Volume {
	volumes := observe(sent, got).volumes
	t.Require(len(volumes) == 1, "%d volumes were added, want 1: %s", len(volumes), volumesOf(got))
	t.Require(tokenSource(volumes[0]) != nil, "the added volume %s has no service account token source", volumes[0].Name)
	return volumes[0]
}

// expectIdentity expects that the named containers got variables and mount. The client id is not looked
// at: whether it is there depends on the service account.
func expectIdentity(t *suites.T, sent, got *corev1.Pod, names ...string) {
	in := observe(sent, got)
	for _, name := range names {
		a, ok := in.containers[name]
		if !t.Check(ok, "container %s is missing in the admitted pod", name) {
			continue
		}
		for _, v := range []string{suites.TenantIDVariable, suites.TokenFileVariable, suites.AuthorityHostVariable} {
			_, ok := a.variable(v)
			t.Check(ok, "container %s did not get %s", name, v)
		}
		t.Check(len(a.mounts) == 1, "container %s got %d mounts, want the token's alone", name, len(a.mounts))
	}
}

// expectNoIdentity expects that the named containers got neither variables nor mounts.
func expectNoIdentity(t *suites.T, sent, got *corev1.Pod, names ...string) {
	in := observe(sent, got)
	for _, name := range names {
		a, ok := in.containers[name]
		if !t.Check(ok, "container %s is missing in the admitted pod", name) {
			continue
		}
		t.Check(len(a.env) == 0, "container %s got variables: %s", name, strings.Join(envNames(a.env), ", "))
		t.Check(len(a.mounts) == 0, "container %s got %d mounts", name, len(a.mounts))
	}
}

// expectUntouched expects that nothing at all was added.
func expectUntouched(t *suites.T, sent, got *corev1.Pod) {
	in := observe(sent, got)
	t.Check(len(in.volumes) == 0, "the pod got a volume: %s", volumesOf(got))
	names := containerNames(got)
	t.Check(len(allContainers(sent)) == len(names), "the pod got containers: %s", strings.Join(names, ", "))
	expectNoIdentity(t, sent, got, names...)
}

func envNames(env []corev1.EnvVar) []string {
	names := make([]string, len(env))
	for i, e := range env {
		names[i] = e.Name
	}
	return names
}

// containerNames are the names of all containers and init containers.
func containerNames(pod *corev1.Pod) []string {
	var names []string
	for _, c := range allContainers(pod) {
		names = append(names, c.Name)
	}
	return names
}
