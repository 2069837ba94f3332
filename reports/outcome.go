package reports

import (
	"fmt"
	"slices"
	"strings"
)

// outcome is one line of a test's result: a case, what happened outside the cases, or the whole of
// a test that has none. Every report renders outcomes, so that they agree with each other.
type outcome struct {
	name     string
	whole    bool // of a test without cases
	status   Status
	seconds  float64
	findings []Finding // at least one unless the status is Pass or Skip
	notes    []string
	attempts []outcome // the same outcome in each attempt that has it, if there was more than one
}

// setUp names the outcome that collects what happened outside a test's cases.
const setUp = "(set-up)"

// outcomes lists what became of a test, never empty. Its worst status is at least the test's.
func outcomes(t Test) []outcome {
	outside := outcome{name: setUp, findings: t.Findings}
	for _, f := range t.Findings {
		outside.status = worse(outside.status, f.Status)
	}
	if len(t.Cases) == 0 {
		outside.name, outside.whole, outside.seconds = t.Title, true, t.Seconds
		outside.status = worse(outside.status, t.Status)
		outside.attempts = attempted(t, outside.name)
		return []outcome{outside.explained().numbered(t)}
	}

	var all []outcome
	cases := Skip
	for _, c := range t.Cases {
		o := outcome{name: c.Name, status: Worst(c.Status), seconds: c.Seconds, findings: c.Findings, notes: c.Notes, attempts: attempted(t, c.Name)}
		cases = Worst(cases, o.status)
		all = append(all, o.explained().numbered(t))
	}
	if Worst(cases, t.Status) != cases {
		outside.status = worse(outside.status, t.Status)
	}
	if outside.status != "" {
		outside.attempts = attempted(t, outside.name)
		all = append(all, outside.explained().numbered(t))
	}
	return all
}

// worse is Worst for a status that may not be set yet.
func worse(a, b Status) Status {
	if a == "" {
		return Worst(b)
	}
	return Worst(a, b)
}

// explained gives an outcome that is not as it should be, and has no word on why, a finding that says so.
func (o outcome) explained() outcome {
	if len(o.findings) == 0 && o.status != Pass && o.status != Skip {
		o.findings = []Finding{{Status: o.status, Message: fmt.Sprintf("ended as %s; no finding was recorded", o.status)}}
	}
	return o
}

// numbered puts before each finding that not every attempt came to which of them did.
func (o outcome) numbered(t Test) outcome {
	if len(t.Attempts) == 0 {
		return o
	}
	o.findings = slices.Clone(o.findings)
	for i, f := range o.findings {
		o.findings[i].Message = f.inAttempts(t) + f.Message
	}
	return o
}

// headlines tells the outcomes that have one of the statuses in a line per finding:
// "EXP-03 test-id: case: message". At most limit lines, and one more that says how many are missing.
func headlines(t Test, limit int, statuses ...Status) []string {
	var lines []string
	for _, o := range outcomes(t) {
		if !slices.Contains(statuses, o.status) {
			continue
		}
		prefix := strings.TrimSpace(strings.Join(t.Requirements, ",") + " " + t.ID)
		if !o.whole {
			prefix += ": " + o.name
		}
		for _, f := range o.findings {
			if f.Waiver != "" {
				continue // what is waived has a place of its own
			}
			lines = append(lines, Visible(prefix)+": "+firstLine(f.Message))
		}
	}
	if more := len(lines) - limit; more > 0 {
		lines = append(lines[:limit], fmt.Sprintf("%s: and %d more", Visible(t.ID), more))
	}
	return lines
}
