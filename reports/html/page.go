package html

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/reports"
)

// shown is the order in which statuses are told: the worst first, what says nothing about the subject after what does.
var shown = []reports.Status{reports.Fail, reports.Error, reports.Flake, reports.Warn, reports.Pass, reports.Skip, untested}

// page is what the template shows.
type page struct {
	Style  template.CSS
	Script template.JS
	Policy string

	Title   string
	Status  reports.Status
	Verdict string // in a word or two
	Reasons []string
	Tallies []tally
	Filters []tallied // statuses that a row of the page has
	Facts   []fact
	Runs    []*reports.Record // the oldest first; more than one is a matrix
	Newest  *reports.Record
	Large   bool
	Lean    string // what a page of this size leaves to the record

	Broken  []brokenPhase
	Groups  []testGroup // those that want somebody's attention
	Matrix  []osMatrix
	Rules   []section
	Rest    []testGroup // the others
	Chart   timeline
	Waivers []reports.Waiver
}

type fact struct{ Name, Value, Detail string }

type brokenPhase struct {
	reports.Phase
	Run string // empty if there is only one
}

func newPage(records []*reports.Record) *page {
	newest := records[len(records)-1]
	p := &page{Runs: records, Newest: newest, Status: reports.Skip, Tallies: tallies(records), Chart: newTimeline(newest)}
	for _, r := range records {
		p.Status = reports.Worst(p.Status, r.Verdict.Status)
		for _, phase := range r.Phases {
			if troubles(phase.Status) {
				run := ""
				if len(records) > 1 {
					run = r.Run.ID
				}
				p.Broken = append(p.Broken, brokenPhase{phase, run})
			}
		}
		for _, w := range r.Waivers {
			if !slices.Contains(p.Waivers, w) {
				p.Waivers = append(p.Waivers, w)
			}
		}
	}
	p.Verdict = verdictWord(p.Status)
	p.Title = strings.TrimSpace(p.Verdict + " · " + newest.Subject.Kind + " " + newest.Subject.Version)
	if len(records) == 1 {
		p.Reasons = []string{newest.Verdict.Reason}
	} else {
		p.Title += fmt.Sprintf(" · %d runs", len(records))
		p.Reasons = []string{fmt.Sprintf("%d runs: %s", len(records), verdictsOf(records))}
	}
	p.Facts = facts(newest)

	tests := merge(records)
	d := detailFor(tests)
	for _, t := range tests {
		t.tell(d)
	}
	p.Large, p.Lean = d.lean, d.said()
	p.Groups, p.Rest = group(tests)
	p.Rules = sections(records, tests)
	p.Matrix = matrix(records)
	p.Filters = filters(tests, p.Rules)
	return p
}

// troubles says whether a status wants somebody's attention.
func troubles(s reports.Status) bool {
	s = reports.Worst(s)
	return s != reports.Pass && s != reports.Skip
}

func verdictWord(s reports.Status) string {
	switch reports.Worst(s) {
	case reports.Pass:
		return "Passed"
	case reports.Warn:
		return "Passed with warnings"
	case reports.Flake:
		return "Flaky"
	case reports.Fail:
		return "Failed"
	case reports.Skip:
		return "Nothing ran"
	}
	return "Error"
}

// verdictsOf is "3 fail, 197 pass".
func verdictsOf(records []*reports.Record) string {
	counts := map[reports.Status]int{}
	for _, r := range records {
		counts[reports.Worst(r.Verdict.Status)]++
	}
	var parts []string
	for _, s := range shown {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

// facts say what was tested on what.
func facts(r *reports.Record) []fact {
	var all []fact
	add := func(name, value string, details ...string) {
		if value = strings.TrimSpace(value); value != "" {
			details = slices.DeleteFunc(details, func(d string) bool { return d == "" })
			all = append(all, fact{name, value, strings.Join(details, " · ")})
		}
	}
	add("Subject", r.Subject.Kind+" "+r.Subject.Version,
		after("profile ", r.Subject.Profile)+after(" by ", r.Subject.ProfileBy), after("namespace ", r.Subject.Namespace))
	add("Kubernetes", r.Cluster.Kubernetes, strings.TrimSpace(r.Cluster.Provider+" "+r.Cluster.Name), counted(r.Cluster.Nodes, "node"))
	if a := r.Azure; a != nil {
		add("Azure", a.Mode, a.Cloud, after("tenant ", a.TenantID))
	}
	add("Run", r.Run.ID, r.Run.Started.UTC().Format("2 January 2006, 15:04 UTC"), seconds(r.Run.Seconds))
	return all
}

// after is the value with a label before it, or nothing.
func after(label, value string) string {
	if value == "" {
		return ""
	}
	return label + value
}
