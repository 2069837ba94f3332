package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// How much runs at a time. Cases spend their time waiting for the API server, which answers some thousand
// dry-run creates a second; more in flight than this only makes each of them slower.
const (
	parallelTests = 16
	parallelCases = 32
)

// parallelPrograms is for tests whose pods compute: a language's start takes a processor for seconds, and more of them at a
// time end no sooner, but later than their tests wait.
const parallelPrograms = 6

func parallel(tier suites.Tier) int {
	if tier == suites.Exchange || tier == suites.Proxy {
		return parallelPrograms
	}
	return parallelTests
}

// runTests executes the plan tier by tier and returns a result for every planned test, in the plan's order.
func (r *run) runTests(ctx context.Context, s *stage, plan *suites.Plan) {
	slots := make(chan struct{}, parallelCases)
	for _, tier := range suites.Tiers {
		var planned []suites.Planned
		for _, p := range plan.Tests {
			if p.Test.Tier == tier {
				planned = append(planned, p)
			}
		}
		if len(planned) == 0 || ctx.Err() != nil {
			continue
		}
		if slices.ContainsFunc(planned, func(p suites.Planned) bool { return p.Skip == nil && len(p.Test.Trust) > 0 }) {
			err := r.phase(ctx, "propagation", func(ctx context.Context) error { return s.awaitPropagation(ctx, planned) })
			if err != nil {
				continue // the guard against vacuity tells what was not run
			}
		}
		_ = r.phase(ctx, "tests: "+string(tier), func(ctx context.Context) error {
			results := r.runTier(ctx, tier, planned, func(ctx context.Context, test suites.Test, n int) reports.Test {
				return s.attempt(ctx, test, n, slots)
			})
			r.record.Tests = append(r.record.Tests, results...)
			return nil
		})
	}
}

// runTier returns a result for every planned test of the tier. attempt executes a test for the n-th time.
func (r *run) runTier(
	ctx context.Context, tier suites.Tier, planned []suites.Planned, attempt func(ctx context.Context, test suites.Test, n int) reports.Test,
) []reports.Test {
	results := make([]reports.Test, len(planned))
	runnable := 0
	for i, p := range planned {
		results[i] = reports.Test{
			ID: p.Test.ID, Title: p.Test.Title, Tier: string(tier), Requirements: p.Test.Requirements, Status: reports.Skip, Skip: p.Skip,
		}
		if p.Skip == nil {
			runnable++
		}
	}
	r.observer.TierStarted(string(tier), runnable)
	defer r.observer.TierFinished(string(tier))

	execute := func(i int) {
		if ctx.Err() != nil {
			return // the guard against vacuity tells that it was not run
		}
		test := planned[i].Test
		result := suites.Repeat(ctx, max(1, r.config.Repeat), func(ctx context.Context, n int) reports.Test { return attempt(ctx, test, n) })
		if ctx.Err() != nil && result.Status == reports.Error {
			// What the interruption broke in the test is not worth telling.
			results[i].Status = reports.Error
			results[i].Findings = []reports.Finding{{Status: reports.Error, Message: "interrupted"}}
			return
		}
		result.Rerun = r.options.Rerun(test.ID)
		results[i] = result
		r.observer.TestFinished(result)
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, parallel(tier))
	for i, p := range planned {
		if p.Skip != nil || p.Test.Serial {
			continue
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			execute(i)
		})
	}
	wg.Wait()
	for i, p := range planned {
		if p.Skip == nil && p.Test.Serial {
			execute(i)
		}
	}
	return results
}

