package admission

import (
	"context"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// latestTokenFile is the token's path after 1.6.0. What the hash is made of is not part of the contract.
var latestTokenFile = regexp.MustCompile(`^/var/run/secrets/azure/wi/[^/]+/token/azure-identity-token$`)

func profileTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "profile-token-file",
			Title:        "The token file lies where the subject's profile puts it",
			Tier:         suites.Admission,
			Requirements: []string{"PRF-01"},
			Body:         profileTokenFile,
		},
		{
			ID:           "profile-volume-name",
			Title:        "The injected volume is named as the subject's profile says",
			Tier:         suites.Admission,
			Requirements: []string{"PRF-02"},
			Body:         profileVolumeName,
		},
		{
			ID:           "profile-sidecar-position",
			Title:        "The proxy sidecar stands where the subject's profile puts it",
			Tier:         suites.Admission,
			Requirements: []string{"PRF-03"},
			Body:         profileSidecarPosition,
		},
	}
}

// names are pods with a name of their own and with a generated one.
var names = []struct {
	name      string
	pod       string
	generated bool
}{
	{"a name", "pod", false},
	{"another name", "another-pod.with.dots", false},
	{"a generated name", "web-5d9f8c7b6-", true},
}

func profileTokenFile(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	profile := t.Subject().Profile
	for _, n := range names {
		t.Case(ctx, n.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, called(n.pod, n.generated))
			file, _ := observe(pod, admit(ctx, t, ns, pod)).containers["app"].variable(suites.TokenFileVariable)
			if profile.AtLeast("1.6.1") {
				t.Check(latestTokenFile.MatchString(file), "%s is %s, want a match of %s (profile %s)", suites.TokenFileVariable, file, latestTokenFile, profile)
				return
			}
			t.Equal(suites.TokenFileVariable, profile.TokenFile(n.pod, n.generated), file)
		})
	}
}

func called(name string, generated bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Name, p.GenerateName = name, ""
		if generated {
			p.Name, p.GenerateName = "", name
		}
	}
}

func profileVolumeName(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	profile := t.Subject().Profile
	for _, n := range names {
		t.Case(ctx, n.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, called(n.pod, n.generated))
			volume := tokenVolume(t, pod, admit(ctx, t, ns, pod)).Name
			if profile.AtLeast("1.6.1") {
				t.Check(strings.HasPrefix(volume, subject.ReservedPrefix), "the volume is named %s, want the prefix %s", volume, subject.ReservedPrefix)
				return
			}
			t.Equal("the volume's name", profile.VolumeName(n.pod, n.generated), volume)
		})
	}
}

func profileSidecarPosition(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	pod := newPod(sa, withProxy, withContainers(container("app"), container("second")), withInit(container("init")))
	got := admit(ctx, t, ns, pod)
	list := func(containers []corev1.Container) []string {
		var names []string
		for _, c := range containers {
			names = append(names, c.Name)
		}
		return names
	}
	t.Note("init containers %q, containers %q", list(got.Spec.InitContainers), list(got.Spec.Containers))
	before := t.Subject().Profile.AtLeast("1.2.0")
	for _, l := range [][]string{list(got.Spec.InitContainers), list(got.Spec.Containers)} {
		i := slices.Index(l, proxyName)
		if i < 0 {
			continue
		}
		for j, name := range l {
			if name == proxyName || name == proxyInitName {
				continue
			}
			t.Check((i < j) == before, "%s stands at %d of %q (profile %s)", proxyName, i, l, t.Subject().Profile)
		}
	}
	t.Check(find(got, proxyName) != nil, "the pod has no %s", proxyName)
}
