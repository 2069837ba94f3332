package exchange

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
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
	rotator, ok := t.Env().Cluster.(cluster.SigningKeyRotator)
	if !ok {
		t.Broken("the cluster cannot rotate its signing keys, although it was planned for")
	}
	oldKey, err := rotator.ServiceAccountKey()
	t.Must(err, "read the signing key")
	generated, err := rsa.GenerateKey(rand.Reader, 2048)
	t.Must(err, "generate a signing key")
	newKey, err := keyutil.MarshalPrivateKeyToPEM(generated)
	t.Must(err, "generate a signing key")

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

	rotatedBack := false
	defer func() {
		if rotatedBack {
			return
		}
		// Whatever was found, the cluster goes on with the key that its running pods' tokens bear.
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		t.Must(rotator.SetServiceAccountKeys(restore, oldKey), "restore the old signing key")
	}()
	t.Must(rotator.SetServiceAccountKeys(ctx, newKey, oldKey), "rotate the signing key")
	fresh := token(ctx, t, app)
	t.Equal("refusal of a token of the new key", "", exchange(fresh))
	t.Equal("refusal of a token of the old key after the rotation", "", exchange(old))

	// Rotating back withdraws the key that signed before, as every rotation ends.
	t.Must(rotator.SetServiceAccountKeys(ctx, oldKey), "rotate back and withdraw the key that signed")
	rotatedBack = true
	// Azure keeps key sets. It fetches them again for a key ID that it does not know.
	claims, header := claimsOf(ctx, t, app)
	stranger := newForgery(claims, header)
	stranger.keyID = "unknown-to-everybody"
	t.Equal("refusal of a key that nobody knows", "AADSTS7000272", exchange(stranger.sign(t)))
	t.Equal("refusal of a token of the withdrawn key", "AADSTS7000272", exchange(fresh))
	t.Equal("refusal of a token of the key that signs now", "", exchange(token(ctx, t, app)))
}
