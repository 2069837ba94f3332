package issuer

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
)

// parallel is how many worlds there are at a time.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// tier are the tests of issuers that need not be public.
var tier = teeth.Tests(slices.DeleteFunc(Tests(), needsPublicIssuer))

// conformant are issuers that differ in everything that the rules leave open.
var conformant = map[string]func(w *simulated.World){
	"the API server's own URL":                   func(*simulated.World) {},
	"an issuer with a path":                      issuedBy("/Cluster"),
	"an issuer that ends in a slash":             issuedBy("/"),
	"an issuer with a path that ends in a slash": issuedBy("/tenant/cluster/"),
	"an issuer that answers nobody with credentials": func(w *simulated.World) {
		w.API.Intercept = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if w.API.IsDocument(r.URL.Path) && r.Header.Get("Authorization") != "" {
				issuer.Refuse(rw, forbidden)
				return
			}
			next.ServeHTTP(rw, r)
		}
	},
	"an issuer that exists in the cluster only": inside("https://kubernetes.default.svc", "https://kubernetes.default.svc"),
	// What kubeadm makes: jwks_uri is the advertised address, which need not be reachable from here.
	"an issuer that exists in the cluster only, whose keys are at the node's address": inside("https://kubernetes.default.svc.cluster.local", "https://192.0.2.1:6443"),
	"an issuer that exists in the cluster only, of an API server behind a path": func(w *simulated.World) {
		w.API.Prefix = "/k8s/clusters/c-1"
		inside("https://kubernetes.default.svc", "https://kubernetes.default.svc")(w)
	},
	"tokens signed with ES256, where RS256 is used too": func(w *simulated.World) {
		w.API.SetKeys(append([]issuer.SigningKey{issuer.NewECKey()}, w.API.Keyring().Current...)...)
	},
	"a retired key that still verifies": func(w *simulated.World) {
		w.API.SetKeys(append(w.API.Keyring().Current, issuer.NewSigningKey(w.Lab.OtherKey))...)
	},
	"more than the rules ask for": func(w *simulated.World) {
		w.API.Break(issuer.Fault{
			Document: func(d issuer.Object) { d["claims_supported"] = []string{"sub"} },
			Claims:   func(c issuer.Object) { c["auth_time"] = 1 },
			JWKS: func(keys []issuer.Object, _ []issuer.SigningKey) []issuer.Object {
				keys[0]["key_ops"] = []string{"verify"}
				return keys
			},
		})
	},
}

// issuedBy has the cluster be asked for, and have, an issuer below a path of the API server.
func issuedBy(path string) func(*simulated.World) {
	return func(w *simulated.World) {
		w.API.Issuer.URL += path
		w.API.AskedIssuer = w.API.Issuer.URL
	}
}

// inside has an issuer whose documents are for those with credentials, with its keys at another server.
func inside(url, keys string) func(*simulated.World) {
	return func(w *simulated.World) {
		w.API.Issuer.URL, w.API.AskedIssuer, w.API.JWKSURI, w.API.PrivateIssuer = url, url, keys+issuer.KeysPath, true
	}
}

func TestAConformantIssuerRaisesNoFalseAlarm(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	for name, variant := range conformant {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tier.ExpectPass(t, newWorld(t, l, variant, tier...))
		})
	}
}

// breakage is a fault of the environment: nothing is known about the issuer, so a test must not blame it.
type breakage struct {
	name        string
	requirement string
	fault       func(w *simulated.World)
	// finding is part of what must be found.
	finding string
}

var breakages = []breakage{
	{"the API server is down", "ISS-01", onRequest("", hangUp), "prepare the test's namespace"},
	{"the API server is down", "ISS-02", onRequest("", hangUp), "prepare the test's namespace"},
	{"the API server is down", "ISS-03", onRequest("", hangUp), "prepare the test's namespace"},
	{"the API server is down", "ISS-04", onRequest("", hangUp), "prepare the test's namespace"},
	{"the API server is down", "ISS-05", onRequest("", hangUp), "prepare the test's namespace"},
	{"the API server is down", "ISS-07", onRequest("", hangUp), "prepare the test's namespace"},
	{"no service account can be made", "ISS-04", onRequest("/serviceaccounts", refuse(forbidden)), "create service account"},
	{"no token can be had", "ISS-01", onRequest("/token", refuse(forbidden)), "request a token of service account"},
	{"the API server goes down before the requests for tokens", "ISS-04", onRequest("/token", hangUp), "request a token of service account"},
	{"the API server breaks on requests for tokens", "ISS-04", onRequest("/token", refuse(broken)), "request a token of service account"},
	{"the API server has too much to do", "ISS-04", onRequest("/token", refuse(busy)), "request a token of service account"},
	// It is no refusal, and no grant: whether the API server knows the limit stays open.
	{"the API server breaks on short lifetimes", "ISS-04", func(w *simulated.World) {
		w.API.Break(issuer.Fault{Refuse: func(s *metav1.Status) {
			if s.Reason == metav1.StatusReasonInvalid {
				*s = broken.Status()
			}
		}})
	}, "request a token of service account"},
	{"tokens cannot be reviewed", "ISS-05", onRequest("/tokenreviews", refuse(broken)), "have a token reviewed"},
	{"the signing key cannot be read", "ISS-05", func(w *simulated.World) { rotating(w).unreadable = true }, "read the signing key"},
	{"the signing key cannot be rotated", "ISS-05", failingAt(1), "rotate the signing key"},
}

