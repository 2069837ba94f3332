package suites

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/reports"
)

// execute runs a body against an API server that nobody asks anything.
func execute(ctx context.Context, test Test) reports.Test {
	env := &Env{UserAgent: "wi-e2e/test", KeepNamespaces: true, rest: &rest.Config{Host: "http://127.0.0.1:1"}}
	if test.ID == "" {
		test.ID, test.Title = "sample", "A sample holds"
	}
	return Execute(ctx, env, test, reports.Fail, make(chan struct{}, 4))
}

func TestAnOutcomeIsWhatTheBodyFound(t *testing.T) {
	for _, c := range []struct {
		name string
		body func(ctx context.Context, t *T)
		want reports.Status
		says string
	}{
		{"an expectation that holds passes", func(_ context.Context, t *T) { t.Check(true, "") }, reports.Pass, ""},
		{"one that does not fails", func(_ context.Context, t *T) { t.Check(false, "port %d", 8000) }, reports.Fail, "port 8000"},
		{"a difference fails and is kept", func(_ context.Context, t *T) { t.Equal("the name", "a", "b") }, reports.Fail, "the name is not as expected"},
		{"no expectation at all is an error", func(context.Context, *T) {}, reports.Error, "no expectation was evaluated"},
		{"a broken harness is an error", func(_ context.Context, t *T) { t.Check(true, ""); t.Must(errors.New("no route"), "reach it") }, reports.Error, "reach it: no route"},
		{"an error outweighs a failure", func(_ context.Context, t *T) { t.Check(false, "x"); t.Broken("y") }, reports.Error, "x"},
		{"a panic is an error", func(context.Context, *T) { panic("oops") }, reports.Error, "panic: oops"},
		{"Require ends the body", func(_ context.Context, t *T) { t.Require(false, "stop"); panic("went on") }, reports.Fail, "stop"},
		{"a case inside a case is an error", func(ctx context.Context, t *T) {
			t.Case(ctx, "outer", func(ctx context.Context, t *T) { t.Case(ctx, "inner", func(context.Context, *T) {}) })
		}, reports.Error, ""},
		{"two cases of one name are an error", func(ctx context.Context, t *T) {
			ok := func(_ context.Context, t *T) { t.Check(true, "") }
			t.Case(ctx, "same", ok)
			t.Case(ctx, "same", ok)
		}, reports.Error, `case "same" is declared twice`},
		{"a case of a requirement that is not the test's is an error", func(ctx context.Context, t *T) {
			t.CaseOf(ctx, "ZZ-99", "foreign", func(_ context.Context, t *T) { t.Check(true, "") })
		}, reports.Error, `case "foreign" is of ZZ-99, which the test is not`},
		{"a case that checks nothing is an error", func(ctx context.Context, t *T) { t.Case(ctx, "empty", func(context.Context, *T) {}) }, reports.Error, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := execute(t.Context(), Test{Body: c.body})
			if got.Status != c.want {
				t.Fatalf("status %s, want %s: %+v", got.Status, c.want, got)
			}
			var said []string
			for _, f := range got.Findings {
				said = append(said, f.Message)
			}
			for _, k := range got.Cases {
				for _, f := range k.Findings {
					said = append(said, f.Message)
				}
			}
			if !strings.Contains(strings.Join(said, "\n"), c.says) {
				t.Errorf("findings %q do not say %q", said, c.says)
			}
		})
	}
}

func TestCasesAreReportedOneByOneInTheOrderOfTheirDeclaration(t *testing.T) {
	got := execute(t.Context(), Test{Body: func(ctx context.Context, t *T) {
		gate := make(chan struct{})
		t.Case(ctx, "first, but last to end", func(_ context.Context, t *T) { <-gate; t.Check(true, "") })
		t.Case(ctx, "second", func(_ context.Context, t *T) { defer close(gate); t.Check(false, "no") })
	}})
	var names []string
	var statuses []reports.Status
	for _, c := range got.Cases {
		names, statuses = append(names, c.Name), append(statuses, c.Status)
	}
	if diff := cmp.Diff([]string{"first, but last to end", "second"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]reports.Status{reports.Pass, reports.Fail}, statuses); diff != "" {
		t.Error(diff)
	}
	if got.Status != reports.Fail {
		t.Errorf("the test is %s, want the worst of its cases", got.Status)
	}
}

func TestACaseIsOfAllRequirementsOfItsTestUnlessItSaysOfWhich(t *testing.T) {
	ok := func(_ context.Context, t *T) { t.Check(true, "") }
	got := execute(t.Context(), Test{Requirements: []string{"AA-01", "AA-02"}, Body: func(ctx context.Context, t *T) {
		t.Case(ctx, "all", ok)
		t.CaseOf(ctx, "AA-02", "one", ok)
		t.CaseOf(ctx, "", "all again", ok)
	}})
	requirements := map[string][]string{}
	for _, c := range got.Cases {
		requirements[c.Name] = c.Requirements
	}
	if diff := cmp.Diff(map[string][]string{"all": nil, "one": {"AA-02"}, "all again": nil}, requirements); diff != "" {
		t.Errorf("requirements of cases (-want +got):\n%s", diff)
	}
	if got.Status != reports.Pass {
		t.Errorf("the test is %s: %+v", got.Status, got)
	}
}

