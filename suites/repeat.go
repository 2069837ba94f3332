package suites

import (
	"cmp"
	"context"
	"slices"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Repeat executes a test so many times, and returns what its attempts come to, all of which it keeps. n counts them from 1.
//
// An attempt that broke, for a cause that neither the subject nor the test has to do with, is made once more; that is the whole
// policy. A violated expectation is never tried again: a subject that holds a rule only sometimes does not hold it.
//
// Violated in some attempts and not in others is a flake; so is what broke and passed when it was tried again.
func Repeat(ctx context.Context, times int, attempt func(ctx context.Context, n int) reports.Test) reports.Test {
	var result reports.Test
	var attempts []reports.Attempt
	execute := func(retries reports.Cause) reports.Cause {
		result = attempt(ctx, len(attempts)+1)
		attempts = append(attempts, reports.Attempt{
			Retries: retries, Status: result.Status, Started: result.Started, Seconds: result.Seconds,
			Findings: result.Findings, Notes: result.Notes, Cases: result.Cases, Bundle: result.Bundle,
		})
		return retryable(result)
	}
	for range times {
		if cause := execute(""); cause != "" && ctx.Err() == nil {
			execute(cause)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(attempts) == 1 {
		return result
	}
	return merge(result, attempts)
}

// retryable is the cause of all that is wrong with an attempt, if all of it has one.
func retryable(t reports.Test) reports.Cause {
	findings := slices.Clone(t.Findings)
	for _, c := range t.Cases {
		findings = append(findings, c.Findings...)
	}
	if len(findings) == 0 || slices.ContainsFunc(findings, func(f reports.Finding) bool { return f.Cause == "" }) {
		return ""
	}
	return findings[0].Cause
}

// merge sums attempts up, in result, which is the last of them.
func merge(result reports.Test, attempts []reports.Attempt) reports.Test {
	result.Attempts = attempts
	result.Started, result.Seconds, result.Cases, result.Bundle = attempts[0].Started, 0, nil, ""

	var outside merged
	var cases []*merged
	passed := false
	for i, a := range attempts {
		superseded := i+1 < len(attempts) && attempts[i+1].Retries != ""
		result.Seconds += a.Seconds
		result.Bundle = cmp.Or(result.Bundle, a.Bundle)
		passed = passed || a.Status == reports.Pass || a.Status == reports.Warn
		outside.add(i+1, superseded, reports.Case{Status: reports.WorstOf(a.Findings), Findings: a.Findings, Notes: a.Notes})
		for _, c := range a.Cases {
			k := slices.IndexFunc(cases, func(m *merged) bool { return m.sum.Name == c.Name })
			if k < 0 {
				k = len(cases)
				cases = append(cases, &merged{})
			}
			cases[k].add(i+1, superseded, c)
		}
	}

	whole := outside.close()
	result.Status, result.Findings, result.Notes = whole.Status, whole.Findings, whole.Notes
	for _, m := range cases {
		c := m.close()
		result.Cases = append(result.Cases, c)
		result.Status = reports.Worst(result.Status, c.Status)
	}
	if result.Status == reports.Flake && !passed {
		result.Status = reports.Fail
		result.Findings = append(result.Findings, reports.Finding{Status: reports.Fail, Message: "every attempt failed, if not in the same cases"})
	}
	return result
}

// merged is a case over the attempts that have it.
type merged struct {
	sum      reports.Case
	statuses []reports.Status // in the attempts that count
	retried  bool             // broke in an attempt that was made again
}

func (m *merged) add(attempt int, superseded bool, c reports.Case) {
	if m.sum.Name == "" {
		m.sum.Name, m.sum.Requirements = c.Name, c.Requirements
	}
	m.sum.Seconds += c.Seconds
	m.sum.Checks += c.Checks
	m.sum.Notes = append(m.sum.Notes, without(c.Notes, m.sum.Notes)...)
	m.sum.Workloads = c.Workloads // of the last attempt: the matrix has a program once
	for _, f := range c.Findings {
		if superseded {
			f.Status = reports.Flake
		}
		m.find(attempt, f)
	}
	if superseded {
		m.retried = m.retried || c.Status == reports.Error
		return
	}
	m.statuses = append(m.statuses, c.Status)
}

// find adds a finding, or the attempt to the finding if an earlier one came to it.
func (m *merged) find(attempt int, f reports.Finding) {
	for i, have := range m.sum.Findings {
		if have.Status == f.Status && have.Message == f.Message && have.Diff == f.Diff && have.Waiver == f.Waiver {
			m.sum.Findings[i].Attempts = append(have.Attempts, attempt)
			return
		}
	}
	f.Attempts = []int{attempt}
	m.sum.Findings = append(m.sum.Findings, f)
}

// close judges the case: the worst of its attempts, or a flake if they differ.
func (m *merged) close() reports.Case {
	c := m.sum
	c.Status = reports.Worst(append(m.statuses, reports.Pass)...)
	violated := c.Status == reports.Warn || c.Status == reports.Fail
	if violated && slices.Contains(m.statuses, reports.Pass) || m.retried && (c.Status == reports.Pass || c.Status == reports.Warn) {
		c.Status = reports.Flake
		for i := range c.Findings {
			c.Findings[i].Status = reports.Flake // the attempt has what it was
		}
	}
	return c
}

// without are the notes that are not had.
func without(notes, had []string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(n string) bool { return slices.Contains(had, n) })
}
