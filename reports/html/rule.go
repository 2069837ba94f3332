package html

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wi-e2e/wi-e2e/reports"
)

// section is the rules of one section of the specification.
type section struct {
	Title, Source string
	Rules         []*rule
	Parts         []tallied
}

// rule is a requirement, in a page of several runs of all that have it.
type rule struct {
	reports.Requirement
	Tests    []ruleTest
	Untested []reports.Untested // what of it no test decides
	// Shown is its status, or untested if no test decides it at all.
	Shown reports.Status
	// Strip is how it fared in each run; empty for a page of one.
	Strip []strip
}

// untested is what the page shows in the place of a status.
const untested reports.Status = "untested"

// ruleTest is a test of the rule, as far as it is about that rule.
type ruleTest struct {
	ID     string
	Status reports.Status
	Cases  int
	Found  []finding
	More   int
	Skip   *reports.Skipped
}

// strip is runs in a row that came to the same.
type strip struct {
	Status       reports.Status
	Start, Width string
	Runs         string // "run 0b594544" or "3 runs"
}

// shownFindings is how much of a test's evidence stands with the rule; the rest stands with the test.
const shownFindings = 2

func sections(records []*reports.Record, tests []*test) []section {
	byTest := map[string]*test{}
	for _, t := range tests {
		byTest[t.ID] = t
	}
	var rules []*rule
	find := func(id string) *rule {
		i := slices.IndexFunc(rules, func(r *rule) bool { return r.ID == id })
		if i < 0 {
			return nil
		}
		return rules[i]
	}
	for _, record := range slices.Backward(records) {
		for _, q := range record.Requirements {
			r := find(q.ID)
			if r == nil {
				r = &rule{Requirement: q}
				rules = append(rules, r)
				for _, id := range q.Tests {
					if t := byTest[id]; t != nil {
						r.Tests = append(r.Tests, t.of(q.ID))
					}
				}
				continue
			}
			r.Status, r.Cases = reports.Worst(r.Status, q.Status), r.Cases+q.Cases
		}
		for _, u := range record.Untested {
			r := find(u.ID)
			if r == nil {
				r = &rule{Requirement: reports.Requirement{ID: u.ID, Section: u.Section, Level: u.Level, Statement: u.Statement}, Shown: untested}
				rules = append(rules, r)
			}
			if !slices.Contains(r.Untested, u) {
				r.Untested = append(r.Untested, u)
			}
		}
	}
	for _, r := range rules {
		if r.Shown != untested {
			r.Shown = reports.Worst(r.Status)
		}
		if len(records) > 1 {
			r.Strip = strips(records, r.ID)
		}
	}

	var all []section
	for _, r := range rules {
		title := cmp.Or(r.Section, r.Source, "Without a test")
		i := slices.IndexFunc(all, func(s section) bool { return s.Title == title })
		if i < 0 {
			i = len(all)
			all = append(all, section{Title: title})
		}
		all[i].Source = cmp.Or(all[i].Source, r.Source)
		all[i].Rules = append(all[i].Rules, r)
	}
	for i, s := range all {
		counts := map[reports.Status]int{}
		for _, r := range s.Rules {
			counts[r.Shown]++
		}
		all[i].Parts = newTally("", counts).Parts
		slices.SortStableFunc(s.Rules, func(a, b *rule) int { return cmp.Compare(a.ID, b.ID) })
	}
	return all
}

// of is the test as far as it is about a requirement: in the worst of its variants.
func (t *test) of(requirement string) ruleTest {
	one := ruleTest{ID: t.ID, Status: reports.Skip}
	for i, v := range t.Variants {
		status, cases := v.Of(requirement)
		one.Status = reports.Worst(one.Status, status)
		if i > 0 {
			continue
		}
		one.Cases, one.Skip = cases, v.Skip
		about := v.About(requirement)
		found := slices.Clone(v.Outside)
		for _, c := range v.Telling {
			if slices.ContainsFunc(about.Cases, func(a reports.Case) bool { return a.Name == c.Name }) {
				found = append(found, c.Found...)
			}
		}
		one.More = max(0, len(found)-shownFindings)
		one.Found = found[:len(found)-one.More]
	}
	return one
}

// strips is how a requirement fared in run after run.
func strips(records []*reports.Record, id string) []strip {
	var all []strip
	start := 0
	for start < len(records) {
		status, end := statusIn(records[start], id), start+1
		for end < len(records) && statusIn(records[end], id) == status {
			end++
		}
		runs := "run " + records[start].Run.ID
		if end-start > 1 {
			runs = counted(end-start, "run") + " from " + records[start].Run.ID + " to " + records[end-1].Run.ID
		}
		if status != "" {
			all = append(all, strip{status, percent(start, len(records)), percent(end-start, len(records)), fmt.Sprintf("%s: %s", status, runs)})
		}
		start = end
	}
	return all
}

// statusIn is the status of a requirement in a record; empty if it was not planned there.
func statusIn(r *reports.Record, id string) reports.Status {
	i := slices.IndexFunc(r.Requirements, func(q reports.Requirement) bool { return q.ID == id })
	if i < 0 {
		return ""
	}
	return reports.Worst(r.Requirements[i].Status)
}
