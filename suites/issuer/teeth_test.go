package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// conformant are issuers that differ in everything that the rules leave open.
var conformant = map[string]func(f *fakeAPI){
	"an issuer with a path": func(*fakeAPI) {},
	"the API server's own URL": func(f *fakeAPI) {
		f.issuer = f.server.URL
	},
	"an issuer that ends in a slash": func(f *fakeAPI) {
		f.issuer = f.server.URL + "/"
	},
	"an issuer with a path that ends in a slash": func(f *fakeAPI) {
		f.issuer = f.server.URL + "/tenant/cluster/"
	},
	"an issuer that exists in the cluster only": func(f *fakeAPI) {
		f.issuer, f.jwksURI, f.private = "https://kubernetes.default.svc", "https://kubernetes.default.svc"+jwksPath, true
	},
	"an issuer that exists in the cluster only, whose keys are at the node's address": func(f *fakeAPI) {
		// What kubeadm makes: jwks_uri is the advertised address, which need not be reachable from here.
		f.issuer, f.jwksURI, f.private = "https://kubernetes.default.svc.cluster.local", "https://192.0.2.1:6443"+jwksPath, true
	},
	"an issuer that exists in the cluster only, of an API server behind a path": func(f *fakeAPI) {
		f.issuer, f.jwksURI, f.private = "https://kubernetes.default.svc", "https://kubernetes.default.svc"+jwksPath, true
		f.prefix = "/k8s/clusters/c-1"
	},
	"tokens signed with ES256, where RS256 is used too": func(f *fakeAPI) {
		ec := newECKey()
		f.keys = keyring{current: []signingKey{ec, otherKey()}, ever: []signingKey{ec}}
	},
	"a retired key that still verifies": func(f *fakeAPI) {
		f.keys.current = append(f.keys.current, otherKey())
	},
	"more than the rules ask for": func(f *fakeAPI) {
		f.document = func(d object) { d["claims_supported"] = []any{"sub"} }
		f.claims = func(c object) { c["jti"] = "1" }
		f.jwks = onKeys(func(k object) { k["key_ops"] = []any{"verify"} })
	},
}

// mutant is an API server with one fault. The test of its requirement must fail, and say so.
type mutant struct {
	name        string
	requirement string
	fault       func(f *fakeAPI)
	// finding is part of what must be found.
	finding string
}

