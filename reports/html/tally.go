package html

import (
	"fmt"

	"github.com/wi-e2e/wi-e2e/reports"
)

// tally sums up one kind of thing by status, as the records count it.
type tally struct {
	Name  string
	Total int
	Parts []tallied
}

// tallied is a part of a tally, and where it is in a bar that is 100 long.
type tallied struct {
	Status       reports.Status
	Count        int
	Start, Width string
}

func tallies(records []*reports.Record) []tally {
	sum := func(name string, of func(reports.Counts) map[reports.Status]int) tally {
		counts := map[reports.Status]int{}
		for _, r := range records {
			for status, n := range of(r.Counts) {
				counts[reports.Worst(status)] += n
			}
		}
		return newTally(name, counts)
	}
	return []tally{
		sum("Requirements", func(c reports.Counts) map[reports.Status]int { return c.Requirements }),
		sum("Tests", func(c reports.Counts) map[reports.Status]int { return c.Tests }),
		sum("Cases", func(c reports.Counts) map[reports.Status]int { return c.Cases }),
	}
}

func newTally(name string, counts map[reports.Status]int) tally {
	t := tally{Name: name}
	for _, n := range counts {
		t.Total += n
	}
	start := 0
	for _, status := range shown {
		if n := counts[status]; n > 0 {
			t.Parts = append(t.Parts, tallied{status, n, percent(start, t.Total), percent(n, t.Total)})
			start += n
		}
	}
	return t
}

func percent(part, whole int) string { return fmt.Sprintf("%.3f%%", 100*float64(part)/float64(whole)) }

// filters counts the rows of the page that are shown with a status: tests and requirements.
func filters(tests []*test, rules []section) []tallied {
	counts := map[reports.Status]int{}
	for _, t := range tests {
		counts[t.Status]++
	}
	for _, s := range rules {
		for _, r := range s.Rules {
			counts[r.Shown]++
		}
	}
	return newTally("", counts).Parts
}
