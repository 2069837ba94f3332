package html

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// timeline is a chart of a run: a row a phase, and below the phase of a tier its tests in as many lanes as ran at a time. Places
// along the time are percentages, so that it fits every width; those across are pixels.
type timeline struct {
	Seconds float64
	Height  int
	Ticks   []tick
	Rows    []phaseRow
	// Short is how many tests are too short to be drawn, beside the longest.
	Short int
}

type tick struct{ At, Label string }

type phaseRow struct {
	reports.Phase
	Bar         bar
	LabelAt     string // where its label begins or, if that is near the end, ends
	LabelAnchor string
	LabelY      int
	Tests       []bar
}

type bar struct {
	ID, Label    string // of a test
	Status       reports.Status
	Start, Width string
	Y            int
}

const (
	chartTop    = 26 // below the labels of the ticks
	labelHeight = 16
	phaseHeight = 8
	laneHeight  = 6
	rowGap      = 12
	drawnTests  = 400
)

// span is a test on its way into a lane.
type span struct {
	test       reports.Test
	start, end float64
}

func newTimeline(r *reports.Record) timeline {
	began := r.Run.Started
	t := timeline{Seconds: r.Run.Seconds}
	at := func(when time.Time) float64 { return max(0, when.Sub(began).Seconds()) }
	for _, p := range r.Phases {
		if !p.Started.IsZero() {
			t.Seconds = max(t.Seconds, at(p.Started)+p.Seconds)
		}
	}
	if t.Seconds <= 0 || len(r.Phases) == 0 {
		return timeline{}
	}
	place := func(start, length float64) (string, string) {
		start = min(start, t.Seconds)
		return share(start, t.Seconds), share(max(min(length, t.Seconds-start), t.Seconds/1000), t.Seconds)
	}

	var spans []span
	for _, one := range r.Tests {
		if !one.Started.IsZero() {
			spans = append(spans, span{one, at(one.Started), at(one.Started) + one.Seconds})
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(b.test.Seconds, a.test.Seconds) })
	t.Short = max(0, len(spans)-drawnTests)
	spans = spans[:len(spans)-t.Short]
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })

	y := chartTop
	for _, p := range r.Phases {
		row := phaseRow{Phase: p, LabelY: y + labelHeight - 5, LabelAnchor: "start"}
		start, length := at(p.Started), p.Seconds
		row.Bar = bar{Status: reports.Worst(p.Status), Y: y + labelHeight}
		row.Bar.Start, row.Bar.Width = place(start, length)
		row.LabelAt = row.Bar.Start
		if start > t.Seconds*0.6 {
			row.LabelAt, row.LabelAnchor = share(min(start+length, t.Seconds), t.Seconds), "end"
		}
		y += labelHeight + phaseHeight

		var lanes []float64 // when each is free again
		for _, s := range spans {
			if p.Name != "tests: "+s.test.Tier {
				continue
			}
			lane := slices.IndexFunc(lanes, func(free float64) bool { return free <= s.start })
			if lane < 0 {
				lane = len(lanes)
				lanes = append(lanes, 0)
			}
			lanes[lane] = s.end
			b := bar{
				ID: s.test.ID, Label: fmt.Sprintf("%s: %s, %s", s.test.ID, s.test.Status, seconds(s.test.Seconds)),
				Status: reports.Worst(s.test.Status), Y: y + 3 + lane*laneHeight,
			}
			b.Start, b.Width = place(s.start, s.end-s.start)
			row.Tests = append(row.Tests, b)
		}
		y += len(lanes)*laneHeight + rowGap
		t.Rows = append(t.Rows, row)
	}
	t.Height = y
	step := tickStep(t.Seconds)
	for when := 0.0; when < t.Seconds*0.97; when += step {
		t.Ticks = append(t.Ticks, tick{share(when, t.Seconds), seconds(when)})
	}
	return t
}

func share(part, whole float64) string { return fmt.Sprintf("%.2f%%", 100*part/whole) }

// tickStep is a round number of seconds that fits four to eight times.
func tickStep(total float64) float64 {
	for _, step := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600} {
		if total/step <= 7 {
			return step
		}
	}
	return total / 5
}
