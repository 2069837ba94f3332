package admission

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/selftest"
	"github.com/wi-e2e/wi-e2e/suites/simulated/teeth"
)

// TestMain lets the test binary be the init process of a local cluster's node.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.NodeVerb {
		os.Exit(local.NodeMain(os.Args[2:]))
	}
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestTheSuiteRaisesNoFalseAlarm runs the tier's tests on a real API server, against conformant webhooks of older profiles. That
// they notice what is wrong is proved by `wi-e2e selftest`.
func TestTheSuiteRaisesNoFalseAlarm(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: a local cluster needs it")
	}
	c := newCluster(t)
	lab := must(selftest.NewLab(t.Context(), c))(t)
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	kube := must(kubernetes.NewForConfig(must(c.RESTConfig())(t)))(t)
	catalogue := must(suites.Catalogue())(t)
	slots := make(chan struct{}, 16)

	for _, profile := range []subject.Profile{"1.0.0", "1.1.0", "1.4.0", "1.5.1", "1.6.0"} {
		t.Run("no false alarm in profile "+string(profile), func(t *testing.T) {
			t.Parallel()
			env := installTyped(t, lab, kube, profile)
			ran := 0
			for _, test := range Tests() {
				applies := slices.ContainsFunc(catalogue, func(r suites.Requirement) bool {
					return slices.Contains(test.Requirements, r.ID) && r.AppliesTo(profile)
				})
				// The typed webhook has no custom token endpoint, and answers at every path. What becomes of hundreds of fields has
				// little to do with the profile: once is enough.
				if !applies || slices.Contains(test.Needs, suites.CustomTokenEndpoint) || test.ID == "admission-review" ||
					test.Timeout > suites.DefaultTimeout && profile != "1.5.1" {
					continue
				}
				ran++
				result := suites.Execute(t.Context(), env, test, suites.ViolationStatus(test, catalogue, false), slots)
				if result.Status != reports.Pass {
					t.Errorf("%s is %s:\n%s", test.ID, result.Status, teeth.Findings(result, ""))
				}
			}
			if ran < 40 {
				t.Errorf("only %d tests were run", ran)
			}
		})
	}
}

func newCluster(t *testing.T) cluster.Cluster {
	t.Helper()
	const name = "teeth"
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	provider := must(local.New())(t)
	c := must(provider.Create(t.Context(), cluster.Spec{Name: name, Progress: func(note string) { t.Log(note) }}))(t)
	t.Cleanup(func() {
		if err := provider.Delete(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	return c
}

// installTyped registers the typed webhook of a profile.
func installTyped(t *testing.T, lab *selftest.Lab, kube kubernetes.Interface, profile subject.Profile) *suites.Env {
	t.Helper()
	w := newTypedWebhook(kube, profile)
	envs := must(lab.Install(t.Context(), selftest.Webhook{
		Run: "typed-" + strings.ReplaceAll(string(profile), ".", "-"), Handler: w, AnyNamespace: true,
		Subject: subject.Installed{
			Profile: profile, TenantID: w.tenant, Environment: "AzureUSGovernment", AuthorityHost: w.host, Audience: w.audience,
		},
	}))(t)
	return envs[0]
}

func must[V any](value V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
