package compare

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wi-e2e/wi-e2e/reports"
)

// History is how tests fared over runs.
type History struct {
	Runs  []*reports.Record // the oldest first
	Tests []Steadiness      // the flakiest first
}

// Steadiness of a test over the runs that executed it.
type Steadiness struct {
	ID     string
	Counts map[reports.Status]int // skips are not executed
	// Unsteady are runs in which the test was a flake, or did not pass although it did in another run of the same subject, on such a
	// cluster, by the same wi-e2e.
	Unsteady int
	// Median of the seconds that it took.
	Median float64
	Last   reports.Status
}

// Executed is the number of runs that have a result of the test.
func (s Steadiness) Executed() int {
	n := 0
	for status, c := range s.Counts {
		if status != reports.Skip {
			n += c
		}
	}
	return n
}

// FlakeRate is the share of unsteady runs among those that executed the test.
func (s Steadiness) FlakeRate() float64 {
	return float64(s.Unsteady) / float64(max(1, s.Executed()))
}

// HistoryOf sums the tests of many runs up.
func HistoryOf(records []*reports.Record) History {
	h := History{Runs: slices.Clone(records)}
	slices.SortStableFunc(h.Runs, func(a, b *reports.Record) int { return a.Run.Started.Compare(b.Run.Started) })

	type seen struct {
		Steadiness
		seconds []float64
		// passed and notPassed count the runs by what was tested by what.
		passed, notPassed map[string]int
	}
	tests := map[string]*seen{}
	var order []*seen
	for _, r := range h.Runs {
		same := sameness(r)
		for _, t := range r.Tests {
			s := tests[t.ID]
			if s == nil {
				s = &seen{Steadiness: Steadiness{ID: t.ID, Counts: map[reports.Status]int{}}, passed: map[string]int{}, notPassed: map[string]int{}}
				tests[t.ID] = s
				order = append(order, s)
			}
			status := reports.Worst(t.Status)
			s.Counts[status]++
			s.Last = status
			switch status {
			case reports.Skip:
				continue
			case reports.Flake:
				s.Unsteady++
			case reports.Fail, reports.Error:
				s.notPassed[same]++
			default:
				s.passed[same]++
			}
			s.seconds = append(s.seconds, perAttempt(t))
		}
	}
	for _, s := range order {
		for same, n := range s.notPassed {
			if s.passed[same] > 0 {
				s.Unsteady += n
			}
		}
		s.Median = median(s.seconds)
		h.Tests = append(h.Tests, s.Steadiness)
	}
	slices.SortStableFunc(h.Tests, func(a, b Steadiness) int {
		return cmp.Or(cmp.Compare(b.FlakeRate(), a.FlakeRate()), cmp.Compare(a.ID, b.ID))
	})
	return h
}

// sameness names what a run tested, where, and with what. A result that differs between two runs of one name is not the subject's doing alone.
func sameness(r *reports.Record) string {
	parts := []string{r.Run.Version, r.Cluster.Provider, r.Cluster.Kubernetes, r.Subject.Kind, r.Subject.Version, r.Subject.Profile}
	for _, i := range r.Subject.Images {
		parts = append(parts, i.Name+"@"+i.Digest)
	}
	return strings.Join(parts, "\n")
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// Write tells a person the runs, then the tests that did not pass in all of them.
func (h History) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STARTED\tRUN\tSUBJECT\tVERDICT\tTESTS\tSECONDS")
	for _, r := range h.Runs {
		executed := 0
		for _, t := range r.Tests {
			if t.Status != reports.Skip {
				executed++
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%.0f\n", r.Run.Started.UTC().Format("2006-01-02 15:04"), reports.Visible(r.Run.ID),
			reports.Visible(strings.TrimSpace(r.Subject.Kind+" "+r.Subject.Version)), reports.Worst(r.Verdict.Status), executed, r.Run.Seconds)
	}
	fmt.Fprintln(table, "\nTEST\tRUNS\tPASS\tWARN\tFLAKE\tFAIL\tERROR\tFLAKE RATE\tMEDIAN\tLAST")
	steady := 0
	for _, t := range h.Tests {
		c := t.Counts
		if t.Executed() == c[reports.Pass] {
			steady++
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f%%\t%.1fs\t%s\n", reports.Visible(t.ID), t.Executed(), c[reports.Pass], c[reports.Warn],
			c[reports.Flake], c[reports.Fail], c[reports.Error], 100*t.FlakeRate(), t.Median, t.Last)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if _, err := fmt.Fprintf(w, "\n%d runs, %d tests; %d of them passed whenever they were executed\n", len(h.Runs), len(h.Tests), steady); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}
