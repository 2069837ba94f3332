package waivers

import (
	"fmt"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Waive turns the violations that are waived on that day into warnings that name their waiver. Of several waivers the first in
// the file counts. A case of several requirements is about each of them.
func (w *Waivers) Waive(t *reports.Test, subject reports.Subject, now time.Time) {
	if w == nil {
		return
	}
	found := false
	for _, one := range w.entries {
		if one.expired(now) || !one.appliesTo(subject) {
			continue
		}
		one.eachFinding(t, func(f *reports.Finding) {
			if f.Waiver == "" && (f.Status == reports.Fail || f.Status == reports.Warn) {
				f.Status, f.Waiver = reports.Warn, one.name
				found = true
			}
		})
	}
	if !found {
		return
	}
	t.Status = reports.WorstOf(t.Findings)
	for i := range t.Cases {
		t.Cases[i].Status = reports.WorstOf(t.Cases[i].Findings)
		t.Status = reports.Worst(t.Status, t.Cases[i].Status)
	}
}

// Judge records what became of each waiver in the run, and says what is wrong with those that should not be there.
func (w *Waivers) Judge(record *reports.Record, now time.Time) (problems []string) {
	if w == nil {
		return nil
	}
	record.Waivers = nil
	for _, one := range w.entries {
		judged := reports.Waiver{
			Name: one.name, Requirement: one.Requirement, Test: one.Test, Case: one.Case, Subject: one.Subject.Kind,
			Versions: one.Subject.Versions, Reason: one.Reason, Link: one.Link, Owner: one.Owner, Expiry: one.Expiry,
		}
		var why string
		judged.State, judged.Findings, why = one.judge(record, now)
		record.Waivers = append(record.Waivers, judged)
		if why != "" {
			problems = append(problems, fmt.Sprintf("%s (%s): %s", one.name, judged.About(), why))
		}
	}
	return problems
}

// judge says what became of the waiver, how many findings it waived, and what is wrong with it.
func (w waiver) judge(record *reports.Record, now time.Time) (state reports.WaiverState, findings int, why string) {
	if w.expired(now) {
		return reports.WaiverExpired, 0, fmt.Sprintf("expired after %s and waives nothing: ask its owner, %s (%s)", w.Expiry, w.Owner, w.Link)
	}
	if !w.appliesTo(record.Subject) {
		return reports.WaiverOtherSubject, 0, ""
	}
	others := ""
	for i := range record.Tests {
		w.eachFinding(&record.Tests[i], func(f *reports.Finding) {
			switch f.Waiver {
			case w.name:
				findings++
			case "":
			default:
				others = f.Waiver
			}
		})
	}
	tested, exists := w.tested(record)
	switch {
	case findings > 0:
		return reports.WaiverUsed, findings, ""
	case others != "":
		return reports.WaiverUnused, 0, "what it waives is waived by " + others + " already: take one of them out"
	case !tested:
		return reports.WaiverNotTested, 0, ""
	case !exists:
		return reports.WaiverUnused, 0, fmt.Sprintf("test %s has no case %q: it waives nothing", w.Test, w.Case)
	}
	return reports.WaiverPassed, 0, "what it waives was tested and holds: take it out"
}

// tested says whether all the tests that the waiver is about ran to their end, and whether they have the case that it names.
func (w waiver) tested(record *reports.Record) (tested, exists bool) {
	exists = w.Case == ""
	for _, id := range w.tests {
		i := slices.IndexFunc(record.Tests, func(t reports.Test) bool { return t.ID == id })
		if i < 0 {
			return false, exists
		}
		t := record.Tests[i]
		exists = exists || slices.ContainsFunc(t.Cases, func(c reports.Case) bool { return c.Name == w.Case })
		// A failure may have ended the test before it came to the case.
		if t.Status == reports.Skip || t.Status == reports.Error || !exists && t.Status == reports.Fail {
			return false, exists
		}
	}
	return true, exists
}

// eachFinding visits the findings of a test that the waiver is about.
func (w waiver) eachFinding(t *reports.Test, visit func(*reports.Finding)) {
	if !slices.Contains(w.tests, t.ID) {
		return
	}
	if w.Case == "" {
		for i := range t.Findings {
			visit(&t.Findings[i])
		}
	}
	for _, c := range t.Cases {
		if w.Case != "" && w.Case != c.Name || w.Requirement != "" && len(c.Requirements) > 0 && !slices.Contains(c.Requirements, w.Requirement) {
			continue
		}
		for i := range c.Findings {
			visit(&c.Findings[i])
		}
	}
}

func (w waiver) expired(now time.Time) bool { return !now.Before(w.expires) }

// appliesTo says whether the waiver is about that subject. One with versions is not about a subject that does not tell its own.
func (w waiver) appliesTo(s reports.Subject) bool {
	if w.Subject.Kind != s.Kind {
		return false
	}
	if w.versions == nil {
		return true
	}
	v, err := semver.NewVersion(s.Version)
	if err != nil {
		v, err = semver.StrictNewVersion(s.Profile) // "1.5" and "latest" are none
	}
	if err != nil {
		return false
	}
	release := semver.New(v.Major(), v.Minor(), v.Patch(), "", "") // a pre-release has the contract of its release
	return w.versions.Check(release)
}
