package operations

import (
	"strings"
	"testing"
)

// page is what a real webhook serves, with labels of OpenTelemetry's, beside metrics that are not meant.
const page = `# TYPE azwi_mutation_request histogram
azwi_mutation_request_bucket{namespace="a",service_name="webhook",le="0.1"} 2
azwi_mutation_request_bucket{namespace="a",service_name="webhook",le="+Inf"} 3
azwi_mutation_request_sum{namespace="a",service_name="webhook"} 0.25
azwi_mutation_request_count{namespace="a",service_name="webhook"} 3
azwi_mutation_request_bucket{namespace="b",service_name="webhook",le="+Inf"} 4
azwi_mutation_request_sum{namespace="b",service_name="webhook"} 0.5
azwi_mutation_request_count{namespace="b",service_name="webhook"} 4
# TYPE controller_runtime_webhook_latency_seconds histogram
controller_runtime_webhook_latency_seconds_bucket{webhook="/mutate-v1-pod",le="+Inf"} 6
controller_runtime_webhook_latency_seconds_sum{webhook="/mutate-v1-pod"} 1
controller_runtime_webhook_latency_seconds_count{webhook="/mutate-v1-pod"} 6
# TYPE controller_runtime_webhook_requests_in_flight gauge
controller_runtime_webhook_requests_in_flight{webhook="/mutate-v1-pod"} 1
controller_runtime_webhook_requests_in_flight{webhook="/other"} 9
# TYPE controller_runtime_webhook_requests_total counter
controller_runtime_webhook_requests_total{code="200",webhook="/mutate-v1-pod"} 5
controller_runtime_webhook_requests_total{code="500",webhook="/mutate-v1-pod"} 2
controller_runtime_webhook_requests_total{code="200",webhook="/other"} 90
`

func TestCountersOfAPage(t *testing.T) {
	want := counters{mutations: 7, seconds: 0.75, answered: 5, failures: 2, timed: 6, inFlight: 1}
	if got, err := parseCounters([]byte(page), "/mutate-v1-pod"); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, err := parseCounters(nil, "/mutate-v1-pod"); err != nil || got != (counters{}) {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	for what, text := range map[string]string{
		"a page of something else":              "<html>",
		"a metric of that name of another type": "# TYPE azwi_mutation_request counter\nazwi_mutation_request 3\n",
	} {
		if got, err := parseCounters([]byte(text), "/mutate-v1-pod"); err == nil {
			t.Errorf("%s is read as %v", what, got)
		}
	}
}

func TestWhatMoves(t *testing.T) {
	before := counters{mutations: 7, seconds: 1, answered: 5, failures: 2, timed: 6, inFlight: 3}
	moved := before.plus(counters{mutations: 2, seconds: 0.5, answered: 2, timed: 2}).since(before)
	if want := (counters{mutations: 2, seconds: 0.5, answered: 2, timed: 2, inFlight: 3}); moved != want {
		t.Errorf("moved %v, want %v", moved, want)
	}
	if moved.atLeast(2) {
		t.Error("all is counted while requests are in flight")
	}
	moved.inFlight = 0
	if !moved.atLeast(2) || moved.atLeast(3) {
		t.Errorf("%v is not exactly 2", moved)
	}
	for i, c := range []counters{{mutations: 1, answered: 2, timed: 2}, {mutations: 2, answered: 1, timed: 2}, {mutations: 2, answered: 2, timed: 1}} {
		if c.atLeast(2) {
			t.Errorf("%d: %s is taken for 2 of each", i, c)
		}
	}
	if text := moved.String(); !strings.Contains(text, "azwi_mutation_request_count 2") {
		t.Errorf("it says %q", text)
	}
}
