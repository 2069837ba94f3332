package runner

import (
	"context"
	"slices"
	"sync"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
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
	if tier == suites.Exchange || tier == suites.Proxy || tier == suites.Windows {
		return parallelPrograms
	}
	return parallelTests
}

// runTests executes the plan tier by tier and returns a result for every planned test, in the plan's order.
func (r *run) runTests(ctx context.Context, s *stage, plan *suites.Plan) {
	ctx, stop := s.whileClusterLives(ctx)
	defer stop()
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
		if tier == suites.Windows && r.config.Cluster.AKS.WindowsNodes {
			if err := r.phase(ctx, "windows nodes", s.awaitWindows); err != nil {
				continue // the guard against vacuity tells what was not run
			}
		}
		if slices.ContainsFunc(planned, func(p suites.Planned) bool { return p.Skip == nil && len(p.Test.Trust) > 0 }) {
			err := r.phase(ctx, "propagation", func(ctx context.Context) error { return s.awaitPropagation(ctx, planned) })
			if err != nil {
				continue // the guard against vacuity tells what was not run
			}
		}
		if tier == suites.Soak {
			s.beginSoak()
		}
		_ = r.phase(ctx, "tests: "+string(tier), func(ctx context.Context) error {
			results := r.runTier(ctx, tier, planned, func(ctx context.Context, test suites.Test, n int) reports.Test {
				return s.attempt(ctx, test, n, slots)
			})
			r.record.Tests = append(r.record.Tests, results...)
			if s.bundles.Full() {
				r.note("the failure bundles have reached their size: some of them are missing or not whole")
			}
			return lostBy(ctx)
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
			message := "interrupted"
			if err := lostBy(ctx); err != nil {
				message = err.Error()
			}
			results[i].Status = reports.Error
			results[i].Findings = []reports.Finding{{Status: reports.Error, Message: message}}
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
			record.Untested = append(record.Untested, reports.Untested{
				ID: q.ID, Part: q.PendingPart, Issue: q.Pending, Section: q.Section, Level: string(q.Level), Statement: q.Statement,
			})
			if q.PendingPart == "" {
				continue
			}
		}
		result := reports.Requirement{
			ID: q.ID, Section: q.Section, Level: string(q.Level), Statement: q.Statement, Source: q.Source,
		}
		result.Status, result.Tests, result.Cases = record.Fared(q.ID)
		if len(result.Tests) == 0 {
			continue // not selected
		}
		record.Requirements = append(record.Requirements, result)
	}
}

// namePrograms writes into the record which programs of the catalogue the tests take: one that was skipped has no other trace of them.
func namePrograms(record *reports.Record, plan *suites.Plan, catalogue []workloads.Workload) {
	for i := range record.Tests {
		t := &record.Tests[i]
		p := slices.IndexFunc(plan.Tests, func(p suites.Planned) bool { return p.Test.ID == t.ID })
		if p < 0 {
			continue
		}
		for _, w := range catalogue {
			if slices.Contains(plan.Tests[p].Test.Needs, suites.WorkloadImage(w.Name)) {
				t.Programs = append(t.Programs, reports.Program{Name: w.Name, Language: w.Language, Library: w.Library, OS: w.Platform})
			}
		}
	}
}