var (
	forbidden = apierrors.NewForbidden(corev1.Resource("serviceaccounts"), "app", errors.New("not today"))
	broken    = apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
	busy      = apierrors.NewTooManyRequestsError("try later")
)

func TestWhatBreaksTheHarnessIsNoFailureOfTheIssuer(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	var faults []teeth.Fault
	for _, b := range breakages {
		faults = append(faults, teeth.Fault{Name: b.name, Requirement: b.requirement, Findings: []string{b.finding},
			World: func(t *testing.T, tests []suites.Test) *simulated.World { return newWorld(t, l, b.fault, tests...) }})
	}
	tier.ExpectNoBlame(t, faults)
}

func TestAKeyThatCannotBeRestoredIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, teeth.NewLab(t, 0), failingAt(2, 3))
	result := w.Run(t.Context(), tier.Of("ISS-05")[0])
	for _, want := range []string{"rotate back and withdraw", "the old signing key cannot be restored"} {
		if result.Status != reports.Error || !strings.Contains(teeth.Findings(result, reports.Error), want) {
			t.Errorf("%s is %s, want error and a finding with %q:\n%s", result.ID, result.Status, want, teeth.Findings(result, ""))
		}
	}
}

// TestTheClusterSignsWithItsKeyAfterwards: whatever breaks in a rotation, the tokens of the cluster's running pods stay good.
func TestTheClusterSignsWithItsKeyAfterwards(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	for name, fault := range map[string]func(*simulated.World){
		"nothing":           func(*simulated.World) {},
		"no token then":     onRotated("/token"),
		"no documents then": onRotated(issuer.KeysPath),
		"no reviews then":   onRotated("/tokenreviews"),
		"not at once":       failingAt(2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l, fault)
			result := w.Run(t.Context(), tier.Of("ISS-05")[0])
			if k := w.API.Keyring(); len(k.Ever) != 2 || len(k.Current) != 1 || k.Current[0].ID != k.Ever[0].ID {
				t.Errorf("the cluster had %d keys, and has %d, of which the one before does not sign; the test is %s:\n%s",
					len(k.Ever), len(k.Current), result.Status, teeth.Findings(result, ""))
			}
		})
	}
}

func TestAnInterruptedRunBlamesNobody(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancelCause(t.Context())
	w := newWorld(t, teeth.NewLab(t, 0), onRequest(issuer.DiscoveryPath, func(_ http.ResponseWriter, r *http.Request) {
		interrupt(errors.New("interrupted"))
		<-r.Context().Done()
	}))
	result := w.Run(ctx, tier.Of("ISS-01")[0])
	if blame := teeth.Findings(result, reports.Fail); result.Status != reports.Error || blame != "" {
		t.Errorf("%s is %s, want error and nothing against the issuer:\n%s", result.ID, result.Status, blame)
	}
}

func newWorld(t *testing.T, l *simulated.Lab, change func(*simulated.World), tests ...suites.Test) *simulated.World {
	t.Helper()
	w := teeth.NewWorld(t, l, tests...)
	change(w)
	if err := w.Env.Connect(); err != nil { // the way to the API server may have changed
		t.Fatal(err)
	}
	return w
}

// onRequest answers requests for paths of that ending in the API server's place.
func onRequest(suffix string, answer http.HandlerFunc) func(*simulated.World) {
	return func(w *simulated.World) {
		w.API.Intercept = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, suffix) {
				next = answer
			}
			next.ServeHTTP(rw, r)
		}
	}
}

// onRotated breaks requests for paths of that ending when the signing key is another one than at first.
func onRotated(suffix string) func(*simulated.World) {
	return func(w *simulated.World) {
		w.API.Intercept = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if k := w.API.Keyring(); k.Current[0].ID != k.Ever[0].ID && strings.HasSuffix(r.URL.Path, suffix) {
				next = refuse(broken)
			}
			next.ServeHTTP(rw, r)
		}
	}
}

func refuse(refusal *apierrors.StatusError) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { issuer.Refuse(w, refusal) }
}

// hangUp closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// brittleCluster is one whose signing keys cannot always be read or changed.
type brittleCluster struct {
	cluster.Cluster
	cluster.SigningKeyRotator
	unreadable bool
	failing    []int // which of the changes, from 1
	changes    int
}

// rotating makes the world's cluster a brittle one.
func rotating(w *simulated.World) *brittleCluster {
	brittle := &brittleCluster{Cluster: w.Env.Cluster, SigningKeyRotator: w.Env.Cluster.(cluster.SigningKeyRotator)}
	w.Env.Cluster = brittle
	return brittle
}

// failingAt lets the nth changes of signing keys fail.
func failingAt(nth ...int) func(*simulated.World) {
	return func(w *simulated.World) { rotating(w).failing = nth }
}

func (c *brittleCluster) ServiceAccountKey() ([]byte, error) {
	if c.unreadable {
		return nil, errors.New("the file is gone")
	}
	return c.SigningKeyRotator.ServiceAccountKey()
}

func (c *brittleCluster) SetServiceAccountKeys(ctx context.Context, signing []byte, verify ...[]byte) error {
	c.changes++
	if slices.Contains(c.failing, c.changes) {
		return errors.New("the API server does not come up")
	}
	return c.SigningKeyRotator.SetServiceAccountKeys(ctx, signing, verify...)
}
