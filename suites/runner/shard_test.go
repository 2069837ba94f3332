package runner

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// saved is the path of a record with those tests.
func saved(t *testing.T, tests ...reports.Test) string {
	path := filepath.Join(t.TempDir(), "record.json")
	record := &reports.Record{APIVersion: reports.APIVersion, Kind: reports.Kind, Tests: tests}
	if err := record.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDurationsAreThoseOfOneExecution(t *testing.T) {
	ran := []reports.Case{{Name: "x", Status: reports.Pass, Checks: 1}}
	c := Config{Shard: "1/2", Durations: saved(t,
		reports.Test{ID: "once", Status: reports.Pass, Seconds: 3, Cases: ran},
		reports.Test{ID: "repeated", Status: reports.Pass, Seconds: 8, Cases: ran, Attempts: make([]reports.Attempt, 4)},
		reports.Test{ID: "skipped", Status: reports.Skip},
	)}
	got, err := c.durations()
	if err != nil || len(got) != 2 || got["once"] != 3*time.Second || got["repeated"] != 2*time.Second {
		t.Errorf("durations are %v (%v), want once 3s, repeated 2s, and none of what was skipped", got, err)
	}
}

// TestShardsOfARunAreItsPlan asks for the plans of all shards and for the whole one, with seeds of their own: the shards have the same tests
// as the whole, each once, decided alike.
func TestShardsOfARunAreItsPlan(t *testing.T) {
	decided := func(plan *suites.Plan) []string {
		var all []string
		for _, p := range plan.Tests {
			reason := ""
			if p.Skip != nil {
				reason = p.Skip.Reason
			}
			all = append(all, p.Test.ID+" "+reason)
		}
		return all
	}
	whole, err := Plan(Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for i, shard := range []string{"1/3", "2/3", "3/3"} {
		plan, err := Plan(Config{Seed: int64(i), Shard: shard})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, decided(plan)...)
	}
	slices.Sort(parts)
	if want := slices.Sorted(slices.Values(decided(whole))); !slices.Equal(parts, want) {
		t.Errorf("the shards plan\n%s\nthe whole run plans\n%s", strings.Join(parts, "\n"), strings.Join(want, "\n"))
	}
}

// The issuer of a local cluster is not published. A shard with nothing but the test of that is planned nevertheless.
func TestAShardOfSkippedTestsHasAPlan(t *testing.T) {
	tests := []string{"issuer-published", "issuer-discovery"}
	for _, shard := range []string{"1/2", "2/2"} {
		c := Config{Shard: shard, Select: suites.Selection{Tests: tests}}
		if _, err := Plan(c); err != nil {
			t.Errorf("shard %s of %v: %v", shard, tests, err)
		}
	}
}

func TestTheRecordOfAShardHasTheWholePlan(t *testing.T) {
	c := Config{Shard: "2/3"}
	shard := shardOf(c, []suites.Test{{ID: "b"}, {ID: "a"}})
	if shard.Index != 2 || shard.Total != 3 || !slices.Equal(shard.Plan, []string{"b", "a"}) {
		t.Errorf("the record says %+v", shard)
	}
}

// The tests that decide a requirement may all be in other shards: that is no error of this one.
func TestARequirementThatOtherShardsDecideIsNoErrorOfAShard(t *testing.T) {
	record := func(shard *reports.Shard) *reports.Record {
		r := &reports.Record{
			Run: reports.Run{Shard: shard},
			Tests: []reports.Test{{
				ID: "one", Status: reports.Pass, Requirements: []string{"AA-01", "AA-02"},
				Cases: []reports.Case{{Name: "x", Requirements: []string{"AA-01"}, Status: reports.Pass, Checks: 1}},
			}},
		}
		guardAgainstVacuity(r, &suites.Plan{}, []suites.Requirement{{ID: "AA-01"}, {ID: "AA-02"}})
		r.Count()
		r.Verdict = r.Judge(false, nil)
		return r
	}
	if r := record(nil); r.Verdict.Status != reports.Error {
		t.Errorf("a whole run that decides only one of two requirements is %s", r.Verdict.Status)
	}
	r := record(&reports.Shard{Index: 1, Total: 2, Plan: []string{"one", "two"}})
	if r.Verdict.Status != reports.Pass || len(r.Problems()) > 0 {
		t.Errorf("a shard that decides one of two requirements is %s: %q", r.Verdict.Status, r.Problems())
	}
}

func TestAShardThatSkipsAllItsTestsPasses(t *testing.T) {
	skipped := []reports.Test{{ID: "one", Status: reports.Skip, Skip: &reports.Skipped{Reason: "no-nodes"}}}
	shard := &reports.Record{Run: reports.Run{Shard: &reports.Shard{Index: 1, Total: 2}}, Tests: skipped}
	if v := shard.Judge(false, nil); v.ExitCode != reports.ExitPass {
		t.Errorf("the shard is %+v", v)
	}
	whole := &reports.Record{Tests: skipped}
	if v := whole.Judge(false, nil); v.ExitCode != reports.ExitEnvironment {
		t.Errorf("the whole run is %+v", v)
	}
	unplanned := &reports.Record{Run: shard.Run}
	if v := unplanned.Judge(false, nil); v.ExitCode != reports.ExitEnvironment {
		t.Errorf("a shard without any test is %+v", v)
	}
}

func TestMistakesAboutShards(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no number", Config{Shard: "one"}, "not i/n"},
		{"beyond the last", Config{Shard: "3/2"}, "not i/n"},
		{"durations without a shard", Config{Durations: "record.json"}, "go with --shard"},
		{"a record that is not there", Config{Shard: "1/2", Durations: "no-such-record.json"}, "read the durations"},
		{"more shards than tests", Config{Shard: "1/999"}, "more shards (999)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.config.Validate()
			if err == nil {
				_, err = Plan(c.config)
			}
			if mistake := (*UsageError)(nil); !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a usage error with %q", err, c.want)
			}
		})
	}
}
