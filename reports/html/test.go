package html

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/reports"
)

// test is a test of the page: in a page of several runs all that bear its id.
type test struct {
	ID, Title, Tier string
	Status          reports.Status // the worst of its runs
	Requirements    []string
	Executed        bool
	Seconds         float64 // of the newest run
	// Variants are what it came to, the worst first: runs with the same findings are one.
	Variants []*variant
	// Others are runs whose variants are not shown.
	Others int
}

// shownVariants bounds what a test that ends differently in each of many runs takes of the page.
const shownVariants = 4

// variant is what a test came to in some of the runs, told of the newest of them.
type variant struct {
	reports.Test
	Runs []string // their ids; nil if the page has one run

	Outside []finding // outside any case
	Telling []telling // the cases that have something to tell
	Plain   []reports.Case
	Counted int // of plain cases that are not listed
	Tries   []try

	record *reports.Record
	key    string
}

// telling is a case with its evidence.
type telling struct {
	reports.Case
	Found []finding
}

type finding struct {
	reports.Finding
	Lines  []diffLine
	Waived *reports.Waiver
	// In says which attempts came to it, if not all did.
	In string
}

// try is one of several attempts.
type try struct {
	reports.Attempt
	Number   int
	Messages []string
}

// merge brings the tests of the records together by their ids, in the order in which they first come.
func merge(records []*reports.Record) []*test {
	var all []*test
	byID := map[string]*test{}
	for _, r := range slices.Backward(records) { // a variant is told of its newest run
		for _, one := range r.Tests {
			t := byID[one.ID]
			if t == nil {
				t = &test{ID: one.ID, Title: one.Title, Tier: one.Tier, Status: reports.Skip, Requirements: one.Requirements, Seconds: one.Seconds}
				byID[one.ID] = t
				all = append(all, t)
			}
			t.Status = reports.Worst(t.Status, one.Status)
			t.Executed = t.Executed || one.Executed()
			v := &variant{Test: one, record: r, key: result(one, r.Run.ID)}
			if i := slices.IndexFunc(t.Variants, func(o *variant) bool { return o.key == v.key }); i >= 0 {
				v = t.Variants[i]
			} else {
				t.Variants = append(t.Variants, v)
			}
			if len(records) > 1 {
				v.Runs = append(v.Runs, r.Run.ID)
			}
		}
	}
	for _, t := range all {
		slices.SortStableFunc(t.Variants, func(a, b *variant) int { return rank(a.Status) - rank(b.Status) })
		for len(t.Variants) > shownVariants {
			last := len(t.Variants) - 1
			t.Others += len(t.Variants[last].Runs)
			t.Variants = t.Variants[:last]
		}
	}
	return all
}

// rank is the place of a status in the order in which the page tells them.
func rank(s reports.Status) int { return slices.Index(shown, reports.Worst(s)) }

// result is all that a test came to, but for what differs between two runs anyway: the run's own id, times, notes.
func result(t reports.Test, run string) string {
	var b strings.Builder
	add := func(findings []reports.Finding) {
		for _, f := range findings {
			fmt.Fprintf(&b, "\x00%s\x00%s\x00%s\x00%s", f.Status, f.Message, f.Diff, f.Waiver)
		}
	}
	fmt.Fprintf(&b, "%s\x00%d", t.Status, len(t.Attempts))
	if t.Skip != nil {
		fmt.Fprintf(&b, "\x00%s\x00%s", t.Skip.Reason, t.Skip.Text)
	}
	add(t.Findings)
	for _, c := range t.Cases {
		fmt.Fprintf(&b, "\x00%s\x00%s", c.Name, c.Status)
		add(c.Findings)
	}
	if run == "" {
		return b.String()
	}
	return strings.ReplaceAll(b.String(), run, "")
}

// tell fills in what the page says of the test.
func (t *test) tell(d *detail) {
	for _, v := range t.Variants {
		for _, c := range v.Cases {
			found := v.findings(c.Findings, c.Status, d)
			switch {
			case len(found) > 0 || !d.lean && len(c.Notes)+len(c.Workloads) > 0:
				v.Telling = append(v.Telling, telling{c, found})
			case d.lean:
				v.Counted++
			default:
				v.Plain = append(v.Plain, c)
			}
		}
		slices.SortStableFunc(v.Telling, func(a, b telling) int { return rank(a.Status) - rank(b.Status) })
		explained := len(v.Telling) > 0 && reports.Worst(v.Status) == worstOf(v.Cases)
		status := v.Status
		if explained {
			status = reports.Pass
		}
		v.Outside = v.findings(v.Test.Findings, status, d)
		for i, a := range v.Attempts {
			one := try{Attempt: a, Number: i + 1}
			for _, f := range (reports.Test{Findings: a.Findings, Cases: a.Cases}).AllFindings() {
				one.Messages = append(one.Messages, d.excerpt(firstLine(f.Message)))
			}
			v.Tries = append(v.Tries, one)
		}
	}
}

func worstOf(cases []reports.Case) reports.Status {
	worst := reports.Skip
	for _, c := range cases {
		worst = reports.Worst(worst, c.Status)
	}
	return worst
}

// findings prepares findings for the page. What is not as it should be, without a word on why, gets a finding that says so.
func (v *variant) findings(findings []reports.Finding, status reports.Status, d *detail) []finding {
	if len(findings) == 0 && troubles(status) {
		findings = []reports.Finding{{Status: status, Message: fmt.Sprintf("ended as %s; no finding was recorded", status)}}
	}
	var all []finding
	for _, f := range findings {
		one := finding{Finding: f, In: attempts(f.Attempts, len(v.Attempts))}
		one.Message, one.Lines = d.excerpt(strings.TrimSpace(f.Message)), diffLines(d.excerpt(f.Diff))
		if f.Waiver != "" {
			w := v.record.WaiverNamed(f.Waiver)
			one.Waived = &w
		}
		all = append(all, one)
	}
	return all
}

// attempts names those of all attempts that came to a finding; empty for all of them.
func attempts(found []int, all int) string {
	if len(found) == 0 || len(found) == all {
		return ""
	}
	return "in attempt " + strings.Trim(strings.ReplaceAll(fmt.Sprint(found), " ", ", "), "[]") + fmt.Sprintf(" of %d", all)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
