package reports

import (
	"fmt"
	"slices"
)

// Waiver is a known deviation that the run was told about, and what became of it.
type Waiver struct {
	// Name of the entry, which findings refer to: the file and the entry's number in it.
	Name        string `json:"name"`
	Requirement string `json:"requirement,omitempty"`
	Test        string `json:"test,omitempty"`
	Case        string `json:"case,omitempty"`
	Subject     string `json:"subject"`
	Versions    string `json:"versions,omitempty"`
	Reason      string `json:"reason"`
	Link        string `json:"link"`
	Owner       string `json:"owner"`
	Expiry      string `json:"expiry"` // the last day on which it holds

	State WaiverState `json:"state"`
	// Findings that it waived.
	Findings int `json:"findings"`
}

// WaiverState is what became of a waiver in a run.
type WaiverState string

// The states. The first three break a run that is strict about waivers.
const (
	WaiverExpired WaiverState = "expired"
	// WaiverPassed: what it names was tested and holds.
	WaiverPassed WaiverState = "passed"
	// WaiverUnused: the test that it names ran, and has no such case.
	WaiverUnused WaiverState = "unused"
	// WaiverUsed: it waived a finding.
	WaiverUsed WaiverState = "used"
	// WaiverNotTested: not everything that it is about was tested in this run.
	WaiverNotTested WaiverState = "not-tested"
	// WaiverOtherSubject: it is about another subject, or another version of it.
	WaiverOtherSubject WaiverState = "other-subject"
)

// About is what it waives, in one line.
func (w Waiver) About() string {
	return joined(w.Requirement, labelled("test ", w.Test), labelled("case ", w.Case))
}

// terms are the reason for the waiver, and who answers for it until when.
func (w Waiver) terms() string {
	return Visible(fmt.Sprintf("%s (%s, until %s, %s)", w.Reason, w.Owner, w.Expiry, w.Link))
}

// WaiverNamed finds the record's entry of that name; a record that lost it still says that there was one.
func (r *Record) WaiverNamed(name string) Waiver {
	i := slices.IndexFunc(r.Waivers, func(w Waiver) bool { return w.Name == name })
	if i < 0 {
		return Waiver{Name: name, Reason: "the record does not have this waiver"}
	}
	return r.Waivers[i]
}

// waiversOf are those that waived a finding of the test.
func (r *Record) waiversOf(t Test) []Waiver {
	var all []Waiver
	for _, o := range outcomes(t) {
		for _, f := range o.findings {
			if f.Waiver != "" && !slices.ContainsFunc(all, func(w Waiver) bool { return w.Name == f.Waiver }) {
				all = append(all, r.WaiverNamed(f.Waiver))
			}
		}
	}
	return all
}

// waived tells the waivers that were used, and for which tests.
func (s *summary) waived() []string {
	var lines []string
	for _, w := range s.record.Waivers {
		if w.State != WaiverUsed {
			continue
		}
		lines = append(lines,
			fmt.Sprintf("%s %s: %s waived by %s", s.mark(Warn), Visible(w.About()), count(w.Findings, "finding"), Visible(w.Name)),
			"    "+firstLine(w.Reason),
			"    "+Visible(joined("owner "+w.Owner, "until "+w.Expiry, w.Link)))
		var where []string
		for _, t := range s.record.Tests {
			for _, o := range outcomes(t) {
				if slices.ContainsFunc(o.findings, func(f Finding) bool { return f.Waiver == w.Name }) {
					where = append(where, "    "+Visible(t.ID+": "+o.name))
				}
			}
		}
		lines = append(lines, where[:min(len(where), shownTests)]...)
		if more := len(where) - shownTests; more > 0 {
			lines = append(lines, "    "+s.more(more, "case"))
		}
	}
	return lines
}
