package issuer

import (
	"context"
	"crypto"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/wi-e2e/wi-e2e/suites"
)

// publishedTests are about the documents as a relying party on the internet finds them, beside those that the API server
// serves itself. The two are the same only if nobody had to publish them.
func publishedTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "issuer-published",
			Title:        "Relying parties on the internet find the issuer's documents, over TLS that the public trusts, as the cluster has them",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-06"},
			Needs:        []suites.Capability{suites.PublicIssuer},
			Body:         publishedDocuments,
		},
		{
			ID:           "issuer-published-key-rotation",
			Title:        "While the signing key rotates, relying parties on the internet find both keys",
			Tier:         suites.Issuer,
			Requirements: []string{"ISS-06"},
			Needs:        []suites.Capability{suites.PublicIssuer, suites.ControlPlaneAccess},
			Serial:       true,
			Timeout:      5 * time.Minute, // two restarts of the API server, after each of which the keys are published
			Body:         publishedRotation,
		},
	}
}

func publishedDocuments(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	fresh := freshToken(ctx, t, ns, sa)
	public := newPublicParty(t)
	document := publicDocument(ctx, t, public, fresh)
	set := public.keys(ctx, t, document)
	served, servedKeys := servedByCluster(ctx, t)
	t.Note("published at %s, with the keys at %s", document.documentURL, document.JWKSURI)

	t.Case(ctx, "the document is the issuer's of a fresh token", func(_ context.Context, t *suites.T) {
		t.Equal("issuer of "+document.documentURL, fresh.claims.Issuer, document.Issuer)
	})
	t.Case(ctx, "and the one that the cluster serves", func(_ context.Context, t *suites.T) {
		t.Equal("the published issuer", served.Issuer, document.Issuer)
		want, got := slices.Sorted(slices.Values(served.IDTokenSigningAlgs)), slices.Sorted(slices.Values(document.IDTokenSigningAlgs))
		t.Equal("the published algorithms", want, got)
	})
	t.Case(ctx, "every key that the cluster serves is published", func(_ context.Context, t *suites.T) {
		t.Require(len(servedKeys.keys.Keys) > 0, "the cluster serves no keys")
		for _, key := range servedKeys.keys.Keys {
			found := slices.ContainsFunc(set.keys.Keys, sameKey(key))
			t.Check(found, "the key %s of the cluster is not among the published ones, %q", key.KeyID, set.ids())
		}
	})
	t.Case(ctx, "the key of a fresh token is published", func(_ context.Context, t *suites.T) {
		t.Check(slices.Contains(set.ids(), fresh.header.Kid), "kid %s is not among %q", fresh.header.Kid, set.ids())
		t.Check(fresh.verifies(set), "no published key verifies the token")
	})
}

func publishedRotation(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", nil)
	old := freshToken(ctx, t, ns, sa)
	public := newPublicParty(t)
	currentKeys := func() keySet { return public.keys(ctx, t, publicDocument(ctx, t, public, old)) }

	var fresh *token
	t.RotateSigningKey(ctx, func() {
		fresh = freshToken(ctx, t, ns, sa)
		t.Require(fresh.header.Kid != old.header.Kid, "a new token still bears the old kid %s", old.header.Kid)
		set := currentKeys()
		for _, signed := range []struct {
			by string
			*token
		}{{"old", old}, {"new", fresh}} {
			found := slices.Contains(set.ids(), signed.header.Kid)
			t.Check(found, "after the rotation the %s kid %s is not published: %q", signed.by, signed.header.Kid, set.ids())
			t.Check(signed.verifies(set), "after the rotation no published key verifies a token of the %s key", signed.by)
		}
	})
	set := currentKeys()
	t.Check(!slices.Contains(set.ids(), fresh.header.Kid), "the withdrawn kid %s is still published", fresh.header.Kid)
	t.Check(old.verifies(set), "after the withdrawal no published key verifies a token of the key that signs now")
}

// newPublicParty is the one on the internet.
func newPublicParty(t *suites.T) *relyingParty {
	t.RelyingParty() // which it is made of, if there is one
	return newRelyingParty(t)
}

// publicDocument is that of the token's issuer.
func publicDocument(ctx context.Context, t *suites.T, party *relyingParty, of *token) metadata {
	mustBePublic(t, "issuer", of.claims.Issuer)
	m := party.discover(ctx, t, of.claims.Issuer)
	mustBePublic(t, "jwks_uri", m.JWKSURI)
	return m
}

// mustBePublic: names of the cluster would be looked up in it.
func mustBePublic(t *suites.T, what, address string) {
	u, err := url.Parse(address)
	t.Require(err == nil && !inCluster(u.Hostname()), "the %s %q is none that is known outside the cluster", what, address)
}

// servedByCluster are the documents that the API server serves itself, to those who have credentials.
func servedByCluster(ctx context.Context, t *suites.T) (metadata, keySet) {
	var m metadata
	var set keySet
	for path, into := range map[string]any{"/.well-known/openid-configuration": &m, "/openid/v1/jwks": &set.keys} {
		body, err := t.Kube().Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
		t.Must(err, "read %s of the API server", path)
		t.Must(json.Unmarshal(body, into), "read %s of the API server", path)
	}
	return m, set
}

// sameKey says whether a key has the ID and the public half of another.
func sameKey(key jose.JSONWebKey) func(jose.JSONWebKey) bool {
	return func(other jose.JSONWebKey) bool {
		a, errA := key.Thumbprint(crypto.SHA256)
		b, errB := other.Thumbprint(crypto.SHA256)
		return errA == nil && errB == nil && key.KeyID == other.KeyID && string(a) == string(b)
	}
}
