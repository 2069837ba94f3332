package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/suites"
)

// token is a service account token. Its text never leaves the process.
type token struct {
	raw    string
	signed *jose.JSONWebSignature
	header struct {
		Alg, Kid string
	}
	claims struct {
		Issuer     string   `json:"iss"`
		Subject    string   `json:"sub"`
		Audience   []string `json:"aud"`
		Expires    int64    `json:"exp"`
		IssuedAt   int64    `json:"iat"`
		NotBefore  int64    `json:"nbf"`
		Kubernetes struct {
			Namespace      string `json:"namespace"`
			ServiceAccount struct {
				Name string `json:"name"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
}

// signatures are the algorithms that a service account token may bear (VOL-07).
var signatures = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// request asks for a token; zero seconds leave the lifetime to the API server. The error is a refusal by the API server:
// without an answer, or with one that only says that it cannot answer now, nothing is known about the rule.
func request(ctx context.Context, t *suites.T, ns, account string, seconds int64, audiences ...string) (*authenticationv1.TokenRequest, error) {
	spec := authenticationv1.TokenRequestSpec{Audiences: audiences}
	if seconds != 0 {
		spec.ExpirationSeconds = ptr.To(seconds)
	}
	answer, err := t.Kube().CoreV1().ServiceAccounts(ns).CreateToken(ctx, account, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	var status apierrors.APIStatus
	if err != nil && (!errors.As(err, &status) || status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests) {
		t.Must(err, "request a token of service account %s/%s", ns, account)
	}
	return answer, err
}

// freshToken is a new token of the account for the audience of the federated credentials.
func freshToken(ctx context.Context, t *suites.T, ns, account string) *token {
	answer, err := request(ctx, t, ns, account, 3600, t.Subject().Audience)
	t.Must(err, "request a token of service account %s/%s", ns, account)
	return parse(t, answer.Status.Token)
}

func parse(t *suites.T, raw string) *token {
	signed, err := jose.ParseSignedCompact(raw, signatures)
	t.Require(err == nil && len(signed.Signatures) == 1, "the token is not a JWT with one signature by %v", signatures)
	tok := &token{raw: raw, signed: signed}
	tok.header.Alg, tok.header.Kid = signed.Signatures[0].Header.Algorithm, signed.Signatures[0].Header.KeyID
	// Unverified: whether the signature is good is an expectation of its own, see verifies.
	err = json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &tok.claims)
	t.Require(err == nil, "the token's claims cannot be read: %v", err)
	return tok
}

// verifies says whether one key of the set has the token's kid and verifies it.
func (tok *token) verifies(set keySet) bool {
	for _, k := range set.keys.Key(tok.header.Kid) {
		if _, err := tok.signed.Verify(k); err == nil {
			return true
		}
	}
	return false
}

// accepted asks the API server itself whether the token is good.
func (tok *token) accepted(ctx context.Context, t *suites.T) bool {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: tok.raw, Audiences: tok.claims.Audience}}
	answer, err := t.Kube().AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	t.Must(err, "have a token reviewed")
	return answer.Status.Authenticated
}
