package operations

import (
	"bytes"
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Names of the metrics: the webhook's own, and controller-runtime's.
const (
	mutationRequest  = "azwi_mutation_request"
	requestsTotal    = "controller_runtime_webhook_requests_total"
	requestsLatency  = "controller_runtime_webhook_latency_seconds"
	requestsInFlight = "controller_runtime_webhook_requests_in_flight"
)

// counters are what the metrics say of admission requests.
type counters struct {
	mutations float64 // mutationRequest's count, over all its labels
	seconds   float64 // and its sum
	answered  float64 // requestsTotal with code 200
	failures  float64 // and with any other
	timed     float64 // requestsLatency's count
	inFlight  float64
}

// namedCounter is one that moves with every admission.
type namedCounter struct {
	name  string
	value float64
}

func (c counters) named() []namedCounter {
	return []namedCounter{
		{mutationRequest + "_count", c.mutations},
		{requestsTotal + `{code="200"}`, c.answered},
		{requestsLatency + "_count", c.timed},
	}
}

// atLeast says whether all that move with every admission are at n.
func (c counters) atLeast(n int) bool {
	for _, each := range c.named() {
		if each.value < float64(n) {
			return false
		}
	}
	return c.inFlight == 0
}

func (c counters) plus(d counters) counters {
	return counters{
		c.mutations + d.mutations, c.seconds + d.seconds, c.answered + d.answered, c.failures + d.failures, c.timed + d.timed, c.inFlight + d.inFlight,
	}
}

// since is what has moved. What is in flight is so now.
func (c counters) since(before counters) counters {
	now := c.inFlight
	c = c.plus(counters{-before.mutations, -before.seconds, -before.answered, -before.failures, -before.timed, 0})
	c.inFlight = now
	return c
}

// parseCounters reads the text format. What is not there has counted nothing yet: OpenTelemetry shows a histogram with its first value only.
func parseCounters(text []byte, webhookPath string) (counters, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return counters{}, err
	}
	var c counters
	if family := families[mutationRequest]; family != nil {
		if family.GetType() != dto.MetricType_HISTOGRAM {
			return counters{}, fmt.Errorf("%s is a %s, want a histogram", mutationRequest, family.GetType())
		}
		for _, m := range family.GetMetric() {
			c.mutations += float64(m.GetHistogram().GetSampleCount())
			c.seconds += m.GetHistogram().GetSampleSum()
		}
	}
	for _, m := range ofWebhook(families[requestsTotal], webhookPath) {
		if label(m, "code") == "200" {
			c.answered += m.GetCounter().GetValue()
		} else {
			c.failures += m.GetCounter().GetValue()
		}
	}
	for _, m := range ofWebhook(families[requestsLatency], webhookPath) {
		c.timed += float64(m.GetHistogram().GetSampleCount())
	}
	for _, m := range ofWebhook(families[requestsInFlight], webhookPath) {
		c.inFlight += m.GetGauge().GetValue()
	}
	return c, nil
}

// ofWebhook are the metrics of controller-runtime's that are about the webhook at a path.
func ofWebhook(family *dto.MetricFamily, path string) []*dto.Metric {
	var found []*dto.Metric
	for _, m := range family.GetMetric() {
		if label(m, "webhook") == path {
			found = append(found, m)
		}
	}
	return found
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}
