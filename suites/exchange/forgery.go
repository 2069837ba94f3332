package exchange

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/suites"
)

// token requests a token of a service account of the test, as the kubelet does for its pods.
func token(ctx context.Context, t *suites.T, account string) string {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{t.Subject().Audience}}}
	answer, err := t.Kube().CoreV1().ServiceAccounts(t.Namespace(ctx)).CreateToken(ctx, account, request, metav1.CreateOptions{})
	t.Must(err, "request a token of service account %s", account)
	return answer.Status.Token
}

// claimsOf are the claims and the header of a real token of an account, for a forgery to differ from in one thing.
func claimsOf(ctx context.Context, t *suites.T, account string) (map[string]any, jose.Header) {
	signed, err := jose.ParseSignedCompact(token(ctx, t, account), []jose.SignatureAlgorithm{jose.RS256})
	t.Must(err, "read a token of service account %s", account)
	claims := map[string]any{}
	t.Must(json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims), "read a token of service account %s", account)
	return claims, signed.Signatures[0].Header
}

// forgery is a token that the cluster did not issue.
type forgery struct {
	claims map[string]any
	keyID  string
	key    any // nil for one that nobody knows
}

// unknownKey is a key that nobody knows. One is enough for all forgeries, and takes long to make.
var unknownKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newForgery has the claims and the key ID of a real token, and no key yet.
func newForgery(claims map[string]any, header jose.Header) *forgery {
	return &forgery{claims: maps.Clone(claims), keyID: header.KeyID}
}

// clusterKey is the key that signs the cluster's tokens.
func clusterKey(t *suites.T) any {
	rotator, ok := t.Env().Cluster.(cluster.SigningKeyRotator)
	if !ok {
		t.Broken("the cluster does not give its signing key, although it was planned for")
	}
	pem, err := rotator.ServiceAccountKey()
	t.Must(err, "read the signing key")
	key, err := keyutil.ParsePrivateKeyPEM(pem)
	t.Must(err, "read the signing key")
	return key
}

// issuedAgo dates the token: issued so many seconds ago, for so many.
func (f *forgery) issuedAgo(ago, lifetime int64) {
	issued := time.Now().Unix() - ago
	f.claims["iat"], f.claims["nbf"], f.claims["exp"] = issued, issued, issued+lifetime
}

// sign returns the token.
func (f *forgery) sign(t *suites.T) string {
	if f.key == nil {
		key, err := unknownKey()
		t.Must(err, "generate a key")
		f.key = key
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: f.key, KeyID: f.keyID}}, nil)
	t.Must(err, "forge a token")
	payload, err := json.Marshal(f.claims)
	t.Must(err, "forge a token")
	signed, err := signer.Sign(payload)
	t.Must(err, "forge a token")
	text, err := signed.CompactSerialize()
	t.Must(err, "forge a token")
	return text
}
