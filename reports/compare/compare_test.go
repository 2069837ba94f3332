package compare

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

// run is a record of tests of those statuses, each of a requirement of its own name.
func run(statuses map[string]reports.Status) *reports.Record {
	r := &reports.Record{Run: reports.Run{ID: "r1", Version: "v1"}, Subject: reports.Subject{Kind: "helm", Version: "v1.5.1"}}
	for _, id := range []string{"a", "b", "c", "d"} {
		status, ok := statuses[id]
		if !ok {
			continue
		}
		t := reports.Test{ID: id, Status: status, Requirements: []string{"R-" + id}, Seconds: 1}
		if status == reports.Skip {
			t.Skip = &reports.Skipped{Reason: "no-nodes"}
		} else {
			c := reports.Case{Name: "x", Status: status, Checks: 1, Workloads: []reports.Workload{{Name: "program-" + id, SecretSHA256: "00"}}}
			if status != reports.Pass {
				c.Findings = []reports.Finding{{Status: status, Message: "it is " + string(status) + "\nat length"}}
			}
			t.Cases = []reports.Case{c}
		}
		r.Tests = append(r.Tests, t)
		r.Requirements = append(r.Requirements, reports.Requirement{ID: "R-" + id, Status: status})
	}
	r.Phases = []reports.Phase{{Name: "cluster", Seconds: 10}, {Name: "propagation", Seconds: 3}, {Name: "propagation", Seconds: 3}}
	return r
}

func of(status reports.Status) map[string]reports.Status {
	return map[string]reports.Status{"a": status}
}

func TestOneChangeIsToldForWhatItIs(t *testing.T) {
	const regression, skipped, lost, fixed, added = "regression", "skipped", "lost", "fixed", "added"
	for _, c := range []struct {
		name          string
		before, after map[string]reports.Status
		want          string
		worse         bool
	}{
		{"what passed and fails is a regression", of(reports.Pass), of(reports.Fail), regression, true},
		{"what passed and is a flake is a regression", of(reports.Pass), of(reports.Flake), regression, true},
		{"what passed and only warns is a regression", of(reports.Pass), of(reports.Warn), regression, true},
		{"what passed and broke is a regression", of(reports.Pass), of(reports.Error), regression, true},
		{"what was a flake and fails is a regression", of(reports.Flake), of(reports.Fail), regression, true},
		{"what failed and passes is fixed", of(reports.Fail), of(reports.Pass), fixed, false},
		{"what failed and is a flake is better", of(reports.Fail), of(reports.Flake), fixed, false},
		{"what passed and is skipped is newly skipped", of(reports.Pass), of(reports.Skip), skipped, true},
		{"what failed and is skipped is newly skipped, not fixed", of(reports.Fail), of(reports.Skip), skipped, true},
		{"what passed and is not there is lost", of(reports.Pass), nil, lost, true},
		{"what failed and is not there is lost", of(reports.Fail), nil, lost, true},
		{"what was skipped and passes is added", of(reports.Skip), of(reports.Pass), added, false},
		{"what was skipped and fails is added", of(reports.Skip), of(reports.Fail), added, false},
		{"what was not there and passes is added", nil, of(reports.Pass), added, false},
		{"what was not there and is skipped is nothing", nil, of(reports.Skip), "", false},
		{"what passes as before is nothing", of(reports.Pass), of(reports.Pass), "", false},
		{"what fails as before is nothing", of(reports.Fail), of(reports.Fail), "", false},
		{"what was skipped and is gone is nothing", of(reports.Skip), nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Compare(run(c.before), run(c.after))
			for kind, changes := range map[string][]Change{regression: got.Regressions, skipped: got.Skipped, lost: got.Lost, fixed: got.Fixed, added: got.Added} {
				tests := 0
				for _, change := range changes {
					if change.Kind == "test" {
						tests++
					}
				}
				if want := kind == c.want; (tests == 1) != want {
					t.Errorf("%s: %+v", kind, changes)
				}
			}
			if got.Worse() != c.worse {
				t.Errorf("worse: %v, want %v", got.Worse(), c.worse)
			}
		})
	}
}

func TestAnyLossOfProofIsWorse(t *testing.T) {
	for name, c := range map[string]Comparison{"a regression": {Regressions: make([]Change, 1)}, "a skip": {Skipped: make([]Change, 1)}, "a loss": {Lost: make([]Change, 1)}} {
		if !c.Worse() {
			t.Errorf("%s is not worse", name)
		}
	}
	if (Comparison{Fixed: make([]Change, 1), Added: make([]Change, 1), Gone: make([]Change, 1), Slower: make([]Slowdown, 1)}).Worse() {
		t.Error("what is better, other or slower is worse")
	}
}

func TestAWorkloadThatDoesNotRunAnyMoreIsLostCoverage(t *testing.T) {
	before, after := run(of(reports.Pass)), run(of(reports.Pass))
	after.Tests[0].Cases[0].Workloads[0].SecretSHA256 = ""
	got := Compare(before, after)
	if len(got.Lost) != 1 || got.Lost[0].ID != "program-a" || !got.Worse() {
		t.Errorf("lost: %+v", got.Lost)
	}
	before.Tests[0].Cases[0].Workloads[0].OS = "windows"
	if got := Compare(before, run(of(reports.Pass))); len(got.Lost) != 1 || got.Lost[0].ID != "program-a windows" {
		t.Errorf("a program on another system is taken for the same: %+v", got.Lost)
	}
}

