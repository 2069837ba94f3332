package proxy

import (
	"context"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func cacheTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "proxy-token-cache",
			Title: "A repeated request for the same identity and resource is served from a cache, and no other",
			Tier:  suites.Proxy, Requirements: []string{"PRX-16"},
			Needs: needs(), Trust: trusted(reader, otherReader), Body: tokenCache,
		},
		{
			ID:    "proxy-token-file-renewed",
			Title: "The proxy reads the token file again when it was renewed",
			Tier:  suites.Proxy, Requirements: []string{"PRX-16"},
			Needs: needs(), Trust: trusted(reader), Body: tokenFileRenewed,
		},
	}
}

func tokenCache(ctx context.Context, t *suites.T) {
	own, other := t.Identity(app, reader).ClientID, t.Identity(app, otherReader).ClientID
	const requests = 5
	name := func(i int) string { return "own " + string(rune('1'+i)) }
	var steps []ask.Step
	for i := range requests {
		steps = append(steps, token(t, name(i)))
	}
	steps = append(steps, token(t, "other", "client_id", other))
	made := call(ctx, t, newPod(ctx, t, "cache", app, caller(t, "app", steps...)))
	first := made.of(t, "app", name(0))
	gets(t, "the first request", first, own)
	for i := range requests {
		a := made.of(t, "app", name(i))
		gets(t, "a repeated request", a, own)
		t.Check(a.Token.SHA256 == first.Token.SHA256, "request %d of the same identity and resource is answered with another token", i+1)
	}
	gets(t, "a request for another identity", made.of(t, "app", "other"), other)
	if t.Azure().Evidence != nil {
		t.Equal("exchanges for the identity that was asked for again and again", 1, len(granted(ctx, t, own)))
		t.Equal("exchanges for the other identity", 1, len(granted(ctx, t, other)))
	}
}

// granted are the tokens that Azure gave a client for the test's account. Only an emulator tells.
func granted(ctx context.Context, t *suites.T, clientID string) []evidence.Entry {
	return slices.DeleteFunc(programs.Exchanges(ctx, t, app), func(e evidence.Entry) bool { return e.ClientID != clientID })
}

// tokenFileRenewed has the proxy read a file of the test's own, in which first a token is that Entra ID refuses.
func tokenFileRenewed(ctx context.Context, t *suites.T) {
	const (
		shared, tokens = "/var/run/wi-e2e/shared", "/var/run/wi-e2e/tokens"
		file           = shared + "/token"
	)
	renew := func(name, from string) ask.Step {
		return ask.Step{Name: name, Copy: &ask.Copy{From: tokens + "/" + from, To: file}}
	}
	awaited := ready()
	awaited.Until = http.StatusOK
	application := as(0, caller(t, "app",
		renew("begin", "other-audience"), awaited, token(t, "before"),
		renew("renew", "right"), token(t, "after"),
	))
	application.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: shared}, {Name: "tokens", MountPath: tokens, ReadOnly: true}}
	pod := programs.Pod(ctx, t, "renewed", app, application)
	byHand(ctx, t, pod, func(proxy *corev1.Container) {
		proxy.Env = append(proxy.Env, corev1.EnvVar{Name: suites.TokenFileVariable, Value: file})
		proxy.VolumeMounts = append(proxy.VolumeMounts, corev1.VolumeMount{Name: "shared", MountPath: shared, ReadOnly: true})
	})
	projected := func(audience, name string) corev1.VolumeProjection {
		return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: name}}
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			projected(t.Subject().Audience, "right"), projected("api://wi-e2e-other", "other-audience"),
		}}}},
	}
	made := call(ctx, t, pod)
	for _, step := range []string{"begin", "renew"} {
		t.Must(failure(made.of(t, "app", step)), "put a token into the proxy's file")
	}
	before := made.of(t, "app", "before")
	t.Check(before.Token == nil && before.Status != http.StatusOK, "control: the proxy gets a token for a service account token of another audience: %s", say(before))
	gets(t, "an application, once the token file is renewed,", made.of(t, "app", "after"), t.Identity(app, reader).ClientID)
}
