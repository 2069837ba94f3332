package issuer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Tests are all tests of the tier, in the order of the specification.
func Tests() []suites.Test {
	return append([]suites.Test{
		{
			ID:           "issuer-discovery",
			Title:        "The issuer's discovery document is served, and its issuer is the iss of a fresh token",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-01"},
			Body:         discovery,
		},
		{
			ID:           "issuer-keys",
			Title:        "jwks_uri serves public signing keys, a fresh token's among them",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-02"},
			Body:         keys,
		},
		{
			ID:           "issuer-metadata",
			Title:        "The discovery document has the fields that Entra ID requires",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-03"},
			Body:         requiredMetadata,
		},
		{
			ID:           "issuer-token-request",
			Title:        "A TokenRequest returns a token with just the audience and expiry asked for",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-04"},
			Body:         tokenRequest,
		},
		{
			ID:           "issuer-key-rotation",
			Title:        "After a rotation tokens of both keys verify, until one key is withdrawn",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-05"},
			Needs:        []suites.Capability{suites.ControlPlaneAccess},
			Serial:       true,
			Timeout:      2 * time.Minute, // two restarts of the API server
			Body:         keyRotation,
		},
		{
			ID:           "issuer-as-asked-for",
			Title:        "The issuer that serves is the one that was asked for",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-07"},
			Needs:        []suites.Capability{suites.KnownIssuer},
			Body:         asAskedFor,
		},
	}, publishedTests()...)
}

func discovery(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	fresh := freshToken(ctx, t, ns, sa)
	t.Note("iss %s", fresh.claims.Issuer)
	document := newRelyingParty(t).discover(ctx, t, fresh.claims.Issuer)
	t.Equal("issuer of "+document.documentURL, fresh.claims.Issuer, document.Issuer)
	t.Check(strings.HasPrefix(document.mimeType, "application/json"), "%s is served as %q, want application/json", document.documentURL, document.mimeType)
}

func keys(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	fresh := freshToken(ctx, t, ns, sa)
	party := newRelyingParty(t)
	set := party.keys(ctx, t, party.discover(ctx, t, fresh.claims.Issuer))
	t.Require(len(set.raw) > 0, "the set has no keys")

	t.Case(ctx, "every key has kid, kty, alg and use=sig", func(_ context.Context, t *suites.T) {
		for i, k := range set.raw {
			for _, member := range []string{"kid", "kty", "alg"} {
				value, _ := k[member].(string)
				t.Check(value != "", "key %d has no %s", i, member)
			}
			t.Equal(fmt.Sprintf("use of key %d", i), any("sig"), k["use"])
		}
	})
	t.Case(ctx, "key ids are unique", func(_ context.Context, t *suites.T) {
		ids := set.ids()
		slices.Sort(ids)
		t.Equal("the key ids", slices.Compact(slices.Clone(ids)), ids)
	})
	t.Case(ctx, "no key has private members", func(_ context.Context, t *suites.T) {
		for i, k := range set.raw {
			for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
				_, has := k[member]
				t.Check(!has, "key %d has the private member %q", i, member)
			}
		}
	})
	t.Case(ctx, "the key of a fresh token is in the set", func(_ context.Context, t *suites.T) {
		t.Check(fresh.header.Kid != "", "the token's header has no kid")
		t.Check(slices.Contains(set.ids(), fresh.header.Kid), "kid %s is not among %q", fresh.header.Kid, set.ids())
	})
	t.Case(ctx, "and verifies it", func(_ context.Context, t *suites.T) {
		t.Check(fresh.verifies(set), "no key of the set verifies the token")
	})
}

func requiredMetadata(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	fresh := freshToken(ctx, t, ns, sa)
	document := newRelyingParty(t).discover(ctx, t, fresh.claims.Issuer)
	for _, c := range []struct {
		name   string
		values []string
	}{
		{"response_types_supported", document.ResponseTypes},
		{"subject_types_supported", document.SubjectTypes},
		{"id_token_signing_alg_values_supported", document.IDTokenSigningAlgs},
	} {
		t.Case(ctx, c.name+" is present", func(_ context.Context, t *suites.T) {
			t.Check(len(c.values) > 0, "%s is missing or empty", c.name)
		})
	}
	t.Case(ctx, "RS256 is among the algorithms", func(_ context.Context, t *suites.T) {
		t.Check(slices.Contains(document.IDTokenSigningAlgs, "RS256"), "the algorithms are %q", document.IDTokenSigningAlgs)
	})
	t.Case(ctx, "a fresh token's algorithm is among them", func(_ context.Context, t *suites.T) {
		t.Check(slices.Contains(document.IDTokenSigningAlgs, fresh.header.Alg), "the token is signed with %s, the algorithms are %q", fresh.header.Alg, document.IDTokenSigningAlgs)
	})
}

