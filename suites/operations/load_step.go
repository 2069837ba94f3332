package operations

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load is one kind of create, to be sent by many at a time.
type load struct {
	want outcome
	send func(ctx context.Context) (outcome, string)
}

// measured is what became of a load at one level.
type measured struct {
	concurrency int
	took        time.Duration
	latencies   []time.Duration // of the creates that came out as wanted, sorted
	failed      []answer
}

// stretch is how long a load lasts: a time, and until enough creates were answered to take percentiles of. On a cluster that is too slow for
// that it ends after patience times as long.
type stretch struct {
	length  time.Duration
	creates int32
}

const patience = 5

func (s stretch) over(since time.Duration, answered int32) bool {
	return since >= s.length && answered >= s.creates || since >= patience*s.length
}

// enoughFailures end a load: nothing more is learnt from a webhook that is gone, and each of its time-outs takes seconds.
const enoughFailures = 20

// run keeps n creates under way for that long. Those that the test's end cut off are not counted.
func (l load) run(ctx context.Context, n int, lasts stretch) measured {
	m := measured{concurrency: n}
	began := time.Now()
	var answered, failures atomic.Int32
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			var latencies []time.Duration
			var failed []answer
			for !lasts.over(time.Since(began), answered.Load()) && failures.Load() < enoughFailures && ctx.Err() == nil {
				sent := time.Since(began)
				became, message := l.one(ctx)
				received := time.Since(began)
				if ctx.Err() != nil {
					break
				}
				answered.Add(1)
				if became == l.want {
					latencies = append(latencies, received-sent)
					continue
				}
				failures.Add(1)
				failed = append(failed, answer{sent, received, became, message})
			}
			mu.Lock()
			defer mu.Unlock()
			m.latencies = append(m.latencies, latencies...)
			m.failed = append(m.failed, failed...)
		})
	}
	workers.Wait()
	m.took = time.Since(began)
	slices.Sort(m.latencies)
	slices.SortFunc(m.failed, func(a, b answer) int { return cmp.Compare(a.received, b.received) })
	return m
}

func (l load) one(ctx context.Context) (outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return l.send(ctx)
}

func (m measured) sent() int { return len(m.latencies) + len(m.failed) }

// rate is how many creates a second came out as wanted.
func (m measured) rate() float64 { return float64(len(m.latencies)) / m.took.Seconds() }

// split tells what the webhook is to blame for from what the API server did by itself.
func (m measured) split() (webhooks, own []answer) {
	for _, a := range m.failed {
		switch a.outcome {
		case refused, unanswered:
			own = append(own, a)
		default:
			webhooks = append(webhooks, a)
		}
	}
	return webhooks, own
}

func (m measured) figures() string {
	text := fmt.Sprintf("%.0f/s", m.rate())
	if len(m.latencies) == 0 {
		return text
	}
	for _, p := range []int{50, 95, 99} {
		text += fmt.Sprintf(", p%d %.1f ms", p, milliseconds(percentile(m.latencies, p)))
	}
	return fmt.Sprintf("%s (%d creates)", text, m.sent())
}

// rises is by how much throughput has to grow for a step to count as more than noise.
const rises = 1.05

// saturation is the step from which on throughput does not rise any more.
func saturation(steps []measured) measured {
	best := steps[0]
	for _, s := range steps[1:] {
		if s.rate() > best.rate()*rises {
			best = s
		}
	}
	return best
}

func firstOf(answers []answer) string {
	if len(answers) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s", answers[0].outcome, answers[0].message)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