var mutants = []mutant{
	{"the document is not there", "ISS-01", onRequest(discoveryPath, http.NotFound), "is answered with HTTP 404"},
	{"the document needs credentials", "ISS-01", func(f *fakeAPI) { f.private = true }, "is answered with HTTP 401"},
	{"the document is a page", "ISS-01", onRequest(discoveryPath, text("application/json", "<html></html>")), "is no JSON document"},
	{"the document is served as text", "ISS-01", onHeader("Content-Type", "text/plain; charset=utf-8"), `is served as "text/plain`},
	{"the document breaks off", "ISS-01", onHeader("Content-Length", "4096"), "the answer breaks off"},
	{"nobody answers", "ISS-01", onRequest(discoveryPath, hangUp), "is not served"},
	{"the certificate is for another name", "ISS-01", func(f *fakeAPI) {
		f.issuer = strings.Replace(f.issuer, "127.0.0.1", "localhost", 1)
	}, "is not served"},
	{"the issuer is no https URL", "ISS-01", func(f *fakeAPI) {
		f.issuer = strings.Replace(f.issuer, "https:", "http:", 1)
	}, "is not an https URL"},
	{"the document's issuer has a slash more", "ISS-01", onDocument("issuer", func(s string) string { return s + "/" }), "issuer of "},
	{"the document's issuer has a slash less", "ISS-01", func(f *fakeAPI) {
		f.issuer += "/"
		onDocument("issuer", func(s string) string { return strings.TrimSuffix(s, "/") })(f)
	}, "issuer of "},
	{"the document's issuer differs by case", "ISS-01", onDocument("issuer", strings.ToLower), "issuer of "},
	{"the document's issuer is another host", "ISS-01", onDocument("issuer", func(s string) string {
		return strings.Replace(s, "127.0.0.1", "localhost", 1)
	}), "issuer of "},
	{"the document has no issuer", "ISS-01", onDocument("issuer", func(string) string { return "" }), "issuer of "},

	{"there is no jwks_uri", "ISS-02", without("jwks_uri"), `"" is not an https URL`},
	{"jwks_uri leads nowhere", "ISS-02", onRequest(jwksPath, http.NotFound), "is answered with HTTP 404"},
	{"the keys are a page", "ISS-02", onRequest(jwksPath, text("application/json", "<html></html>")), "is no JWK set"},
	{"there are no keys", "ISS-02", onJWKS(func([]object) []object { return []object{} }), "the set has no keys"},
	{"a key has no kid", "ISS-02", onJWKS(onKeys(func(k object) { delete(k, "kid") })), "key 0 has no kid"},
	{"a key has no kty", "ISS-02", onJWKS(onKeys(func(k object) { delete(k, "kty") })), "is no JWK set"},
	{"a key has no alg", "ISS-02", onJWKS(onKeys(func(k object) { delete(k, "alg") })), "key 0 has no alg"},
	{"a key has no use", "ISS-02", onJWKS(onKeys(func(k object) { delete(k, "use") })), "use of key 0"},
	{"a key is for encryption", "ISS-02", onJWKS(onKeys(func(k object) { k["use"] = "enc" })), "use of key 0"},
	{"only the second key is bad", "ISS-02", func(f *fakeAPI) {
		f.keys.current = append(f.keys.current, otherKey())
		f.jwks = func(keys []object) []object {
			delete(keys[1], "alg")
			return keys
		}
	}, "key 1 has no alg"},
	{"two keys have one kid", "ISS-02", onJWKS(func(keys []object) []object {
		second := members(otherKey().public())
		second["kid"] = keys[0]["kid"]
		return append(keys, second)
	}), "the key ids"},
	{"a private key is published", "ISS-02", onJWKS(func([]object) []object {
		key := firstKey().public()
		key.Key = firstKey().private
		return []object{members(key)}
	}), `key 0 has the private member "d"`},
	{"a symmetric key is published", "ISS-02", onJWKS(func(keys []object) []object {
		return append(keys, object{"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256", "use": "sig"})
	}), `key 1 has the private member "k"`},
	{"tokens have no kid", "ISS-02", signedBy(func(k signingKey) signingKey {
		k.kid = ""
		return k
	}), "the token's header has no kid"},
	{"the token's key is not in the set", "ISS-02", signedBy(func(signingKey) signingKey { return otherKey() }), "is not among"},
	{"the token's kid is another key's", "ISS-02", onJWKS(onKeys(func(k object) {
		k["n"] = members(otherKey().public())["n"]
	})), "no key of the set verifies the token"},

	{"there are no response types", "ISS-03", without("response_types_supported"), "response_types_supported is missing"},
	{"there are no subject types", "ISS-03", without("subject_types_supported"), "subject_types_supported is missing"},
	{"there are no algorithms", "ISS-03", without("id_token_signing_alg_values_supported"), "id_token_signing_alg_values_supported is missing"},
	{"the list of response types is empty", "ISS-03", func(f *fakeAPI) {
		f.document = func(d object) { d["response_types_supported"] = []any{} }
	}, "response_types_supported is missing or empty"},
	{"all is signed with ES256", "ISS-03", func(f *fakeAPI) {
		ec := newECKey()
		f.keys = keyring{current: []signingKey{ec}, ever: []signingKey{ec}}
	}, `the algorithms are ["ES256"]`},
	{"tokens are signed with an algorithm that is not listed", "ISS-03", func(f *fakeAPI) {
		ec := newECKey()
		f.signs = func(keyring) signingKey { return ec }
	}, "the token is signed with ES256"},

	{"tokens have an audience more", "ISS-04", onClaims(func(c object) {
		c["aud"] = append(slices.Clone(c["aud"].([]string)), "https://kubernetes.default.svc")
	}), "aud is not as expected"},
	{"tokens have only the first audience", "ISS-04", onClaims(func(c object) { c["aud"] = c["aud"].([]string)[:1] }), "aud is not as expected"},
	{"tokens live a second longer", "ISS-04", onClaims(func(c object) { c["exp"] = c["exp"].(int64) + 1 }), "exp - iat"},
	{"lifetimes are cut to an hour", "ISS-04", onClaims(func(c object) {
		c["exp"] = min(c["exp"].(int64), c["iat"].(int64)+3600)
	}), "exp - iat"},
	{"lifetimes are raised to an hour", "ISS-04", onClaims(func(c object) {
		c["exp"] = max(c["exp"].(int64), c["iat"].(int64)+3600)
	}), "exp - iat"},
	{"sub has no namespace", "ISS-04", onClaims(func(c object) { c["sub"] = "system:serviceaccount:app" }), "sub is not as expected"},
	{"the namespace is another", "ISS-04", onClaims(func(c object) { c["kubernetes.io"].(object)["namespace"] = "default" }), "the namespace claim"},
	{"the account is another", "ISS-04", onClaims(func(c object) {
		c["kubernetes.io"].(object)["serviceaccount"] = object{"name": "default"}
	}), "the service account claim"},
	{"tokens are valid from tomorrow on", "ISS-04", onClaims(func(c object) {
		c["nbf"] = time.Now().Add(24 * time.Hour).Unix()
	}), "the token is not valid yet"},
	{"exp is no number", "ISS-04", onClaims(func(c object) { c["exp"] = "never" }), "the token's claims cannot be read"},
	{"tokens are opaque", "ISS-04", onRequest("/app/token", func(w http.ResponseWriter, _ *http.Request) {
		created(w, authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "opaque"}})
	}), "the token is not a JWT"},
	{"600 s are refused", "ISS-04", func(f *fakeAPI) { f.minimum = 601 }, "the request is refused"},
	{"nothing is granted", "ISS-04", onRequest("/app/token", forbid), "the request is refused"},
	{"599 s are granted", "ISS-04", func(f *fakeAPI) { f.minimum = 599 }, "the request is granted"},
	{"a negative lifetime is granted", "ISS-04", func(f *fakeAPI) { f.minimum = -1 }, "the request is granted"},
	{"a short lifetime is refused as forbidden", "ISS-04", onShortLifetimes(func(w http.ResponseWriter) {
		refuse(w, apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "app", errors.New("expirationSeconds")))
	}), "the refusal is not HTTP 422 Invalid"},
	{"a short lifetime is refused without a reason", "ISS-04", onShortLifetimes(func(w http.ResponseWriter) {
		refuse(w, apierrors.NewInvalid(schema.GroupKind{Kind: "TokenRequest"}, "", nil))
	}), "the refusal does not name expirationSeconds"},
	{"a missing account has tokens", "ISS-04", func(f *fakeAPI) { f.anyAccount = true }, "want HTTP 404 NotFound"},
	{"a missing account is forbidden", "ISS-04", onRequest("/no-such-account/token", forbid), "want HTTP 404 NotFound"},

	{"no token is ever accepted", "ISS-05", trusting(func(keyring) []signingKey { return nil }), "a token is refused before any rotation"},
	{"the old key signs on", "ISS-05", func(f *fakeAPI) {
		f.signs = func(k keyring) signingKey { return k.ever[0] }
	}, "a new token still bears the old kid"},
	{"the JWKS loses the old key at once", "ISS-05", listing(func(k keyring) []signingKey { return k.current[:1] }), "the old kid"},
	{"the JWKS lacks the new key", "ISS-05", listing(func(k keyring) []signingKey { return k.ever[:1] }), "the new kid"},
	{"the JWKS has the new key's modulus under the old kid", "ISS-05", onJWKS(func(keys []object) []object {
		keys[len(keys)-1]["n"] = keys[0]["n"]
		return keys
	}), "a token of the old key does not verify against the JWKS"},
	{"the JWKS has the old key's modulus under the new kid", "ISS-05", onJWKS(func(keys []object) []object {
		keys[0]["n"] = keys[len(keys)-1]["n"]
		return keys
	}), "a token of the new key does not verify against the JWKS"},
	{"old tokens are refused at once", "ISS-05", trusting(func(k keyring) []signingKey { return k.current[:1] }), "after the rotation a token of the old key is refused"},
	{"new tokens are refused", "ISS-05", trusting(func(k keyring) []signingKey { return k.ever[:1] }), "after the rotation a token of the new key is refused"},
	{"the withdrawn key stays in the JWKS", "ISS-05", listing(func(k keyring) []signingKey { return k.ever }), "is still in the JWKS"},
	{"the withdrawn key's tokens can still be verified", "ISS-05", listing(func(k keyring) []signingKey { return k.ever }), "a token of the withdrawn key verifies against the JWKS"},
	{"the withdrawn key's tokens are accepted", "ISS-05", trusting(func(k keyring) []signingKey { return k.ever }), "a token of the withdrawn key is accepted"},
	{"after the withdrawal no token is accepted", "ISS-05", trusting(func(k keyring) []signingKey {
		if k.changes == 2 {
			return nil
		}
		return k.current
	}), "a token of the key that signs now is refused"},

	{"the flag took no effect", "ISS-07", func(f *fakeAPI) {
		f.asked = f.issuer
		f.issuer += "/"
	}, "issuer of the discovery document"},
	{"tokens bear another issuer than the one asked for", "ISS-07", onClaims(func(c object) {
		c["iss"] = "https://kubernetes.default.svc.cluster.local"
	}), "iss of a fresh token"},
	{"nothing is served where the issuer was asked for", "ISS-07", func(f *fakeAPI) { f.asked = f.server.URL + "/elsewhere" }, "is answered with HTTP 401"},
}

