package exchange

import (
	"context"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/suites"
)

func rotationTests() []suites.Test {
	return []suites.Test{{
		ID:    "exchange-after-key-rotation",
		Title: "While the signing key rotates, tokens of both keys are exchanged; those of a withdrawn key are refused",
		Tier:  suites.Exchange, Requirements: []string{"ISS-05"},
		Needs:  []suites.Capability{suites.AzureAvailable, suites.ControlPlaneAccess},
		Trust:  trusted(reader),
		Serial: true, Timeout: 2 * time.Minute,
		Body: keyRotation,
	}}
}

// keyRotation exchanges the tokens itself, which the kubelet requests in the same way: for up to half a minute after its
// API server was restarted a cluster may be slow to run pods.
func keyRotation(ctx context.Context, t *suites.T) {
	clientID := t.Identity(app, reader).ClientID
	exchange := func(assertion string) string {
		err := t.Azure().Exchange(ctx, clientID, assertion, t.Azure().Scope)
		code := azure.Code(err)
		if err != nil && code == "" {
			t.Must(err, "exchange a token")
		}
		return code
	}
	old := token(ctx, t, app)
	code := exchange(old)
	t.Require(code == "", "a token is refused before any rotation: %s", code)

	var fresh string
	t.RotateSigningKey(ctx, func() {
		fresh = token(ctx, t, app)
		t.Equal("refusal of a token of the new key", "", exchange(fresh))
		t.Equal("refusal of a token of the old key after the rotation", "", exchange(old))
	})
	// Azure keeps key sets. It fetches them again for a key ID that it does not know.
	claims, header := claimsOf(ctx, t, app)
	stranger := newForgery(claims, header)
	stranger.keyID = "unknown-to-everybody"
	t.Equal("refusal of a key that nobody knows", "AADSTS7000272", exchange(stranger.sign(t)))
	t.Equal("refusal of a token of the withdrawn key", "AADSTS7000272", exchange(fresh))
	t.Equal("refusal of a token of the key that signs now", "", exchange(token(ctx, t, app)))
}
