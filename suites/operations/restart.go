package operations

import (
	"context"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/suites"
)

// apiServerRestart tells the API server's own absence, which is noted, from what the webhook fails once the API server serves again: a
// webhook that lost its watches, or its readiness, with the API server.
func apiServerRestart(ctx context.Context, t *suites.T) {
	const restarted, serves = "API server restarted", "API server serves again"
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	result := streamed(ctx, t, func(s *stream) {
		s.mark(restarted)
		restartAPIServer(ctx, t)
		s.mark(serves)
		err := awaitWhole(ctx, t)
		t.Require(err == nil, "the installation is not whole after a restart of the API server: %v", err)
		t.Must(s.await(ctx, aftermath), "look at creates after the restart")
	})
	gap, from := result.gap()
	t.Note("%s", result.figures())
	t.Note("no pod was admitted for %d ms, from %s, while the API server was away for %d ms",
		gap.Milliseconds(), result.when(from), (result.at(serves) - result.at(restarted)).Milliseconds())

	away, after := result.between(restarted, serves), result.between(serves, "")
	// A webhook that asks the API server for the service account has to refuse the pod meanwhile.
	lost := result.of(away, callFailed, denied, refused, unanswered)
	if len(lost) == 0 {
		t.Broken("the API server answered all the time: it was not restarted")
	}
	let := result.of(away, untouched)
	t.Check(len(let) == 0, "labelled pods are admitted without injection while the API server is restarted: %s", result.describe(let))
	result.expectNone(t, after)
	if failed := result.of(after, refused, unanswered); len(failed) > 0 {
		t.Broken("the API server failed creates after it was said to serve: %s", result.describe(failed))
	}
}

// restartAPIServer gives the API server the signing key that it has, which takes a restart. An interruption does not leave the
// cluster without one.
func restartAPIServer(ctx context.Context, t *suites.T) {
	rotator, ok := t.Env().Cluster.(cluster.SigningKeyRotator)
	if !ok {
		t.Broken("the API server cannot be restarted, although it was planned for")
	}
	key, err := rotator.ServiceAccountKey()
	t.Must(err, "read the signing key")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartWithin)
	defer cancel()
	t.Must(rotator.SetServiceAccountKeys(ctx, key), "restart the API server")
}

// restartWithin bounds what takes some seconds, and more on a busy machine.
const restartWithin = 2 * time.Minute
