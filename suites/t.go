package suites

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
)

// T is what the body of a test, or of one of its cases, works with. Expectations about the
// subject go through Check, Equal and their stopping forms, which count them; what the harness itself needs goes
// through Must. A body or case that evaluated no expectation is an error.
type T struct {
	run          *execution
	name         string
	kind         kind
	requirements []string // of a case; empty for all of the test's

	mu       sync.Mutex
	checks   int
	findings []reports.Finding
	notes    []string
	ran      []reports.Workload
}

type kind int

const (
	testBody kind = iota
	testCase
)

// execution is the run of one test, shared by its body and cases.
type execution struct {
	env    *Env
	test   Test
	broken reports.Status // what a violated expectation means: Fail or Warn
	slots  chan struct{}
	kube   kubernetes.Interface
	rest   *rest.Config

	wg    sync.WaitGroup
	mu    sync.Mutex
	cases []*caseRun
	names map[string]bool
}

type caseRun struct {
	t       *T
	started time.Time
	seconds float64
	ended   bool
}

// Case runs body as one reported case of the test, beside its other cases. Cases must not depend on each
// other's order; what they share is set up before the first one. Its name is unique within the test.
func (t *T) Case(ctx context.Context, name string, body func(ctx context.Context, t *T)) {
	t.CaseOf(ctx, "", name, body)
}

// CaseOf is Case for one that is about one of the test's requirements only.
func (t *T) CaseOf(ctx context.Context, requirement, name string, body func(ctx context.Context, t *T)) {
	if t.kind != testBody {
		t.Broken("case %q is declared inside a case", name)
	}
	x := t.run
	c := &caseRun{t: &T{run: x, name: name, kind: testCase}}
	if requirement != "" {
		if !slices.Contains(x.test.Requirements, requirement) {
			t.Broken("case %q is of %s, which the test is not", name, requirement)
		}
		c.t.requirements = []string{requirement}
	}
	x.mu.Lock()
	duplicate := x.names[name]
	x.names[name] = true
	if !duplicate {
		x.cases = append(x.cases, c)
	}
	x.mu.Unlock()
	if duplicate {
		t.Broken("case %q is declared twice", name)
	}
	x.wg.Add(1)
	go func() {
		defer x.wg.Done()
		select {
		case x.slots <- struct{}{}:
			defer func() { <-x.slots }()
		case <-ctx.Done():
		}
		started := time.Now()
		guard(ctx, c.t, body)
		x.mu.Lock()
		c.started, c.seconds, c.ended = started, time.Since(started).Seconds(), true
		x.mu.Unlock()
	}()
}

// guard runs body in a goroutine of its own, so that it can be stopped by Goexit, and turns a
// panic into an error of this body alone.
func guard(ctx context.Context, t *T, body func(ctx context.Context, t *T)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				stack := make([]byte, 16<<10)
				stack = stack[:runtime.Stack(stack, false)]
				t.add(reports.Error, fmt.Sprintf("panic: %v\n%s", p, stack), "")
			}
		}()
		if ctx.Err() != nil {
			t.Broken("not started: %v", context.Cause(ctx))
		}
		body(ctx, t)
	}()
	<-done
}

func (t *T) add(status reports.Status, message, diff string) {
	t.found(reports.Finding{Status: status, Message: message, Diff: diff})
}

func (t *T) found(f reports.Finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.findings = append(t.findings, f)
}

// Check records one expectation about the subject; format says what is wrong if it does not hold.
func (t *T) Check(ok bool, format string, args ...any) bool {
	t.mu.Lock()
	t.checks++
	t.mu.Unlock()
	if !ok {
		t.add(t.run.broken, fmt.Sprintf(format, args...), "")
	}
	return ok
}

// Equal records the expectation that got is want, and keeps the difference as evidence if it is not.
func (t *T) Equal(what string, want, got any, opts ...cmp.Option) bool {
	// cmp mixes in non-breaking spaces at random, so that nobody relies on its format.
	diff := strings.ReplaceAll(cmp.Diff(want, got, opts...), "\u00a0", " ")
	t.mu.Lock()
	t.checks++
	t.mu.Unlock()
	if diff != "" {
		t.add(t.run.broken, what+" is not as expected", diff)
	}
	return diff == ""
}

// Require is Check; if it does not hold, the body ends here.
func (t *T) Require(ok bool, format string, args ...any) {
	if !t.Check(ok, format, args...) {
		runtime.Goexit()
	}
}

// Must ends the body as an error if the harness could not do what it needed to do. The error's type may tell its cause,
// which decides whether the test is executed again (see Repeat).
func (t *T) Must(err error, format string, args ...any) {
	if err != nil {
		t.found(reports.Finding{
			Status: reports.Error, Message: fmt.Sprintf("%s: %v", fmt.Sprintf(format, args...), err), Cause: t.run.env.causeOf(err),
		})
		runtime.Goexit()
	}
}

// Broken ends the body as an error: the harness or its environment broke, so nothing is known about the subject.
func (t *T) Broken(format string, args ...any) {
	t.add(reports.Error, fmt.Sprintf(format, args...), "")
	runtime.Goexit()
}

// Note keeps evidence that is worth reading although nothing is wrong.
func (t *T) Note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Ran keeps what a workload came to.
func (t *T) Ran(w reports.Workload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ran = append(t.ran, w)
}

// Subject is the webhook under test.
func (t *T) Subject() *subject.Installed { return t.run.env.Subject }

// Env is what the run stands on.
func (t *T) Env() *Env { return t.run.env }

// Kube is a client whose requests name this test.
func (t *T) Kube() kubernetes.Interface { return t.run.kube }

// REST is a client configuration whose requests name this test.
func (t *T) REST() *rest.Config { return rest.CopyConfig(t.run.rest) }

// Namespace is the test's own namespace, made on first use.
func (t *T) Namespace(ctx context.Context) string {
	ns, err := t.run.env.Namespace(ctx, t.run.kube, t.run.test.ID)
	t.Must(err, "prepare the test's namespace")
	return ns
}

// ServiceAccount creates a service account in the test's namespace and returns its name. For "default", which the
// control plane creates as well, whichever comes first, the annotations are put on it.
func (t *T) ServiceAccount(ctx context.Context, name string, annotations map[string]string) string {
	ns := t.Namespace(ctx)
	accounts := t.Kube().CoreV1().ServiceAccounts(ns)
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	var err error
	if name == "default" {
		var patch []byte
		patch, err = applyServiceAccount(sa)
		t.Must(err, "encode service account %s", name)
		force := true
		_, err = accounts.Patch(ctx, name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager, Force: &force})
	} else {
		_, err = accounts.Create(ctx, sa, metav1.CreateOptions{})
	}
	t.Must(err, "create service account %s/%s", ns, name)
	return name
}

// result is the state of the body or case, closed: an open-ended one that checked nothing is an error.
func (t *T) result(hasCases bool) reports.Case {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := reports.Case{Name: t.name, Requirements: t.requirements, Checks: t.checks, Findings: slices.Clone(t.findings), Notes: slices.Clone(t.notes), Workloads: slices.Clone(t.ran)}
	if len(c.Findings) == 0 && t.checks == 0 && !hasCases {
		c.Findings = append(c.Findings, reports.Finding{Status: reports.Error, Message: "no expectation was evaluated: this proves nothing"})
	}
	c.Status = reports.Pass
	for _, f := range c.Findings {
		c.Status = reports.Worst(c.Status, f.Status)
	}
	return c
}
