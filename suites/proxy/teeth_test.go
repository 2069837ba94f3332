package proxy

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
)

// parallel is how many worlds there are at a time: they wait more than they compute.
const parallel = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var tier = teeth.Tests(Tests())

// variants are worlds that conform, and use what a rule leaves open.
var variants = []struct {
	name    string
	variant func(w *simulated.World)
}{
	{"as the reference is", func(*simulated.World) {}},
	{"an Azure that does not tell what it decided", func(w *simulated.World) { w.Env.Azure.Evidence = nil }},
	{"a proxy that honours other selectors", func(w *simulated.World) {
		w.Network.Proxy.Serve = func(_ proxy.Options, next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				honourSelectors(w, r)
				next.ServeHTTP(rw, r)
			})
		}
	}},
	{"a proxy whose answers have more fields", func(w *simulated.World) {
		w.Network.Proxy.Serve = func(_ proxy.Options, next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != imds.TokenPath {
					next.ServeHTTP(rw, r)
					return
				}
				recorder := httptest.NewRecorder()
				next.ServeHTTP(recorder, r)
				rw.Header().Set("Content-Type", recorder.Header().Get("Content-Type"))
				rw.WriteHeader(recorder.Code)
				_, _ = rw.Write(bytes.Replace(recorder.Body.Bytes(), []byte("{"), []byte(`{"more":{},`), 1))
			})
		}
	}},
}

// honourSelectors names the client of an identity that is selected otherwise.
func honourSelectors(w *simulated.World, r *http.Request) {
	query := r.URL.Query()
	for _, trust := range w.Trusts {
		identity := w.Env.Azure.Trusted[suites.TrustKey{Test: "proxy-other-identity", Account: trust.Account, Identity: trust.Identity.Name}]
		for _, name := range []string{"object_id", "mi_res_id", "msi_res_id"} {
			if value := query.Get(name); value != "" && (value == identity.PrincipalID || value == identity.ResourceID) {
				query.Del(name)
				query.Set("client_id", identity.ClientID)
				r.URL.RawQuery = query.Encode()
			}
		}
	}
}

// TestTheConformantWorldPasses runs all tests in one world, as a run does.
func TestTheConformantWorldPasses(t *testing.T) {
	t.Parallel()
	l := teeth.NewLab(t, 0)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			w := teeth.NewWorld(t, l, tier...)
			v.variant(w)
			tier.ExpectPass(t, w)
		})
	}
}

func TestEveryFaultOfTheWorldIsCaught(t *testing.T) {
	t.Parallel()
	tier.ExpectCaught(t, faultsOf(worldFaults, teeth.NewLab(t, 0)))
}

func TestWhatBreaksTheHarnessIsNoFailureOfTheSubject(t *testing.T) {
	t.Parallel()
	tier.ExpectNoBlame(t, faultsOf(breakages, teeth.NewLab(t, 0)))
}

// faultsOf puts faults into worlds, all of them in one Azure.
func faultsOf(faults []fault, l *simulated.Lab) []teeth.Fault {
	var all []teeth.Fault
	for _, f := range faults {
		all = append(all, teeth.Fault{
			Name: f.name, Requirement: f.requirement, Findings: []string{f.finding},
			World: func(t *testing.T, tests []suites.Test) *simulated.World {
				w := teeth.NewWorld(t, l, tests...)
				f.change(w)
				return w
			},
		})
	}
	return all
}
