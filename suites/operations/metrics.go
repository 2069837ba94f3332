package operations

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Ports of the webhook's pods, which are part of the contract (OPS-04).
const (
	healthPort  = 9440
	metricsPort = 8095
)

func metricsTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "probes",
			Title:        "Every replica answers /healthz and /readyz",
			Requirements: []string{"OPS-04"},
			Needs:        disturbing,
			Body:         probes,
		},
		{
			ID:           "metrics",
			Title:        "The webhook's metrics move by exactly the number of admissions sent",
			Requirements: []string{"OPS-04"},
			Needs:        disturbing,
			Body:         countedAdmissions,
		},
	}
}

// probes asks as monitoring does, which is not the kubelet.
func probes(ctx context.Context, t *suites.T) {
	for _, r := range replicaPages(ctx, t, settled(ctx, t), healthPort) {
		for _, path := range []string{"/healthz", "/readyz"} {
			status, body, err := r.get(ctx, t, path)
			if t.Check(err == nil, "replica %s does not answer %s on port %d: %v", r.name, path, healthPort, err) {
				t.Check(status == http.StatusOK, "replica %s answers %s with HTTP %d, want 200: %.200s", r.name, path, status, body)
			}
		}
	}
}

// How many creates of each kind are sent: different numbers, so that a finding tells what was counted.
const (
	unlabelledCreates = 11
	mutatedCreates    = 23
	deniedCreates     = 7
)

// expirationAnnotation with a value below the minimum has the webhook refuse a pod (EXP-03).
const expirationAnnotation = "azure.workload.identity/service-account-token-expiration"

// countedWithin is for a counter that moves only after its answer was sent.
const countedWithin = 5 * time.Second

// countedAdmissions sends pods whose containers stay as they are but for the injection, so that the API server calls the webhook once for
// each, and never again (reinvocation).
func countedAdmissions(ctx context.Context, t *suites.T) {
	replicas := replicaPages(ctx, t, settled(ctx, t), metricsPort)
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "counted", nil)
	kube, err := kubernetes.NewForConfig(t.REST())
	t.Must(err, "make a client")
	send := func(n int, labels, annotations map[string]string, want outcome) {
		pod := streamedPod(sa, labels)
		pod.Annotations = annotations
		body := encoded(t, pod)
		for range n {
			became, message := judge(dryRun(ctx, kube, ns, body))
			if became == refused || became == unanswered {
				t.Broken("the API server itself failed a create: %s", message)
			}
			t.Require(became == want, "a pod that was to be counted is %s, want %s: %s", became, want, message)
		}
	}
	labelled := map[string]string{suites.UseLabel: "true"}

	began := scraped(ctx, t, replicas)
	send(unlabelledCreates, nil, nil, untouched)
	idle := scraped(ctx, t, replicas).since(began)
	t.Check(idle == counters{}, "%d creates of unlabelled pods move the webhook's metrics: %s", unlabelledCreates, idle)

	admitted := scraped(ctx, t, replicas)
	send(mutatedCreates, labelled, nil, injected)
	expectCounted(ctx, t, replicas, admitted, mutatedCreates, "admitted")

	declined := scraped(ctx, t, replicas)
	send(deniedCreates, labelled, map[string]string{expirationAnnotation: "60"}, denied)
	expectCounted(ctx, t, replicas, declined, deniedCreates, "refused")
}

// expectCounted waits until all that was sent can have been counted, and expects just that.
func expectCounted(ctx context.Context, t *suites.T, replicas []replicaPage, before counters, n int, which string) {
	limited, cancel := context.WithTimeout(ctx, countedWithin)
	defer cancel()
	var moved counters
	// There is nothing to watch for a counter of a web page.
	err := wait.PollUntilContextCancel(limited, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		moved = scraped(ctx, t, replicas).since(before)
		return moved.atLeast(n), nil
	})
	if ctx.Err() != nil {
		t.Must(err, "wait until admissions are counted")
	}
	t.Note("%d labelled pods were %s: %s", n, which, moved)
	for _, c := range moved.named() {
		t.Check(c.value == float64(n), "%s moves by %v for %d %s pods", c.name, c.value, n, which)
	}
	t.Check(moved.failures == 0, "%s{code} other than 200 moves by %v for %d %s pods: a refusal is an answer like any other", requestsTotal, moved.failures, n, which)
	t.Check(moved.inFlight == 0, "%s is %v when all is answered", requestsInFlight, moved.inFlight)
	t.Check(moved.seconds > 0, "%s_sum does not move", mutationRequest)
}

// scraped sums the metrics up over all replicas: which of them the API server calls is its own affair.
func scraped(ctx context.Context, t *suites.T, replicas []replicaPage) counters {
	var sum counters
	for _, r := range replicas {
		status, body, err := r.get(ctx, t, "/metrics")
		t.Require(err == nil, "replica %s serves no metrics on port %d: %v", r.name, metricsPort, err)
		t.Require(status == http.StatusOK, "replica %s answers /metrics with HTTP %d, want 200: %.200s", r.name, status, body)
		c, err := parseCounters(body, t.Subject().Path)
		t.Require(err == nil, "replica %s serves metrics that cannot be read: %v", r.name, err)
		sum = sum.plus(c)
	}
	return sum
}

// String tells what moved.
func (c counters) String() string {
	text := ""
	for _, n := range c.named() {
		text += fmt.Sprintf("%s %v, ", n.name, n.value)
	}
	return text + fmt.Sprintf("other codes %v, in flight %v", c.failures, c.inFlight)
}
