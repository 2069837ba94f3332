package suites

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/reports"
)

// grace is how long a test may take to notice that its time is up before it is abandoned.
const grace = 5 * time.Second

var errTimeout = errors.New("the test's time is up")

// Execute runs one test and returns when it has finished with all its cases. slots bounds the
// cases that run at a time, over all tests that share it.
func Execute(ctx context.Context, env *Env, test Test, broken reports.Status, slots chan struct{}) reports.Test {
	result := reports.Test{
		ID: test.ID, Title: test.Title, Tier: string(test.Tier), Requirements: test.Requirements, Started: time.Now().UTC(),
	}
	x := &execution{env: env, test: test, broken: broken, slots: slots, rest: env.RESTConfig(test.ID), names: map[string]bool{}}
	body := &T{run: x, name: test.ID, kind: testBody}

	timeout := test.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w after %s", errTimeout, timeout))
	defer cancel()

	abandoned := false
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		guard(limited, body, func(ctx context.Context, t *T) {
			var err error
			x.kube, err = kubernetes.NewForConfig(x.rest)
			t.Must(err, "make a client for the test")
			test.Body(ctx, t)
		})
		x.wg.Wait()
	}()
	select {
	case <-finished:
	case <-limited.Done():
		select {
		case <-finished:
		case <-time.After(grace): // a deadline for a body that ignores its context, not a wait for an event
			abandoned = true
		}
		body.add(reports.Error, fmt.Sprintf("not finished: %v", context.Cause(limited)), "")
	}
	x.collect(body, &result)
	result.Seconds = time.Since(result.Started).Seconds()
	if env.NotPassed != nil && (result.Status == reports.Fail || result.Status == reports.Error) {
		env.NotPassed(ctx, &result, env.namespaceOf(test.ID))
	}
	if !abandoned {
		x.deleteNamespace(context.WithoutCancel(ctx))
	}
	return result
}

// collect closes the body and all cases into the result.
func (x *execution) collect(body *T, result *reports.Test) {
	x.mu.Lock()
	defer x.mu.Unlock()
	whole := body.result(len(x.cases) > 0)
	result.Status = whole.Status
	if len(x.cases) == 0 {
		// The body is its own only case.
		whole.Name, whole.Seconds = result.Title, time.Since(result.Started).Seconds()
		result.Cases = []reports.Case{whole}
		return
	}
	result.Findings, result.Notes = whole.Findings, whole.Notes
	for _, c := range x.cases {
		one := c.t.result(false)
		if !c.ended && one.Status != reports.Error {
			one.Status = reports.Error
			one.Findings = append(one.Findings, reports.Finding{Status: reports.Error, Message: "not finished when the test ended"})
		}
		one.Seconds = c.seconds
		result.Cases = append(result.Cases, one)
		result.Status = reports.Worst(result.Status, one.Status)
	}
}

// deleteNamespace asks for the deletion of the test's namespace; the run checks at its end that it is gone.
func (x *execution) deleteNamespace(ctx context.Context) {
	ns := x.env.namespaceOf(x.test.ID)
	if ns == "" || x.env.KeepNamespaces {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// An error is not lost: the run's clean-up deletes and waits for every namespace that is still there.
	_ = x.kube.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{})
}

// applyServiceAccount is the server-side apply patch of a service account.
func applyServiceAccount(sa *corev1.ServiceAccount) ([]byte, error) {
	return json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ServiceAccount",
		"metadata": map[string]any{"name": sa.Name, "annotations": sa.Annotations},
	})
}
