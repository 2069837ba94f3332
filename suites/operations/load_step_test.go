package operations

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// busyFor is a create that is answered so after that time.
func busyFor(took time.Duration, became outcome) func(context.Context) (outcome, string) {
	return func(ctx context.Context) (outcome, string) {
		select {
		case <-time.After(took):
			return became, "said"
		case <-ctx.Done():
			return unanswered, context.Cause(ctx).Error()
		}
	}
}

func TestALoadKeepsSoManyCreatesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		create := busyFor(10*ms, injected)
		l := load{want: injected, send: func(ctx context.Context) (outcome, string) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			return create(ctx)
		}}
		m := l.run(t.Context(), 4, stretch{length: time.Second})
		if m.sent() != 400 || m.took != time.Second || m.rate() != 400 {
			t.Errorf("%d creates in %s, %.0f/s; want 400 in a second", m.sent(), m.took, m.rate())
		}
		if most.Load() > 4 {
			t.Errorf("%d creates at a time, want 4", most.Load())
		}
		if want := "400/s, p50 10.0 ms, p95 10.0 ms, p99 10.0 ms (400 creates)"; m.figures() != want {
			t.Errorf("the figures are %s, want %s", m.figures(), want)
		}
	})
}

func TestALoadLastsUntilItsPercentilesMeanSomething(t *testing.T) {
	tests := []struct {
		name     string
		each     time.Duration
		creates  int32
		wantTook time.Duration
	}{
		{"enough in time", 10 * ms, 100, time.Second},
		{"longer where creates are slow", 20 * ms, 100, 2 * time.Second},
		{"not for ever", 500 * ms, 100, patience * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := load{want: injected, send: busyFor(tt.each, injected)}
				if m := l.run(t.Context(), 1, stretch{length: time.Second, creates: tt.creates}); m.took != tt.wantTook {
					t.Errorf("it took %s, want %s", m.took, tt.wantTook)
				}
			})
		})
	}
}

func TestEachCreateThatIsNotAsWantedCounts(t *testing.T) {
	tests := []struct {
		name               string
		want, became       outcome
		webhooks, own, all bool
	}{
		{"a labelled pod that is mutated is as wanted", injected, injected, false, false, true},
		{"one that is not", injected, untouched, true, false, false},
		{"one that the webhook refuses", injected, denied, true, false, false},
		{"one for which it does not answer", injected, callFailed, true, false, false},
		{"one that the API server refuses by itself", injected, refused, false, true, false},
		{"one that it does not answer", injected, unanswered, false, true, false},
		{"an unlabelled pod that is left alone is as wanted", untouched, untouched, false, false, true},
		{"one that is mutated", untouched, injected, true, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := load{want: tt.want, send: busyFor(ms, tt.became)}.run(t.Context(), 1, stretch{length: 5 * ms})
				webhooks, own := m.split()
				if (len(webhooks) > 0) != tt.webhooks || (len(own) > 0) != tt.own || (len(m.latencies) > 0) != tt.all {
					t.Errorf("%d are the webhook's, %d the API server's, %d as wanted", len(webhooks), len(own), len(m.latencies))
				}
			})
		})
	}
}

func TestALoadEndsWhenAWebhookIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := load{want: injected, send: busyFor(time.Second, callFailed)}.run(t.Context(), 4, stretch{length: time.Hour})
		if len(m.failed) < enoughFailures || len(m.failed) > enoughFailures+3 {
			t.Errorf("%d failures, want it to end after %d", len(m.failed), enoughFailures)
		}
		if !strings.Contains(firstOf(m.failed), "callFailed said") {
			t.Errorf("the first failure is told as %q", firstOf(m.failed))
		}
	})
}

func TestWhatATestsEndCutsOffIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*ms)
		defer cancel()
		m := load{want: injected, send: busyFor(10*ms, injected)}.run(ctx, 1, stretch{length: time.Hour})
		if len(m.failed) > 0 || len(m.latencies) != 2 {
			t.Errorf("%d failed, %d as wanted; want 2 as wanted", len(m.failed), len(m.latencies))
		}
	})
}

func TestACreateThatIsNeverAnsweredIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := load{want: injected, send: busyFor(time.Hour, injected)}.run(t.Context(), 1, stretch{length: time.Second})
		if len(m.failed) != 1 || m.failed[0].outcome != unanswered || m.took != answerWithin {
			t.Errorf("%v after %s, want one unanswered after %s", m.failed, m.took, answerWithin)
		}
	})
}

func TestThroughputIsSaturatedWhereItDoesNotRiseAnyMore(t *testing.T) {
	tests := []struct {
		name  string
		rates []int
		want  int
	}{
		{"it rises and stays", []int{100, 190, 300, 305, 290}, 4},
		{"it rises to the end", []int{100, 200, 400, 800, 1600}, 16},
		{"it falls", []int{100, 80, 60, 40, 20}, 1},
		{"small steps add up", []int{100, 104, 108, 110, 112}, 4},
		{"one step of noise", []int{100, 200, 150, 260, 250}, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var steps []measured
			for i, r := range tt.rates {
				steps = append(steps, measured{concurrency: 1 << i, took: time.Second, latencies: make([]time.Duration, r)})
			}
			if got := saturation(steps).concurrency; got != tt.want {
				t.Errorf("saturated at %d, want %d", got, tt.want)
			}
		})
	}
}

func TestTheWebhooksCostIsADifference(t *testing.T) {
	latencies := func(each time.Duration) []time.Duration { return slices.Repeat([]time.Duration{each}, 100) }
	got := cost(measured{latencies: latencies(5 * ms)}, measured{latencies: latencies(7500 * time.Microsecond)})
	if want := "p50 +2.5 ms, p95 +2.5 ms, p99 +2.5 ms"; got != want {
		t.Errorf("the cost is %s, want %s", got, want)
	}
}
