package issuer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/published"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
)

// publishedTier are the tests of issuers that are published; tier are the others.
var publishedTier = teeth.Tests(publishedTests())

func needsPublicIssuer(test suites.Test) bool {
	return slices.Contains(test.Needs, suites.PublicIssuer)
}

// website is the emulated one, at which a world's issuer is published, and what relying parties see of it.
type website struct {
	emulator http.Handler
	// see changes what is answered, by the path that was asked for.
	see func(path string, a *httptest.ResponseRecorder)
	// err is of the way to it.
	err error
	// forgotten publications do not happen: those after the nth.
	forgotten int
}

func (s *website) Do(r *http.Request) (*http.Response, error) {
	if s.err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL, s.err)
	}
	asked := r.Clone(r.Context())
	asked.Host, asked.RequestURI, asked.Body = r.URL.Host, r.URL.RequestURI(), http.NoBody
	recorder := httptest.NewRecorder()
	s.emulator.ServeHTTP(recorder, asked)
	s.see(r.URL.Path, recorder)
	return recorder.Result(), nil
}

// newPublishedWorld has an issuer that is published as the runner does it: on a website in the emulated Azure, anew with each
// rotation of keys.
func newPublishedWorld(t *testing.T, l *simulated.Lab, change func(*simulated.World, *website)) *simulated.World {
	t.Helper()
	w := teeth.NewWorld(t, l, publishedTier...)
	w.Azure = onTheWire
	site, err := w.Env.Azure.CreateSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.API.Issuer.URL, w.API.AskedIssuer, w.API.JWKSURI = site.Issuer, site.Issuer, site.KeysURL()
	s := &website{emulator: l.Emulator, see: func(string, *httptest.ResponseRecorder) {}, forgotten: 100}
	publications := 0
	w.Env.Cluster, err = published.New(t.Context(), w.Env.Cluster, func(ctx context.Context, discovery, keys []byte) error {
		if publications++; publications > s.forgotten {
			return nil
		}
		return w.Env.Azure.Publish(ctx, site, azure.IssuerDocuments{Discovery: discovery, Keys: keys})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Env.RelyingParty = s
	change(w, s)
	return w
}

// onTheWire has headers arrive as an HTTP server hands them on: the SDK of storage writes them in small letters.
func onTheWire(w http.ResponseWriter, r *http.Request, next http.Handler) {
	header := http.Header{}
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header = header
	next.ServeHTTP(w, r)
}

func TestAPublishedIssuerRaisesNoFalseAlarm(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	for name, change := range map[string]func(*simulated.World, *website){
		"as the run publishes it": func(*simulated.World, *website) {},
		"with more keys than the cluster serves": func(w *simulated.World, s *website) {
			s.see = onPublished(issuer.KeysPath, func(d issuer.Object) {
				d["keys"] = append(d["keys"].([]any), issuer.NewSigningKey(w.Lab.OtherKey).JWK())
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPublishedWorld(t, l, change)
			publishedTier.ExpectPass(t, w)
			tier.ExpectPass(t, w) // the rules for all issuers hold for this one
		})
	}
}

// publishedFaults are what relying parties may find instead.
var publishedFaults = []struct {
	name    string
	fault   func(w *simulated.World, s *website)
	finding string
}{
	{"nothing is published", onAnswers(func(a *httptest.ResponseRecorder) { a.Code = http.StatusNotFound }), "is answered with HTTP 404"},
	{"the documents are not for the public", onAnswers(func(a *httptest.ResponseRecorder) { a.Code = http.StatusForbidden }), "is answered with HTTP 403"},
	{"the documents are somewhere else", onAnswers(func(a *httptest.ResponseRecorder) { a.Code = http.StatusFound }), "is answered with HTTP 302"},
	{"the certificate is none that the public trusts", onTheWay(x509.UnknownAuthorityError{}), "certificate signed by unknown authority"},
	{"the certificate is for another name", onTheWay(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "wie2e"}), "is not served"},
	{"nobody answers", onTheWay(io.ErrUnexpectedEOF), "is not served"},
	{"the issuer exists in the cluster only", func(w *simulated.World, _ *website) {
		w.API.Issuer.URL = "https://kubernetes.default.svc"
	}, `issuer "https://kubernetes.default.svc" is none that is known outside the cluster`},
	{"the keys are in the cluster only", onPublishedDocument("jwks_uri", "https://kubernetes.default.svc.cluster.local/openid/v1/jwks"),
		`jwks_uri "https://kubernetes.default.svc.cluster.local/openid/v1/jwks" is none`},
	{"the keys are not there", func(_ *simulated.World, s *website) {
		s.see = func(path string, a *httptest.ResponseRecorder) {
			if path == issuer.KeysPath {
				a.Code = http.StatusNotFound
			}
		}
	}, "/openid/v1/jwks is answered with HTTP 404"},
	{"there is no jwks_uri", onPublishedDocument("jwks_uri", nil), `"" is not an https URL`},
	{"the published issuer is another", onPublishedDocument("issuer", "https://elsewhere.example"), "the published issuer"},
	{"both documents are another issuer's than the tokens", func(w *simulated.World, s *website) {
		w.API.Break(issuer.Fault{Document: func(d issuer.Object) { d["issuer"] = "https://elsewhere.example" }})
		onPublishedDocument("issuer", "https://elsewhere.example")(w, s)
	}, "issuer of https://wie2ew"},
	{"the cluster serves another issuer than is published", func(w *simulated.World, _ *website) {
		w.API.Break(issuer.Fault{Document: func(d issuer.Object) { d["issuer"] = "https://elsewhere.example" }})
	}, "the published issuer"},
	{"the published algorithms are others", onPublishedDocument("id_token_signing_alg_values_supported", []string{"ES256"}), "the published algorithms"},
	{"only the keys of before are published", func(w *simulated.World, _ *website) {
		w.API.Break(issuer.Fault{Listed: func(k issuer.Keyring) []issuer.SigningKey {
			return append(k.Current, issuer.NewSigningKey(w.Lab.OtherKey))
		}})
	}, "is not among the published ones"},
	{"a new key signs that is not published", func(w *simulated.World, _ *website) {
		w.API.Break(issuer.Fault{Signs: func(issuer.Keyring) issuer.SigningKey { return issuer.NewSigningKey(w.Lab.OtherKey) }})
	}, "is not among ["},
	{"another key is published under the ID", func(w *simulated.World, s *website) {
		s.see = onPublished(issuer.KeysPath, func(d issuer.Object) {
			d["keys"].([]any)[0].(issuer.Object)["n"] = issuer.NewSigningKey(w.Lab.OtherKey).JWK()["n"]
		})
	}, "no published key verifies the token"},
	{"the key is published under another ID", func(_ *simulated.World, s *website) {
		s.see = onPublished(issuer.KeysPath, func(d issuer.Object) { d["keys"].([]any)[0].(issuer.Object)["kid"] = "another" })
	}, "is not among the published ones"},
	{"the cluster serves no keys", func(w *simulated.World, _ *website) {
		w.API.Break(issuer.Fault{Listed: func(issuer.Keyring) []issuer.SigningKey { return nil }})
	}, "the cluster serves no keys"},

	{"a rotation is not published", func(_ *simulated.World, s *website) { s.forgotten = 1 }, "after the rotation the new kid"},
	{"a rotation is published without the old key", func(w *simulated.World, s *website) {
		s.see = whileRotated(w, func(keys []any) []any { return keys[:1] })
	}, "after the rotation the old kid"},
	{"a rotation is published without the new key", func(w *simulated.World, s *website) {
		s.see = whileRotated(w, func(keys []any) []any { return keys[1:] })
	}, "after the rotation no published key verifies a token of the new key"},
	{"a withdrawal is not published", func(_ *simulated.World, s *website) { s.forgotten = 2 }, "is still published"},
	{"a withdrawal takes all keys", func(w *simulated.World, s *website) {
		s.see = onPublished(issuer.KeysPath, func(d issuer.Object) {
			if k := w.API.Keyring(); len(k.Ever) > 1 && len(k.Current) == 1 {
				d["keys"] = []any{}
			}
		})
	}, "after the withdrawal no published key verifies"},
	{"the old key signs on", func(w *simulated.World, _ *website) {
		w.API.Break(issuer.Fault{Signs: func(k issuer.Keyring) issuer.SigningKey { return k.Ever[0] }})
	}, "a new token still bears the old kid"},
}

func TestWhatRelyingPartiesDoNotFindIsCaught(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	var faults []teeth.Fault
	for _, f := range publishedFaults {
		faults = append(faults, teeth.Fault{Name: f.name, Requirement: "ISS-06", Findings: []string{f.finding},
			World: func(t *testing.T, _ []suites.Test) *simulated.World { return newPublishedWorld(t, l, f.fault) }})
	}
	publishedTier.ExpectCaught(t, faults)
}

func TestWhatBreaksTheHarnessIsNoFailureOfThePublishedIssuer(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	var faults []teeth.Fault
	for _, f := range []struct {
		name    string
		fault   func(w *simulated.World, s *website)
		finding string
	}{
		{"there is no relying party", func(w *simulated.World, _ *website) { w.Env.RelyingParty = nil }, "needs a public issuer without saying so"},
		{"the API server is down", breaking("", hangUp), "prepare the test's namespace"},
		{"no token can be had", breaking("/token", refuse(forbidden)), "request a token of service account"},
		{"the API server does not show its document", breaking(issuer.DiscoveryPath, refuse(broken)), "read /.well-known/openid-configuration of the API server"},
		{"the API server does not show its keys", breaking(issuer.KeysPath, refuse(broken)), "read /openid/v1/jwks of the API server"},
		{"the API server shows a page", breaking(issuer.KeysPath, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>"))
		}), "read /openid/v1/jwks of the API server"},
		{"the signing key cannot be rotated", func(w *simulated.World, _ *website) { failingAt(1)(w) }, "rotate the signing key"},
	} {
		faults = append(faults, teeth.Fault{Name: f.name, Requirement: "ISS-06", Findings: []string{f.finding},
			World: func(t *testing.T, _ []suites.Test) *simulated.World { return newPublishedWorld(t, l, f.fault) }})
	}
	publishedTier.ExpectNoBlame(t, faults)
}

// TestAnUntrustedWebsiteIsNoPublicOne does it with a real handshake.
func TestAnUntrustedWebsiteIsNoPublicOne(t *testing.T) {
	t.Parallel()
	w := teeth.NewWorld(t, teeth.NewLab(t, 0), publishedTier...)
	// The world's issuer is an API server with an authority of its own, which the public does not know.
	nobody := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	w.Env.RelyingParty = &http.Client{Transport: &http.Transport{TLSClientConfig: nobody}}
	result := w.Run(t.Context(), publishedTier[0])
	if found := teeth.Findings(result, reports.Fail); result.Status != reports.Fail || !strings.Contains(found, "certificate signed by unknown authority") {
		t.Errorf("%s is %s:\n%s", result.ID, result.Status, teeth.Findings(result, ""))
	}
}

// breaking answers requests for paths of that ending in the API server's place.
func breaking(suffix string, answer http.HandlerFunc) func(*simulated.World, *website) {
	return func(w *simulated.World, _ *website) { onRequest(suffix, answer)(w) }
}

func onTheWay(err error) func(*simulated.World, *website) {
	return func(_ *simulated.World, s *website) { s.err = err }
}

func onAnswers(change func(a *httptest.ResponseRecorder)) func(*simulated.World, *website) {
	return func(_ *simulated.World, s *website) {
		s.see = func(_ string, a *httptest.ResponseRecorder) { change(a) }
	}
}

// onPublishedDocument changes a member of the discovery document; nil takes it away.
func onPublishedDocument(member string, value any) func(*simulated.World, *website) {
	return func(_ *simulated.World, s *website) {
		s.see = onPublished(issuer.DiscoveryPath, func(d issuer.Object) {
			if delete(d, member); value != nil {
				d[member] = value
			}
		})
	}
}

// whileRotated changes the published keys while two are in use.
func whileRotated(w *simulated.World, change func(keys []any) []any) func(string, *httptest.ResponseRecorder) {
	return onPublished(issuer.KeysPath, func(d issuer.Object) {
		if keys := d["keys"].([]any); len(w.API.Keyring().Current) == 2 {
			d["keys"] = change(keys)
		}
	})
}

// onPublished changes a document as relying parties see it.
func onPublished(path string, change func(d issuer.Object)) func(string, *httptest.ResponseRecorder) {
	return func(asked string, a *httptest.ResponseRecorder) {
		if asked != path {
			return
		}
		var document issuer.Object
		if err := json.Unmarshal(a.Body.Bytes(), &document); err != nil {
			panic(err) // it was published
		}
		change(document)
		text, err := json.Marshal(document)
		if err != nil {
			panic(err) // it has just been decoded
		}
		a.Body = bytes.NewBuffer(text)
	}
}
