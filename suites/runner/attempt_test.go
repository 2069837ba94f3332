package runner

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/bundle"
)

// namespacesOnly is a cluster that creates namespaces and remembers who asked for which. Its API server says who it is.
type namespacesOnly struct {
	cluster.Cluster
	url       string
	mu        sync.Mutex
	made      []string
	apiServer string
}

func (c *namespacesOnly) Health(context.Context) error { return nil }

func newNamespacesOnly(t *testing.T) *namespacesOnly {
	c := &namespacesOnly{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/namespaces/kube-system/leases") {
			_ = json.NewEncoder(w).Encode(&coordinationv1.LeaseList{
				TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "LeaseList"},
				Items:    []coordinationv1.Lease{{Spec: coordinationv1.LeaseSpec{HolderIdentity: &c.apiServer}}},
			})
			return
		}
		var ns corev1.Namespace
		if err := json.NewDecoder(r.Body).Decode(&ns); err != nil || r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		c.mu.Lock()
		c.made = append(c.made, ns.Name+" by "+r.UserAgent())
		c.mu.Unlock()
		ns.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(ns)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *namespacesOnly) RESTConfig() (*rest.Config, error) {
	return &rest.Config{Host: c.url, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, nil
}

func newStage(t *testing.T, c cluster.Cluster, config Config) *stage {
	t.Helper()
	r := &run{
		config: config, options: Options{Rerun: func(test string) string { return "rerun " + test }}, observer: silent{},
		record: &reports.Record{}, catalogue: []suites.Requirement{{ID: "AA-01", Level: suites.Must}},
	}
	s := &stage{run: r, cluster: c, env: &suites.Env{
		Cluster: c, RunID: "r1", UserAgent: "wi-e2e/v1", KeepNamespaces: true, Record: func(string, string, string) error { return nil },
	}}
	s.bundles = bundle.NewWriter(filepath.Join(t.TempDir(), BundleDir), bundle.MaxFile, bundle.MaxAll, nil)
	if err := s.env.Connect(); err != nil {
		t.Fatal(err)
	}
	return s
}

// silent observes nothing.
type silent struct{}

func (silent) RunStarted(...string)        {}
func (silent) PhaseStarted(string)         {}
func (silent) PhaseNote(string)            {}
func (silent) PhaseFinished(reports.Phase) {}
func (silent) TierStarted(string, int)     {}
func (silent) TestFinished(reports.Test)   {}
func (silent) TierFinished(string)         {}

func TestEveryAttemptHasANamespaceOfItsOwn(t *testing.T) {
	c := newNamespacesOnly(t)
	s := newStage(t, c, Config{Repeat: 3})
	test := suites.Test{ID: "asks", Title: "It asks", Tier: suites.Admission, Requirements: []string{"AA-01"}, Body: func(ctx context.Context, t *suites.T) {
		first := t.Namespace(ctx)
		t.Check(first == t.Namespace(ctx), "the namespace changed within the attempt")
	}}
	s.run.runTests(t.Context(), s, &suites.Plan{Tests: []suites.Planned{{Test: test}}})
	want := []string{
		"wi-e2e-r1-asks by wi-e2e/v1 (asks)",
		"wi-e2e-r1-asks-attempt-2 by wi-e2e/v1 (asks-attempt-2)",
		"wi-e2e-r1-asks-attempt-3 by wi-e2e/v1 (asks-attempt-3)",
	}
	if diff := cmp.Diff(want, c.made); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if len(s.run.record.Tests) != 1 {
		t.Fatalf("%d tests in the record, want one", len(s.run.record.Tests))
	}
	got := s.run.record.Tests[0]
	if got.ID != "asks" || got.Status != reports.Pass || len(got.Attempts) != 3 || got.Rerun != "rerun asks" {
		t.Errorf("the test became %+v", got)
	}
}

func TestATestThatIsNotRepeatedHasNoAttempts(t *testing.T) {
	s := newStage(t, newNamespacesOnly(t), Config{})
	test := suites.Test{ID: "asks", Title: "It asks", Tier: suites.Admission, Requirements: []string{"AA-01"}, Body: func(_ context.Context, t *suites.T) { t.Check(true, "") }}
	s.run.runTests(t.Context(), s, &suites.Plan{Tests: []suites.Planned{{Test: test}}})
	if got := s.run.record.Tests[0]; got.Attempts != nil || got.Status != reports.Pass {
		t.Errorf("the test became %+v", got)
	}
}

func TestAnInterruptedRepetitionIsAnError(t *testing.T) {
	s := newStage(t, newNamespacesOnly(t), Config{Repeat: 3})
	ctx, cancel := context.WithCancel(t.Context())
	executed := 0
	test := suites.Test{ID: "asks", Title: "It asks", Tier: suites.Admission, Requirements: []string{"AA-01"}, Body: func(_ context.Context, t *suites.T) {
		executed++
		t.Check(true, "")
		cancel()
	}}
	s.run.runTests(ctx, s, &suites.Plan{Tests: []suites.Planned{{Test: test}}})
	if executed != 1 {
		t.Errorf("%d attempts after the interrupt", executed)
	}
}

func TestAnAttemptWhoseTrustCannotBeMadeIsAnError(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refusing.Close)
	s := newStage(t, &namespacesOnly{url: refusing.URL}, Config{})
	test := suites.Test{ID: "asks", Requirements: []string{"AA-01"}, Trust: []suites.Trust{{Account: "app"}}, Body: func(context.Context, *suites.T) {
		t.Error("the test ran without its trust")
	}}
	got := s.attempt(t.Context(), test, 2, make(chan struct{}, 1))
	if got.Status != reports.Error || got.ID != "asks" || len(got.Findings) != 1 || got.Findings[0].Message[:len("prepare attempt 2: ")] != "prepare attempt 2: " {
		t.Errorf("the attempt became %+v", got)
	}
}

func TestNamespacesOfManyAttemptsDoNotStay(t *testing.T) {
	for _, c := range []struct {
		name string
		run  run
		want bool
	}{
		{"on a cluster that goes", run{ownCluster: true}, true},
		{"on a cluster that goes, of many attempts", run{ownCluster: true, config: Config{Repeat: 2}}, false},
		{"on a cluster that stays", run{}, false},
		{"where they are wanted", run{config: Config{Repeat: 2, Cluster: ClusterConfig{Keep: true}}}, true},
	} {
		if got := c.run.keepNamespaces(); got != c.want {
			t.Errorf("%s: kept %v, want %v", c.name, got, c.want)
		}
	}
}
