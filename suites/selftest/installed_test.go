package selftest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

func TestWhatARunOnAnInstallationProves(t *testing.T) {
	tested := func(status reports.Status) []reports.Test { return []reports.Test{{ID: "own", Status: status}} }
	phase := func(status reports.Status) []reports.Phase {
		return []reports.Phase{{Name: "subject", Status: status, Message: "why"}}
	}
	for name, c := range map[string]struct {
		record reports.Record
		want   reports.Status
	}{
		"what its test says":                              {reports.Record{Phases: phase(pass), Tests: tested(fail)}, fail},
		"nothing, where the run did not come to the test": {reports.Record{Phases: phase(pass)}, broken},
		"nothing, where a phase broke before the test":    {reports.Record{Phases: phase(broken)}, broken},
		"nothing, where a phase broke after the test":     {reports.Record{Phases: phase(broken), Tests: tested(fail)}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(context.Context, string, mutants.Mutant, suites.Test) (*reports.Record, error) {
				return &c.record, nil
			}
			options := Options{Installations: NewInstallations([]string{"a"}, run)}
			got, err := (&installedRun{}).execute(t.Context(), options, suites.Test{ID: "own"})
			if err != nil || got.Status != c.want {
				t.Errorf("%s (%v), want %s", got.Status, err, c.want)
			}
		})
	}
}

// TestAClusterHasOneInstallationAtATime: two would disturb each other.
func TestAClusterHasOneInstallationAtATime(t *testing.T) {
	var mu sync.Mutex
	there := map[string]int{}
	run := func(_ context.Context, cluster string, _ mutants.Mutant, _ suites.Test) (*reports.Record, error) {
		enter := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			there[cluster] += n
			return there[cluster]
		}
		defer enter(-1)
		if enter(1) > 1 {
			return nil, errors.New("two on " + cluster)
		}
		return &reports.Record{}, nil
	}
	options := Options{Installations: NewInstallations([]string{"a", "b"}, run)}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := (&installedRun{}).execute(t.Context(), options, suites.Test{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(there) != 2 {
		t.Errorf("installed on %v", there)
	}
}

func TestOnlyFaultsOfAnInstallationAreInstalled(t *testing.T) {
	own := suites.Test{ID: "own", Requirements: []string{"OPS-01"}, Needs: []suites.Capability{suites.OwnInstallation}}
	other := suites.Test{ID: "other", Requirements: []string{"OPS-01"}}
	tests := []suites.Test{own, other}
	for name, c := range map[string]struct {
		mutant mutants.Mutant
		want   int
	}{
		"of the webhook":                  {mutants.Mutant{Requirement: "OPS-01"}, 1},
		"of the issuer":                   {mutants.Mutant{Requirement: "OPS-01", Issuer: &issuer.Fault{}}, 0},
		"of a rule that nothing disturbs": {mutants.Mutant{Requirement: "OPS-02"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := disturbing(c.mutant, tests); len(got) != c.want {
				t.Errorf("%d tests, want %d", len(got), c.want)
			}
		})
	}
}