// onRequest answers requests for paths of that ending.
func onRequest(suffix string, answer http.HandlerFunc) func(*fakeAPI) {
	return func(f *fakeAPI) {
		f.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, suffix) {
				return false
			}
			answer(w, r)
			return true
		}
	}
}

// onHeader changes a header of the discovery document's answer.
func onHeader(name, value string) func(*fakeAPI) {
	return func(f *fakeAPI) {
		onRequest(discoveryPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set(name, value)
			encode(w, f.discovery())
		})(f)
	}
}

// onShortLifetimes answers requests for tokens of less than 600 s.
func onShortLifetimes(answer func(w http.ResponseWriter)) func(*fakeAPI) {
	return func(f *fakeAPI) { f.tooShort = answer }
}

func onDocument(member string, change func(string) string) func(*fakeAPI) {
	return func(f *fakeAPI) {
		f.document = func(d object) { d[member] = change(d[member].(string)) }
	}
}

func without(member string) func(*fakeAPI) {
	return func(f *fakeAPI) {
		f.document = func(d object) { delete(d, member) }
	}
}

func onJWKS(change func(keys []object) []object) func(*fakeAPI) {
	return func(f *fakeAPI) { f.jwks = change }
}

func onKeys(change func(k object)) func(keys []object) []object {
	return func(keys []object) []object {
		for _, k := range keys {
			change(k)
		}
		return keys
	}
}

