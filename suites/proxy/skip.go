package proxy

import (
	"context"
	"net/http"

	"github.com/wi-e2e/wi-e2e/suites"
)

func skipTests() []suites.Test {
	return []suites.Test{{
		ID:    "proxy-and-skipped-containers",
		Title: "A proxy that is skipped by name has no token to give; a container that is skipped still reaches the proxy",
		Tier:  suites.Proxy, Requirements: []string{"SKP-04", "PRX-09"},
		Needs: needs(), Trust: trusted(reader), Body: skipped,
	}}
}

func skipped(ctx context.Context, t *suites.T) {
	own := t.Identity(app, reader).ClientID
	run := func(ctx context.Context, t *suites.T, name, skip string) called {
		pod := newPod(ctx, t, name, app, caller(t, "app", ready(), token(t, "own"), token(t, "named", "client_id", own)))
		pod.Annotations[suites.SkipAnnotation] = skip
		made := call(ctx, t, pod)
		isProxy(t, "the pod", made.of(t, "app", "ready"))
		return made
	}
	for _, c := range []struct{ name, title, skip string }{
		{"init", "the init container is skipped", suites.ProxyInitContainer},
		{"app", "the application is skipped", "app"},
	} {
		t.CaseOf(ctx, "PRX-09", c.title, func(ctx context.Context, t *suites.T) {
			made := run(ctx, t, c.name, c.skip)
			gets(t, "the application", made.of(t, "app", "own"), own)
			gets(t, "the application that names its client", made.of(t, "app", "named"), own)
		})
	}
	t.CaseOf(ctx, "SKP-04", "the proxy is skipped", func(ctx context.Context, t *suites.T) {
		made := run(ctx, t, "proxy", suites.ProxyContainer)
		for _, step := range []string{"own", "named"} {
			a := made.of(t, "app", step)
			t.Check(a.Error == "" && a.Token == nil && a.Status != http.StatusOK, "a proxy that is skipped gives a token: %s", say(a))
		}
	})
}
