package selftest

import (
	"context"
	"fmt"
	"slices"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Installations are whole installations on clusters of their own, one at a time on each, for tests that disturb them.
type Installations struct {
	free chan string
	run  RunInstalled
}

// RunInstalled installs the mutant, or the conformant reference for the zero value, on a cluster, runs the test as any run does, and
// removes it again.
type RunInstalled func(ctx context.Context, cluster string, m mutants.Mutant, test suites.Test) (*reports.Record, error)

// NewInstallations are those on the clusters of these names.
func NewInstallations(clusters []string, run RunInstalled) *Installations {
	i := &Installations{free: make(chan string, len(clusters)), run: run}
	for _, c := range clusters {
		i.free <- c
	}
	return i
}

// NeedsInstallations says whether there are tests that disturb what they test.
func (o Options) NeedsInstallations() bool { return slices.ContainsFunc(o.Tests, disturbs) }

// disturbs says whether the test takes an installation of its own.
func disturbs(test suites.Test) bool {
	return test.Tier == suites.Soak || slices.Contains(test.Needs, suites.OwnInstallation)
}

// disturbing are the tests of the mutant's rule that take an installation; none if the fault is not one of an installation.
func disturbing(m mutants.Mutant, tests []suites.Test) []suites.Test {
	if part := m.Part(); part != mutants.Webhook && part != mutants.Installation {
		return nil
	}
	return slices.DeleteFunc(suites.TestsOf(m.Requirement, tests), func(t suites.Test) bool { return !disturbs(t) })
}

// installedRun is an installation with a mutant's fault; without one if it is the zero value.
type installedRun struct{ mutant mutants.Mutant }

// execute walks a run's whole road.
func (r *installedRun) execute(ctx context.Context, options Options, test suites.Test) (reports.Test, error) {
	cluster := <-options.Installations.free
	defer func() { options.Installations.free <- cluster }()
	record, err := options.Installations.run(ctx, cluster, r.mutant, test)
	if err != nil {
		return reports.Test{}, err
	}
	result := reports.Test{ID: test.ID, Tier: string(test.Tier), Requirements: test.Requirements, Status: reports.Error}
	if i := slices.IndexFunc(record.Tests, func(t reports.Test) bool { return t.ID == test.ID }); i >= 0 {
		result = record.Tests[i]
	}
	for _, p := range record.Phases {
		if p.Status == reports.Error { // whatever the test says, the run proves nothing
			result.Status = reports.Error
			result.Findings = append(result.Findings, reports.Finding{Status: reports.Error, Message: fmt.Sprintf("phase %s: %s", p.Name, p.Message)})
		}
	}
	return result, nil
}