func onClaims(change func(c object)) func(*fakeAPI) {
	return func(f *fakeAPI) { f.claims = change }
}

func signedBy(change func(k signingKey) signingKey) func(*fakeAPI) {
	return func(f *fakeAPI) {
		f.signs = func(k keyring) signingKey { return change(k.current[0]) }
	}
}

func listing(keys func(k keyring) []signingKey) func(*fakeAPI) {
	return func(f *fakeAPI) { f.listed = keys }
}

func trusting(keys func(k keyring) []signingKey) func(*fakeAPI) {
	return func(f *fakeAPI) { f.trusted = keys }
}

func text(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	}
}

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func forbid(w http.ResponseWriter, _ *http.Request) {
	refuse(w, apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "app", errors.New("not today")))
}

func breakDown(w http.ResponseWriter, _ *http.Request) {
	refuse(w, apierrors.NewInternalError(errors.New("etcdserver: request timed out")))
}

// breakages are faults of the environment: nothing is known about the issuer, so a test must not blame it.
var breakages = []mutant{
	{"the API server is down", "ISS-01", (*fakeAPI).stop, "prepare the test's namespace"},
	{"the API server is down", "ISS-02", (*fakeAPI).stop, "prepare the test's namespace"},
	{"the API server is down", "ISS-03", (*fakeAPI).stop, "prepare the test's namespace"},
	{"the API server is down", "ISS-04", (*fakeAPI).stop, "prepare the test's namespace"},
	{"the API server is down", "ISS-05", (*fakeAPI).stop, "prepare the test's namespace"},
	{"the API server is down", "ISS-07", (*fakeAPI).stop, "prepare the test's namespace"},
	{"no service account can be made", "ISS-04", onRequest("/serviceaccounts", forbid), "create service account"},
	{"no token can be had", "ISS-01", onRequest("/token", forbid), "request a token of service account"},
	{"the API server goes down before the requests for tokens", "ISS-04", onRequest("/token", hangUp), "request a token of service account"},
	{"the API server breaks on requests for tokens", "ISS-04", onRequest("/token", breakDown), "request a token of service account"},
	{"the API server has too much to do", "ISS-04", onRequest("/token", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, apierrors.NewTooManyRequestsError("try later"))
	}), "request a token of service account"},
	// It is no refusal, and no grant: whether the API server knows the limit stays open.
	{"the API server breaks on short lifetimes", "ISS-04", onShortLifetimes(func(w http.ResponseWriter) { breakDown(w, nil) }), "request a token of service account"},
	{"tokens cannot be reviewed", "ISS-05", onRequest("/tokenreviews", breakDown), "have a token reviewed"},
	{"the signing key cannot be read", "ISS-05", failingAt(0), "read the signing key"},
	{"the signing key cannot be rotated", "ISS-05", failingAt(1), "rotate the signing key"},
}

