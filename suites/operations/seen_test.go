package operations

import (
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// outage is a stream of six creates, of which two failed after an event.
var outage = &seen{
	answers: []answer{
		{10 * ms, 14 * ms, injected, ""}, {30 * ms, 33 * ms, injected, ""}, {50 * ms, 51 * ms, callFailed, "refused: EOF"},
		{70 * ms, 71 * ms, denied, "refused: no"}, {90 * ms, 99 * ms, injected, ""}, {110 * ms, 112 * ms, injected, ""},
	},
	events: []event{{"restarted", 40 * ms}, {"back", 80 * ms}},
	length: 120 * ms,
}

func TestTheFiguresOfAStream(t *testing.T) {
	const want = `6 creates in 0.1 s, 4 admitted and mutated; longest gap 66 ms, from 33 ms after "the stream began"; ` +
		`answered in 3 ms (p50), 9 ms (p99), 9 ms at most`
	if got := outage.figures(); got != want {
		t.Errorf("the figures are\n%s, want\n%s", got, want)
	}
}

func TestFailuresAreToldByWhatWentBefore(t *testing.T) {
	const want = `2 of 6 (callFailed 1, denied 1), the first 11 ms after "restarted", the last 31 ms after "restarted": refused: EOF`
	if got := outage.describe(outage.of(outage.answers, callFailed, denied)); got != want {
		t.Errorf("the failures are told as\n%s, want\n%s", got, want)
	}
}

func TestAnswersBelongToTheTimeInWhichTheyWereAskedFor(t *testing.T) {
	tests := []struct {
		from, to string
		want     int
	}{{"restarted", "back", 2}, {"back", "", 2}, {"restarted", "", 4}}
	for _, tt := range tests {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			if got := len(outage.between(tt.from, tt.to)); got != tt.want {
				t.Errorf("%d answers, want %d", got, tt.want)
			}
		})
	}
}

func TestAGapLastsUntilTheStreamEnds(t *testing.T) {
	s := &seen{answers: []answer{{0, 5 * ms, injected, ""}, {20 * ms, 21 * ms, callFailed, ""}}, length: 500 * ms}
	if gap, from := s.gap(); gap != 495*ms || from != 5*ms {
		t.Errorf("the gap is %s from %s, want 495ms from 5ms", gap, from)
	}
	if !strings.Contains((&seen{length: time.Second}).figures(), "longest gap 1000 ms") {
		t.Error("a stream without a good answer has no gap")
	}
}

func TestPercentilesAreByNearestRank(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{50: 100, 99: 198, 100: 200} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("p%d is %d, want %d", p, got, want)
		}
	}
	if got := percentile(sorted[:1], 50); got != 1 {
		t.Errorf("the p50 of one is %d", got)
	}
}

func TestWhatIsUnderWayAtTheSecondEventIsNotWithin(t *testing.T) {
	s := &seen{
		answers: []answer{{10 * ms, 19 * ms, injected, ""}, {18 * ms, 20 * ms, denied, ""}, {20 * ms, 21 * ms, denied, ""}},
		events:  []event{{"from", 10 * ms}, {"to", 20 * ms}},
		length:  30 * ms,
	}
	if got := s.within("from", "to"); len(got) != 1 || got[0].outcome != injected {
		t.Errorf("within are %v", got)
	}
}