// guardAgainstVacuity turns what a run silently did not do into errors: a planned test without result, and a
// requirement whose tests evaluated nothing. It also sums the requirements up.
func guardAgainstVacuity(record *reports.Record, plan *suites.Plan, catalogue []suites.Requirement) {
	for _, p := range plan.Tests {
		i := slices.IndexFunc(record.Tests, func(t reports.Test) bool { return t.ID == p.Test.ID })
		switch {
		case i < 0:
			record.Tests = append(record.Tests, reports.Test{
				ID: p.Test.ID, Title: p.Test.Title, Tier: string(p.Test.Tier), Requirements: p.Test.Requirements, Status: reports.Error,
				Findings: []reports.Finding{{Status: reports.Error, Message: "planned, but not run"}},
			})
		case p.Skip == nil && record.Tests[i].Status == reports.Skip:
			record.Tests[i].Status = reports.Error
			record.Tests[i].Findings = []reports.Finding{{Status: reports.Error, Message: "planned, but not run"}}
		}
	}
	for _, q := range catalogue {
		if q.Pending != "" {
			record.Untested = append(record.Untested, reports.Untested{ID: q.ID, Part: q.PendingPart, Issue: q.Pending})
			if q.PendingPart == "" {
				continue
			}
		}
		result := reports.Requirement{ID: q.ID, Level: string(q.Level), Statement: q.Statement, Source: q.Source, Status: reports.Skip}
		runnable := false
		for _, t := range record.Tests {
			if !slices.Contains(t.Requirements, q.ID) {
				continue
			}
			status, cases := t.Of(q.ID)
			result.Tests = append(result.Tests, t.ID)
			result.Status = reports.Worst(result.Status, status)
			result.Cases += cases
			runnable = runnable || t.Status != reports.Skip
		}
		if len(result.Tests) == 0 {
			continue // not selected
		}
		if runnable && result.Cases == 0 {
			result.Status = reports.Error
		}
		record.Requirements = append(record.Requirements, result)
	}
}

// verdict judges the record. interrupted says that the user ended the run, leaked what the clean-up left behind.
func verdict(record *reports.Record, interrupted bool, leaked []string) reports.Verdict {
	status := reports.Skip
	for _, p := range record.Phases {
		status = reports.Worst(status, p.Status)
	}
	executed, cases, waived, failed := 0, 0, 0, 0
	byStatus := map[reports.Status]int{}
	for _, t := range record.Tests {
		status = reports.Worst(status, t.Status)
		byStatus[t.Status]++
		if len(t.Cases) > 0 {
			executed++
			cases += len(t.Cases)
		}
		if t.SubjectFailed() {
			failed++
		}
	}
	for _, w := range record.Waivers {
		waived += w.Findings
	}
	decided := 0
	for _, q := range record.Requirements {
		status = reports.Worst(status, q.Status)
		if q.Status != reports.Skip {
			decided++
		}
	}
	v := reports.Verdict{Status: status}
	switch {
	case interrupted:
		v.Status, v.ExitCode, v.Reason = reports.Error, reports.ExitInterrupted, fmt.Sprintf("interrupted after %d tests", executed)
	case len(leaked) > 0:
		v.Status, v.ExitCode = reports.Error, reports.ExitLeaked
		v.Reason = "the clean-up left behind: " + strings.Join(leaked, ", ")
	case status == reports.Error:
		v.ExitCode, v.Reason = reports.ExitEnvironment, errorReason(record, byStatus)
	case executed == 0:
		v.Status, v.ExitCode, v.Reason = reports.Error, reports.ExitEnvironment, "no test was executed"
	case failed > 0:
		v.ExitCode, v.Reason = reports.ExitFailed, fmt.Sprintf("%d of %d tests failed: the subject does not conform", failed, executed)
		if n := byStatus[reports.Flake]; n > 0 {
			v.Reason += fmt.Sprintf(" (%d flaky: not in every attempt)", n)
		}
	case status == reports.Fail:
		v.ExitCode, v.Reason = reports.ExitFailed, "the subject conforms, but the waivers do not hold"
	default:
		v.ExitCode = reports.ExitPass
		v.Reason = fmt.Sprintf("%d tests with %d cases, %d requirements", executed, cases, decided)
		if n := byStatus[reports.Warn]; n > 0 {
			v.Reason += fmt.Sprintf(", %d with warnings", n)
		}
		if waived > 0 {
			v.Reason += fmt.Sprintf(", %d findings waived", waived)
		}
		if n := byStatus[reports.Flake]; n > 0 {
			v.Reason += fmt.Sprintf(", %d flaky", n)
		}
	}
	return v
}

// errorReason names what broke first.
func errorReason(record *reports.Record, byStatus map[reports.Status]int) string {
	for _, p := range record.Phases {
		if p.Status == reports.Error {
			return fmt.Sprintf("phase %q broke, so the subject is not judged", p.Name)
		}
	}
	reason := fmt.Sprintf("%d tests broke, so they say nothing about the subject", byStatus[reports.Error])
	if n := byStatus[reports.Fail]; n > 0 {
		reason += fmt.Sprintf("; %d tests failed", n)
	}
	return reason
}