func TestATestOfAnotherVersionIsGoneAndItsRequirementIsNot(t *testing.T) {
	before, after := run(of(reports.Pass)), run(of(reports.Pass))
	after.Run.Version, after.Tests[0].ID = "v2", "renamed"
	got := Compare(before, after)
	if len(got.Gone) != 1 || got.Gone[0].ID != "a" || got.Worse() {
		t.Errorf("%+v", got)
	}
	after.Requirements = nil
	if got := Compare(before, after); !got.Worse() || len(got.Lost) != 1 || got.Lost[0].ID != "R-a" {
		t.Errorf("a requirement that is not decided any more is no loss: %+v", got)
	}
	before.Tests[0].Status = reports.Skip
	if got := Compare(before, after); len(got.Gone) != 0 {
		t.Errorf("what was skipped is gone: %+v", got.Gone)
	}
}

func TestSlowerIsWhatIsBeyondNoise(t *testing.T) {
	for _, c := range []struct {
		name     string
		was, is  float64
		attempts int
		want     bool
	}{
		{"much, and by seconds", 10, 16, 0, true},
		{"by seconds, and not much", 100, 110, 0, false},
		{"much, and by less than seconds", 0.1, 1.9, 0, false},
		{"faster", 16, 10, 0, false},
		{"in all, of more attempts", 10, 20, 2, false},
		{"each of more attempts", 10, 40, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := run(of(reports.Pass)), run(of(reports.Pass))
			before.Tests[0].Seconds, after.Tests[0].Seconds = c.was, c.is
			after.Tests[0].Attempts = make([]reports.Attempt, c.attempts)
			got := Compare(before, after)
			if slower := len(got.Slower) == 1; slower != c.want || got.Worse() {
				t.Errorf("slower: %+v, want %v", got.Slower, c.want)
			}
		})
	}
	after := run(of(reports.Pass))
	after.Phases[2].Seconds = 9 // the second of its name
	if got := Compare(run(of(reports.Pass)), after); len(got.Slower) != 1 || got.Slower[0] != (Slowdown{"phase", "propagation", 6, 12}) {
		t.Errorf("slower: %+v", got.Slower)
	}
}

func TestComparisonInWords(t *testing.T) {
	before := run(map[string]reports.Status{"a": reports.Pass, "b": reports.Fail, "c": reports.Pass})
	after := run(map[string]reports.Status{"a": reports.Fail, "b": reports.Pass, "c": reports.Skip, "d": reports.Pass})
	after.Phases[0].Seconds = 100
	var b bytes.Buffer
	if err := Compare(before, after).Write(&b); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "comparison.golden.txt", b.Bytes())
	b.Reset()
	if err := Compare(before, before).Write(&b); err != nil || b.String() != "nothing changed\n" {
		t.Errorf("%q, error %v", b.String(), err)
	}
	if err := Compare(before, after).Write(brokenPipe{}); !errors.Is(err, errBrokenPipe) {
		t.Errorf("error %v", err)
	}
}

var errBrokenPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBrokenPipe }

func TestHistoryTellsFlakesFromFailures(t *testing.T) {
	at := func(day int, r *reports.Record) *reports.Record {
		r.Run.Started = time.Date(2026, 11, day, 8, 0, 0, 0, time.UTC)
		r.Run.ID = "day-" + string(rune('0'+day))
		return r
	}
	all := func(a, b, c, d reports.Status) *reports.Record {
		return run(map[string]reports.Status{"a": a, "b": b, "c": c, "d": d})
	}
	older := all(reports.Pass, reports.Pass, reports.Pass, reports.Fail)
	older.Subject.Version = "v1.5.0"
	records := []*reports.Record{
		at(3, all(reports.Fail, reports.Flake, reports.Skip, reports.Fail)),
		at(1, older), // d failed in every run of each version: no flake
		at(2, all(reports.Pass, reports.Pass, reports.Pass, reports.Fail)),
		at(4, all(reports.Pass, reports.Pass, reports.Pass, reports.Fail)),
	}
	h := HistoryOf(records)
	want := map[string]float64{"a": 0.25, "b": 0.25, "c": 0, "d": 0}
	for _, s := range h.Tests {
		if s.FlakeRate() != want[s.ID] {
			t.Errorf("flake rate of %s: %v, want %v", s.ID, s.FlakeRate(), want[s.ID])
		}
	}
	if h.Tests[2].ID != "c" || h.Tests[2].Executed() != 3 || h.Tests[2].Last != reports.Pass {
		t.Errorf("a skip counts as executed, or the order is another: %+v", h.Tests)
	}
	var b bytes.Buffer
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "history.golden.txt", b.Bytes())

	if late := HistoryOf([]*reports.Record{all(reports.Pass, reports.Pass, reports.Pass, reports.Flake)}); late.Tests[0].ID != "d" {
		t.Errorf("the flakiest is not the first: %+v", late.Tests)
	}
	// A failure that comes with another version of the subject is the subject's, one on another cluster may be the cluster's.
	elsewhere := at(2, all(reports.Fail, reports.Pass, reports.Pass, reports.Pass))
	elsewhere.Cluster.Kubernetes = "v1.34.0"
	for _, s := range HistoryOf([]*reports.Record{records[2], elsewhere}).Tests {
		if s.FlakeRate() != 0 {
			t.Errorf("%s differs with the cluster and is a flake: %+v", s.ID, s)
		}
	}
	fixed := HistoryOf([]*reports.Record{older, at(2, all(reports.Fail, reports.Pass, reports.Pass, reports.Pass))})
	for _, s := range fixed.Tests {
		if s.FlakeRate() != 0 {
			t.Errorf("%s changed with the subject and is a flake: %+v", s.ID, s)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
		}
	}
}