func TestWhatRanIsKeptWithItsCaseHoweverThatEnds(t *testing.T) {
	one, other := reports.Workload{Name: "go-msal"}, reports.Workload{Name: "java-msal", Error: "refused"}
	got := execute(t.Context(), Test{Body: func(ctx context.Context, t *T) {
		t.Case(ctx, "two", func(_ context.Context, t *T) { t.Ran(one); t.Ran(other); t.Require(false, "stop") })
		t.Case(ctx, "none", func(_ context.Context, t *T) { t.Check(true, "") })
	}})
	ran := map[string][]reports.Workload{}
	for _, c := range got.Cases {
		ran[c.Name] = c.Workloads
	}
	if diff := cmp.Diff(map[string][]reports.Workload{"two": {one, other}, "none": nil}, ran); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}

	got = execute(t.Context(), Test{Body: func(_ context.Context, t *T) { t.Ran(one); t.Check(true, "") }})
	if diff := cmp.Diff([]reports.Workload{one}, got.Cases[0].Workloads); diff != "" {
		t.Errorf("workloads of a body that is its only case (-want +got):\n%s", diff)
	}
}

func TestATestThatRunsOutOfTimeIsAnError(t *testing.T) {
	got := execute(t.Context(), Test{Timeout: 20 * time.Millisecond, Body: func(ctx context.Context, t *T) {
		t.Check(true, "")
		<-ctx.Done()
	}})
	if got.Status != reports.Error || len(got.Findings)+len(got.Cases[0].Findings) == 0 {
		t.Fatalf("status %s: %+v", got.Status, got)
	}
	if text := got.Cases[0].Findings[0].Message; !strings.Contains(text, "time is up after 20ms") {
		t.Errorf("the finding is %q", text)
	}
}

func TestATestWhoseRunIsInterruptedIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := execute(ctx, Test{Body: func(_ context.Context, t *T) { t.Check(true, "") }})
	if got.Status != reports.Error {
		t.Errorf("status %s, want error", got.Status)
	}
}

func TestSlotsBoundTheCasesThatRunAtATime(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	execute(t.Context(), Test{Body: func(ctx context.Context, t *T) {
		for i := range 40 {
			t.Case(ctx, strings.Repeat("x", i+1), func(_ context.Context, t *T) {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				t.Check(true, "")
				mu.Lock()
				running--
				mu.Unlock()
			})
		}
	}})
	if most > 4 {
		t.Errorf("%d cases ran at a time, want at most 4", most)
	}
}

func TestEveryRequestNamesItsTest(t *testing.T) {
	agents := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion":"v1.36.3"}`))
	}))
	defer server.Close()
	env := &Env{UserAgent: "wi-e2e/v1", KeepNamespaces: true, rest: &rest.Config{Host: server.URL}}
	Execute(t.Context(), env, Test{ID: "asks", Title: "It asks", Body: func(_ context.Context, t *T) {
		_, err := t.Kube().Discovery().ServerVersion()
		t.Must(err, "ask")
		t.Check(true, "")
	}}, reports.Fail, make(chan struct{}, 1))
	if got := <-agents; got != "wi-e2e/v1 (asks)" {
		t.Errorf("User-Agent %q", got)
	}
}

func TestNamespaceNames(t *testing.T) {
	long := strings.Repeat("very-long-", 10) + "a"
	a, b := namespaceName("run", long), namespaceName("run", long[:len(long)-1]+"b")
	if a == b {
		t.Errorf("two tests share the namespace %s", a)
	}
	for _, name := range []string{a, b, namespaceName("run", "short")} {
		if len(name) > 63 {
			t.Errorf("%s has %d characters", name, len(name))
		}
	}
}

// TestWhatDidNotPassIsToldWhileItsNamespaceIsThere runs tests on an API server that knows namespaces, and asks what the hook and the server saw,
// in order.
func TestWhatDidNotPassIsToldWhileItsNamespaceIsThere(t *testing.T) {
	for _, c := range []struct {
		name string
		body func(t *T)
		want []string
	}{
		{"one that failed", func(t *T) { t.Check(false, "no") }, []string{"POST", "told wi-e2e-r1-sample: fail", "DELETE"}},
		{"one that broke", func(t *T) { t.Broken("oops") }, []string{"POST", "told wi-e2e-r1-sample: error", "DELETE"}},
		{"one that passed is not told", func(t *T) { t.Check(true, "") }, []string{"POST", "DELETE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen = append(seen, r.Method)
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"kind": "Namespace", "apiVersion": "v1"}`))
			}))
			defer server.Close()
			env := &Env{
				RunID: "r1", rest: &rest.Config{Host: server.URL}, Record: func(string, string, string) error { return nil },
				NotPassed: func(_ context.Context, result *reports.Test, namespace string) {
					seen = append(seen, "told "+namespace+": "+string(result.Status))
					result.Bundle = "bundle/sample"
				},
			}
			got := Execute(t.Context(), env, Test{ID: "sample", Body: func(ctx context.Context, t *T) {
				t.Namespace(ctx)
				c.body(t)
			}}, reports.Fail, make(chan struct{}, 1))
			if diff := cmp.Diff(c.want, seen); diff != "" {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
			if told := len(c.want) == 3; (got.Bundle != "") != told {
				t.Errorf("the result has the bundle %q", got.Bundle)
			}
		})
	}
}
