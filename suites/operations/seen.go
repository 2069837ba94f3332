package operations

import (
	"fmt"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/suites"
)

// seen is what became of a stream, in the order of the answers.
type seen struct {
	answers []answer
	events  []event
	length  time.Duration
}

// unbroken expects that the webhook failed none of the creates, and notes the figures. What the API server did by itself says nothing
// about the webhook, and is an error.
func (s *seen) unbroken(t *suites.T) {
	t.Note("%s", s.figures())
	s.expectNone(t, s.answers)
	if own := s.of(s.answers, refused, unanswered); len(own) > 0 {
		t.Broken("the API server itself failed creates: %s", s.describe(own))
	}
}

// expectNone expects that the webhook failed none of these.
func (s *seen) expectNone(t *suites.T, among []answer) {
	bad := s.of(among, untouched, callFailed, denied)
	t.Check(len(bad) == 0, "the webhook failed creates of labelled pods: %s", s.describe(bad))
}

// of are those among the answers that have one of the outcomes.
func (s *seen) of(among []answer, outcomes ...outcome) []answer {
	var found []answer
	for _, a := range among {
		if slices.Contains(outcomes, a.outcome) {
			found = append(found, a)
		}
	}
	return found
}

// between are the answers to what was sent between two events; "" for the stream's own end.
func (s *seen) between(from, to string) []answer {
	begin, end := s.at(from), s.length
	if to != "" {
		end = s.at(to)
	}
	var found []answer
	for _, a := range s.answers {
		if a.sent >= begin && a.sent < end {
			found = append(found, a)
		}
	}
	return found
}

// within are those of them that were answered before the second event too: what is under way when the API server is stopped, the webhook may
// be unable to ask about.
func (s *seen) within(from, to string) []answer {
	return slices.DeleteFunc(s.between(from, to), func(a answer) bool { return a.received >= s.at(to) })
}

// at is when the event was; an event that was never marked is a mistake in the test.
func (s *seen) at(name string) time.Duration {
	i := slices.IndexFunc(s.events, func(e event) bool { return e.name == name })
	if i < 0 {
		panic(fmt.Sprintf("no event %q was marked", name))
	}
	return s.events[i].at
}

// gap is the longest time without a good answer, and when it began.
func (s *seen) gap() (longest, from time.Duration) {
	last := time.Duration(0)
	for _, at := range append(times(s.of(s.answers, injected)), s.length) {
		if at-last > longest {
			longest, from = at-last, last
		}
		last = at
	}
	return longest, from
}

func times(answers []answer) []time.Duration {
	var all []time.Duration
	for _, a := range answers {
		all = append(all, a.received)
	}
	return all
}

// figures sum the stream up.
func (s *seen) figures() string {
	good := s.of(s.answers, injected)
	gap, from := s.gap()
	text := fmt.Sprintf("%d creates in %.1f s, %d admitted and mutated; longest gap %d ms, from %s", len(s.answers), s.length.Seconds(), len(good),
		gap.Milliseconds(), s.when(from))
	if len(good) == 0 {
		return text
	}
	var latencies []time.Duration
	for _, a := range good {
		latencies = append(latencies, a.received-a.sent)
	}
	slices.Sort(latencies)
	return fmt.Sprintf("%s; answered in %d ms (p50), %d ms (p99), %d ms at most", text,
		percentile(latencies, 50).Milliseconds(), percentile(latencies, 99).Milliseconds(), percentile(latencies, 100).Milliseconds())
}

// percentile of sorted durations, by nearest rank.
func percentile(sorted []time.Duration, p int) time.Duration { return sorted[(len(sorted)*p+99)/100-1] }

// describe tells how many answers there are of each kind, and when the first and the last of them came.
func (s *seen) describe(answers []answer) string {
	if len(answers) == 0 {
		return "none"
	}
	kinds := map[outcome]int{}
	for _, a := range answers {
		kinds[a.outcome]++
	}
	first, last := answers[0], answers[len(answers)-1]
	return fmt.Sprintf("%d of %d (%s), the first %s, the last %s: %s", len(answers), len(s.answers), counted(kinds),
		s.when(first.received), s.when(last.received), first.message)
}

func counted(kinds map[outcome]int) string {
	text := ""
	for _, o := range []outcome{injected, untouched, callFailed, denied, refused, unanswered} {
		if n := kinds[o]; n > 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s %d", o, n)
		}
	}
	return text
}

// when tells a time by the last event before it.
func (s *seen) when(at time.Duration) string {
	name, since := "the stream began", time.Duration(0)
	for _, e := range s.events {
		if e.at <= at {
			name, since = e.name, e.at
		}
	}
	return fmt.Sprintf("%d ms after %q", (at - since).Milliseconds(), name)
}