// stop takes the API server down.
func (f *fakeAPI) stop() { f.server.Close() }

// failingAt lets the nth change of signing keys fail; 0 is to read them.
func failingAt(n int) func(*fakeAPI) {
	return func(f *fakeAPI) {
		f.rotate = func(now int) error {
			if now == n {
				return errors.New("the API server does not come up")
			}
			return nil
		}
	}
}

func TestAConformantIssuerRaisesNoFalseAlarm(t *testing.T) {
	for name, variant := range conformant {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeAPI(t, variant)
			for _, test := range Tests() {
				if result := f.run(t, test); result.Status != reports.Pass {
					t.Errorf("%s is %s:\n%s", test.ID, result.Status, simulated.Findings(result, ""))
				}
			}
		})
	}
}

func TestEveryMutantIsCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeAPI(t, m.fault)
			result := f.run(t, testOf(t, m.requirement))
			if result.Status != reports.Fail || !strings.Contains(simulated.Findings(result, reports.Fail), m.finding) {
				t.Errorf("%s is %s, want fail and a finding with %q:\n%s", result.ID, result.Status, m.finding, simulated.Findings(result, ""))
			}
			f.mustSignWithItsFirstKey(t)
		})
	}
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheIssuer(t *testing.T) {
	for _, m := range breakages {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeAPI(t, m.fault)
			result := f.run(t, testOf(t, m.requirement))
			if result.Status != reports.Error || !strings.Contains(simulated.Findings(result, reports.Error), m.finding) {
				t.Errorf("%s is %s, want error and a finding with %q:\n%s", result.ID, result.Status, m.finding, simulated.Findings(result, ""))
			}
			if blame := simulated.Findings(result, reports.Fail); blame != "" {
				t.Errorf("%s blames the issuer:\n%s", result.ID, blame)
			}
			f.mustSignWithItsFirstKey(t)
		})
	}
}

func TestAKeyThatCannotBeRestoredIsReported(t *testing.T) {
	f := newFakeAPI(t, func(f *fakeAPI) {
		f.rotate = func(n int) error {
			if n > 1 {
				return errors.New("the API server does not come up")
			}
			return nil
		}
	})
	result := f.run(t, testOf(t, "ISS-05"))
	for _, want := range []string{"rotate back and withdraw", "the old signing key cannot be restored"} {
		if result.Status != reports.Error || !strings.Contains(simulated.Findings(result, reports.Error), want) {
			t.Errorf("%s is %s, want error and a finding with %q:\n%s", result.ID, result.Status, want, simulated.Findings(result, ""))
		}
	}
}

func TestAnInterruptedRunBlamesNobody(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	f := newFakeAPI(t, onRequest(discoveryPath, func(_ http.ResponseWriter, r *http.Request) {
		interrupt(errors.New("interrupted"))
		<-r.Context().Done()
	}))
	result := suites.Execute(ctx, f.env(t), testOf(t, "ISS-01"), reports.Fail, make(chan struct{}, 4))
	if blame := simulated.Findings(result, reports.Fail); result.Status != reports.Error || blame != "" {
		t.Errorf("%s is %s, want error and nothing against the issuer:\n%s", result.ID, result.Status, blame)
	}
}

// TestEveryRequirementHasAMutant keeps the table whole when a test is added.
func TestEveryRequirementHasAMutant(t *testing.T) {
	for _, test := range Tests() {
		for _, id := range test.Requirements {
			if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.requirement == id }) {
				t.Errorf("there is no mutant of %s", id)
			}
		}
	}
}

func testOf(t *testing.T, requirement string) suites.Test {
	t.Helper()
	tests := slices.DeleteFunc(Tests(), func(test suites.Test) bool { return !slices.Contains(test.Requirements, requirement) })
	if len(tests) != 1 {
		t.Fatalf("%d tests of %s, want 1", len(tests), requirement)
	}
	return tests[0]
}

func (f *fakeAPI) run(t *testing.T, test suites.Test) reports.Test {
	t.Helper()
	return suites.Execute(t.Context(), f.env(t), test, reports.Fail, make(chan struct{}, 4))
}

// mustSignWithItsFirstKey: whatever a test found, the tokens of the cluster's running pods stay good.
func (f *fakeAPI) mustSignWithItsFirstKey(t *testing.T) {
	t.Helper()
	if k := f.keyring(); k.current[0].kid != k.ever[0].kid {
		t.Error("the cluster does not sign with the key of before")
	}
}
