package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

func skipTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "skip-names",
			Title:        "skip-containers is a list of exact names, separated by semicolons",
			Tier:         suites.Admission,
			Requirements: []string{"SKP-01"},
			Body:         skipNames,
		},
		{
			ID:           "skip-leaves-the-others",
			Title:        "A skipped container gets neither variables nor mount, all others get both",
			Tier:         suites.Admission,
			Requirements: []string{"SKP-02"},
			Body:         skipLeavesTheOthers,
		},
		{
			ID:           "skip-not-on-service-account",
			Title:        "skip-containers on the service account has no effect",
			Tier:         suites.Admission,
			Requirements: []string{"SKP-03"},
			Body:         skipNotOnServiceAccount,
		},
		{
			ID:           "skip-proxy-containers",
			Title:        "The injected proxy containers can be skipped by name",
			Tier:         suites.Admission,
			Requirements: []string{"SKP-04"},
			Body:         skipProxyContainers,
		},
	}
}

// expectSkipped expects exactly the named containers to be skipped.
func expectSkipped(t *suites.T, sent, got *corev1.Pod, skipped ...string) {
	for _, name := range containerNames(got) {
		if slices.Contains(skipped, name) {
			expectNoIdentity(t, sent, got, name)
		} else {
			expectIdentity(t, sent, got, name)
		}
	}
	for _, name := range skipped {
		t.Check(find(got, name) != nil, "container %s is missing in the admitted pod", name)
	}
}

func skipNames(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, c := range []struct {
		annotation string
		skipped    []string
	}{
		{"a", []string{"a"}},
		{"a;b", []string{"a", "b"}},
		{"b;a", []string{"a", "b"}},
		{"a;", []string{"a"}},
		{";a", []string{"a"}},
		{";;a;;;b;;", []string{"a", "b"}},
		{" a ; b ", []string{"a", "b"}},
		{"\ta\t;\tb", []string{"a", "b"}},
		{"a;a", []string{"a"}},
		{"a;unknown", []string{"a"}},
		{"unknown", nil},
		{"", nil},
		{";", nil},
		{"A", nil},
		{"a,b", nil},
		{"a b", nil},
		{"a, b; b", []string{"b"}},
		{"ab", []string{"ab"}},
		{"a*", nil},
		{"a;b;ab", []string{"a", "b", "ab"}},
	} {
		t.Case(ctx, fmt.Sprintf("%q", c.annotation), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, withContainers(container("a"), container("b"), container("ab")), annotated(suites.SkipAnnotation, c.annotation))
			expectSkipped(t, pod, admit(ctx, t, ns, pod), c.skipped...)
		})
	}
	t.Case(ctx, "no annotation", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, withContainers(container("a"), container("b"), container("ab")))
		expectSkipped(t, pod, admit(ctx, t, ns, pod))
	})
}

func skipLeavesTheOthers(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, skip := range []string{"app", "second", "init", "first-init", "sidecar"} {
		t.Case(ctx, "skipping "+skip, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, withContainers(container("app"), container("second")),
				withInit(container("first-init"), container("init")), withSidecar("sidecar"), annotated(suites.SkipAnnotation, skip))
			expectSkipped(t, pod, admit(ctx, t, ns, pod), skip)
		})
	}
	t.Case(ctx, "a skipped container keeps what it declares", func(ctx context.Context, t *suites.T) {
		own := []corev1.EnvVar{{Name: suites.ClientIDVariable, Value: "mine"}, {Name: "OTHER", Value: "too"}}
		pod := newPod(sa, withContainers(container("app", own...), container("second")), annotated(suites.SkipAnnotation, "app"))
		got := admit(ctx, t, ns, pod)
		expectSkipped(t, pod, got, "app")
		t.Equal("the skipped container's variables", own, find(got, "app").Env)
	})
}

func skipNotOnServiceAccount(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	annotations := identified()
	annotations[suites.SkipAnnotation] = "app;init"
	sa := t.ServiceAccount(ctx, "skips", annotations)
	pod := newPod(sa, withInit(container("init")))
	expectSkipped(t, pod, admit(ctx, t, ns, pod))
}

func skipProxyContainers(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, c := range []struct {
		annotation string
		skipped    []string
	}{
		{proxyName, []string{proxyName}},
		{proxyInitName, []string{proxyInitName}},
		{proxyName + ";" + proxyInitName, []string{proxyName, proxyInitName}},
		{"app;" + proxyInitName, []string{"app", proxyInitName}},
		{"app", []string{"app"}},
	} {
		t.Case(ctx, fmt.Sprintf("%q", c.annotation), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, withProxy, annotated(suites.SkipAnnotation, c.annotation))
			got := admit(ctx, t, ns, pod)
			in := observe(pod, got)
			for _, name := range []string{"app", proxyName, proxyInitName} {
				_, ok := in.containers[name].variable(suites.TokenFileVariable)
				want := !slices.Contains(c.skipped, name)
				t.Check(find(got, name) != nil, "container %s is missing in the admitted pod", name)
				t.Check(ok == want, "container %s has %s: %v, want %v", name, suites.TokenFileVariable, ok, want)
				t.Check((len(in.containers[name].mounts) == 1) == want, "container %s has %d mounts", name, len(in.containers[name].mounts))
			}
		})
	}
}
