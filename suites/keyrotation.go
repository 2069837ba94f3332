package suites

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
)

// RotateSigningKey has a new key sign, with the old one still verifying, while during runs, and then withdraws it again. Rotating
// back withdraws the key that signed before, as every rotation ends. In this direction the tokens of the cluster's running pods stay
// good all the time.
func (t *T) RotateSigningKey(ctx context.Context, during func()) {
	rotator, ok := t.Env().Cluster.(cluster.SigningKeyRotator)
	if !ok {
		t.Broken("the cluster cannot rotate its signing keys, although it was planned for")
	}
	oldKey, err := rotator.ServiceAccountKey()
	t.Must(err, "read the signing key")
	newKey, err := NewSigningKey()
	t.Must(err, "generate a signing key")
	// An interruption does not leave the cluster without an API server.
	set := func(signing []byte, verify ...[]byte) error {
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return rotator.SetServiceAccountKeys(whole, signing, verify...)
	}
	rotatedBack := false
	defer func() {
		if rotatedBack {
			return
		}
		// Whatever was found, the cluster goes on with the key that its running pods' tokens bear.
		if err := set(oldKey); err != nil {
			t.Broken("the old signing key cannot be restored: %v", err)
		}
	}()
	t.Must(set(newKey, oldKey), "rotate the signing key")
	during()
	t.Must(set(oldKey), "rotate back and withdraw the key that signed")
	rotatedBack = true
}

// NewSigningKey is a key for service account tokens, as PEM.
func NewSigningKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return keyutil.MarshalPrivateKeyToPEM(key)
}