func tokenRequest(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	for _, c := range []struct {
		seconds   int64
		audiences []string
	}{
		{600, []string{"api://AzureADTokenExchange"}},
		{3600, []string{"api://AzureADTokenExchange"}},
		{7200, []string{"https://vault.example.com/with/path"}},
		{86400, []string{"api://AzureADTokenExchange"}},
		{3600, []string{"one", "two"}},
	} {
		t.Case(ctx, fmt.Sprintf("%d s for %s", c.seconds, strings.Join(c.audiences, " and ")), func(ctx context.Context, t *suites.T) {
			answer, err := request(ctx, t, ns, sa, c.seconds, c.audiences...)
			t.Require(err == nil, "the request is refused: %v", err)
			claims := parse(t, answer.Status.Token).claims
			t.Equal("aud", c.audiences, claims.Audience)
			t.Equal("exp - iat", c.seconds, claims.Expires-claims.IssuedAt)
			t.Equal("sub", "system:serviceaccount:"+ns+":"+sa, claims.Subject)
			t.Equal("the namespace claim", ns, claims.Kubernetes.Namespace)
			t.Equal("the service account claim", sa, claims.Kubernetes.ServiceAccount.Name)
			t.Check(claims.NotBefore <= time.Now().Add(time.Minute).Unix(), "the token is not valid yet (nbf %d)", claims.NotBefore)
		})
	}
	for _, seconds := range []int64{599, 1, -1} {
		t.Case(ctx, fmt.Sprintf("%d s are refused", seconds), func(ctx context.Context, t *suites.T) {
			_, err := request(ctx, t, ns, sa, seconds, "api://AzureADTokenExchange")
			t.Require(err != nil, "the request is granted")
			t.Check(apierrors.IsInvalid(err), "the refusal is not HTTP 422 Invalid: %v", err)
			t.Check(strings.Contains(err.Error(), "expirationSeconds"), "the refusal does not name expirationSeconds: %v", err)
		})
	}
	t.Case(ctx, "a missing account is refused", func(ctx context.Context, t *suites.T) {
		_, err := request(ctx, t, ns, "no-such-account", 3600, "api://AzureADTokenExchange")
		t.Check(apierrors.ReasonForError(err) == "NotFound", "want HTTP %d NotFound, have: %v", http.StatusNotFound, err)
	})
}

func asAskedFor(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	asked := t.Env().Cluster.Issuer()
	document := newRelyingParty(t).discover(ctx, t, asked)
	t.Equal("issuer of the discovery document", asked, document.Issuer)
	t.Equal("iss of a fresh token", asked, freshToken(ctx, t, ns, sa).claims.Issuer)
}

func keyRotation(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	old := freshToken(ctx, t, ns, sa)
	party := newRelyingParty(t)
	currentKeys := func() keySet {
		return party.keys(ctx, t, party.discover(ctx, t, old.claims.Issuer))
	}
	t.Require(old.accepted(ctx, t), "a token is refused before any rotation")

	var fresh *token
	t.RotateSigningKey(ctx, func() {
		fresh = freshToken(ctx, t, ns, sa)
		set := currentKeys()
		t.Check(fresh.header.Kid != old.header.Kid, "a new token still bears the old kid %s", old.header.Kid)
		t.Check(slices.Contains(set.ids(), old.header.Kid), "after the rotation the old kid %s is not in the JWKS: %q", old.header.Kid, set.ids())
		t.Check(slices.Contains(set.ids(), fresh.header.Kid), "after the rotation the new kid %s is not in the JWKS: %q", fresh.header.Kid, set.ids())
		t.Check(old.verifies(set), "after the rotation a token of the old key does not verify against the JWKS")
		t.Check(fresh.verifies(set), "after the rotation a token of the new key does not verify against the JWKS")
		t.Check(old.accepted(ctx, t), "after the rotation a token of the old key is refused")
		t.Check(fresh.accepted(ctx, t), "after the rotation a token of the new key is refused")
	})
	set := currentKeys()
	t.Check(!slices.Contains(set.ids(), fresh.header.Kid), "the withdrawn kid %s is still in the JWKS", fresh.header.Kid)
	t.Check(!fresh.verifies(set), "a token of the withdrawn key verifies against the JWKS")
	t.Check(old.verifies(set), "after the withdrawal a token of the key that signs now does not verify against the JWKS")
	t.Check(!fresh.accepted(ctx, t), "a token of the withdrawn key is accepted")
	t.Check(old.accepted(ctx, t), "after the withdrawal a token of the key that signs now is refused")
}
