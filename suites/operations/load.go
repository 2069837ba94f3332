package operations

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/suites"
)

func loadTests() []suites.Test {
	return []suites.Test{{
		ID:           "load-ramp",
		Title:        "Under load every labelled pod is admitted and mutated, and no replica of the webhook runs out of memory",
		Requirements: []string{"OPS-05"},
		Needs:        []suites.Capability{suites.OwnInstallation, suites.SubjectPods},
		Timeout:      3 * time.Minute, // a webhook that times out keeps a step waiting
		Body:         loadRamp,
	}}
}

// ramp is how many creates are under way at a time, step by step. All steps are taken, also when throughput has long stopped to rise: what
// fails under load, fails in queues. An API server keeps up to 25 connections to a webhook, so that the last step goes beyond that.
var ramp = []int{1, 2, 4, 8, 16, 32}

var (
	// step is as short as a 99th percentile allows.
	step = stretch{length: time.Second, creates: 100}
	// sustained is long enough for what grows with each admission to show.
	sustained = stretch{length: 10 * time.Second, creates: 1000}
)

func loadRamp(ctx context.Context, t *suites.T) {
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	before := replicasOf(webhook.pods(ctx, t))
	t.Check(len(before.unlimited()) == 0, "there is no memory limit to stay under: container %s has none", listed(before.unlimited()))

	kube := loadClient(ctx, t)
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "load", nil)
	creates := func(pod []byte) func(context.Context) (outcome, string) {
		return func(ctx context.Context) (outcome, string) { return judge(dryRun(ctx, kube, ns, pod)) }
	}
	labelled := load{want: injected, send: creates(encoded(t, streamedPod(sa, map[string]string{suites.UseLabel: "true"})))}
	unlabelled := load{want: untouched, send: creates(encoded(t, streamedPod(sa, nil)))}

	ramped, held := climb(ctx, t, unlabelled, labelled)
	if held {
		t.Note("labelled creates saturate at %d at a time", saturation(ramped).concurrency)
		began := time.Now()
		// The ramp's end is beyond saturation: there is always one more create that waits.
		m := labelled.run(ctx, ramp[len(ramp)-1], sustained)
		t.Note("sustained for %.1f s: %s", m.took.Seconds(), m.figures())
		held = expectHeld(ctx, t, "labelled", m)
		if held {
			noteMemory(ctx, t, before, began)
		}
	}
	expectUndisturbed(ctx, t, webhook, before, held)
}

// climb takes the steps of the ramp until a create fails, each without the label and then with it, so that a machine which becomes slower
// meanwhile is the same for both. It returns the labelled steps, and whether all creates were as they should be.
func climb(ctx context.Context, t *suites.T, unlabelled, labelled load) (ramped []measured, held bool) {
	for _, n := range ramp {
		plain := unlabelled.run(ctx, n, step)
		if !expectHeld(ctx, t, "unlabelled", plain) {
			return ramped, false
		}
		mutated := labelled.run(ctx, n, step)
		ramped = append(ramped, mutated)
		if !expectHeld(ctx, t, "labelled", mutated) {
			return ramped, false
		}
		t.Note("%d at a time: unlabelled %s; labelled %s; the webhook's own cost %s", n, plain.figures(), mutated.figures(), cost(plain, mutated))
	}
	return ramped, true
}

// expectHeld expects that none of the creates went wrong through the webhook. What the API server did by itself is an error, unless
// something that is the webhook's own explains it.
func expectHeld(ctx context.Context, t *suites.T, kind string, m measured) bool {
	t.Must(context.Cause(ctx), "create %s pods, %d at a time", kind, m.concurrency)
	webhooks, own := m.split()
	held := t.Check(len(webhooks) == 0, "%d of %d %s creates failed with %d at a time: %s", len(webhooks), m.sent(), kind, m.concurrency, firstOf(webhooks))
	if held && len(own) > 0 {
		t.Broken("the API server itself failed %d of %d %s creates with %d at a time: %s", len(own), m.sent(), kind, m.concurrency, firstOf(own))
	}
	return held
}

// loadClient has the compact encoding, as the harness shares the machine with what it measures.
func loadClient(ctx context.Context, t *suites.T) kubernetes.Interface {
	config := t.REST()
	config.QPS = -1
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	return ownConnections(ctx, t, config)
}

// cost is the difference of latencies, at one level of load, that the webhook makes.
func cost(unlabelled, labelled measured) string {
	text := ""
	for _, p := range []int{50, 95, 99} {
		if text != "" {
			text += ", "
		}
		difference := percentile(labelled.latencies, p) - percentile(unlabelled.latencies, p)
		text += fmt.Sprintf("p%d %+.1f ms", p, milliseconds(difference))
	}
	return text
}
