package runner

import (
	"fmt"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// selectTests returns the tests that the configuration selects, and of them those of its shard: all where it names none. An unknown
// name, an unreadable record of durations and a shard that would be empty are a UsageError.
func (c *Config) selectTests(catalogue []suites.Requirement) (selected, part []suites.Test, err error) {
	if selected, err = suites.Select(c.Select, catalogue, Tests()); err != nil {
		return nil, nil, &UsageError{err}
	}
	if selected, err = c.soakTests(selected); err != nil {
		return nil, nil, &UsageError{err}
	}
	shard, err := c.shard()
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	durations, err := c.durations()
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	if part, err = shard.Of(selected, durations); err != nil {
		return nil, nil, &UsageError{err}
	}
	return selected, part, nil
}

// CheckSelection says whether there are tests for a run with the configuration.
func CheckSelection(c Config) error {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return err
	}
	_, _, err = c.selectTests(catalogue)
	return err
}

// shard is the one that was asked for.
func (c *Config) shard() (suites.Shard, error) {
	if c.Shard == "" {
		return suites.Shard{}, nil
	}
	return suites.ParseShard(c.Shard)
}

// durations are what an execution of each test took in the recorded runs, on the average.
func (c *Config) durations() (map[string]time.Duration, error) {
	if c.Durations == "" {
		return nil, nil
	}
	records, err := reports.LoadAll(c.Durations)
	if err != nil {
		return nil, fmt.Errorf("read the durations: %w", err)
	}
	sums, executions := map[string]float64{}, map[string]int{}
	for _, r := range records {
		for _, t := range r.Tests {
			if len(t.Cases) > 0 {
				sums[t.ID] += t.Seconds
				executions[t.ID] += max(1, len(t.Attempts))
			}
		}
	}
	durations := map[string]time.Duration{}
	for id, sum := range sums {
		durations[id] = time.Duration(sum / float64(executions[id]) * float64(time.Second))
	}
	return durations, nil
}

// shardOf is what the record says of the shard. The plan is in the order of the selection, which no seed changes.
func shardOf(c Config, selected []suites.Test) *reports.Shard {
	shard, _ := c.shard() // Validate has read it
	of := &reports.Shard{Index: shard.Index, Total: shard.Total}
	for _, t := range selected {
		of.Plan = append(of.Plan, t.ID)
	}
	return of
}

// ofShard tells how many of the selected tests are the shard's.
func ofShard(c Config, part []suites.Test) string {
	if c.Shard == "" {
		return ""
	}
	return fmt.Sprintf(", %d of them in shard %s", len(part), c.Shard)
}
