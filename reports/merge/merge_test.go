package merge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
)

var start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// run is a record of a run of those tests; "!" before an id makes it fail, "-" skips it. Each is about AA-01, and one named after it.
func run(tests ...string) *reports.Record {
	r := &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind,
		Run:     reports.Run{ID: "r" + strings.Join(tests, ""), Version: "v1", Seed: 7, Started: start, Finished: start.Add(time.Minute), Seconds: 60},
		Cluster: reports.Cluster{Provider: "local", Kubernetes: "v1.36.3", Capabilities: []string{"nodes"}},
		Subject: reports.Subject{Kind: "helm", Version: "v1.5.1", Images: []reports.Image{{Name: "webhook", Digest: "sha256:00"}}},
		Phases:  []reports.Phase{{Name: "cluster", Status: reports.Pass, Seconds: 5}},
	}
	ids := []string{"AA-01"}
	for _, name := range tests {
		id := strings.TrimLeft(name, "!-")
		t := reports.Test{ID: id, Tier: "admission", Status: reports.Pass, Requirements: []string{"AA-01", "R-" + id}, Cases: []reports.Case{{Name: "x", Status: reports.Pass, Checks: 1}}}
		switch name[0] {
		case '!':
			t.Status, t.Cases[0].Status, t.Cases[0].Findings = reports.Fail, reports.Fail, []reports.Finding{{Status: reports.Fail, Message: "no"}}
		case '-':
			t.Status, t.Cases, t.Skip = reports.Skip, nil, &reports.Skipped{Reason: "no-nodes"}
		}
		r.Tests = append(r.Tests, t)
		ids = append(ids, "R-"+id)
	}
	for _, id := range ids {
		q := reports.Requirement{ID: id, Level: "MUST"}
		q.Status, q.Tests, q.Cases = r.Fared(id)
		r.Requirements = append(r.Requirements, q)
	}
	r.Count()
	r.Verdict = r.Judge(false, nil)
	return r
}

var plan = []string{"a", "b", "c", "d"}

// shard is a record of the index-th of two shards.
func shard(index int, tests ...string) *reports.Record {
	r := run(tests...)
	r.Run.Shard = &reports.Shard{Index: index, Total: 2, Plan: plan}
	return r
}

func TestShardsMakeTheRecordOfTheWholeRun(t *testing.T) {
	second := shard(2, "c", "!a")
	second.Run.Started, second.Run.Finished = start.Add(-time.Minute), start.Add(2*time.Minute)
	got, err := Shards([]*reports.Record{second, shard(1, "-d", "b")})
	if err != nil {
		t.Fatal(err)
	}
	if problems := got.Problems(); len(problems) > 0 {
		t.Errorf("the merged record contradicts itself: %q", problems)
	}
	want := run("!a", "b", "c", "-d")
	var order []string
	for _, test := range got.Tests {
		order = append(order, test.ID)
	}
	if !slices.Equal(order, plan) {
		t.Errorf("the tests are in the order %v, want the plan's", order)
	}
	if diff := cmp.Diff(want.Tests, got.Tests); diff != "" {
		t.Errorf("tests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Counts, got.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Verdict, got.Verdict); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	for _, q := range want.Requirements {
		i := slices.IndexFunc(got.Requirements, func(have reports.Requirement) bool { return have.ID == q.ID })
		if i < 0 || !cmp.Equal(q, got.Requirements[i]) {
			t.Errorf("requirement %s is another: %+v", q.ID, got.Requirements)
		}
	}
	if got.Run.ID != "r-db+rc!a" || got.Run.Shard != nil || got.Run.Seconds != 180 || got.Phases[1].Name != "shard 2/2: cluster" {
		t.Errorf("the run is %+v, phases %+v", got.Run, got.Phases)
	}
}

func TestShardsThatAreNotTheWholePlanAreRefused(t *testing.T) {
	altered := func(r *reports.Record, alter func(*reports.Record)) *reports.Record {
		alter(r)
		return r
	}
	for _, c := range []struct {
		name    string
		records []*reports.Record
		want    string
	}{
		{"none", nil, "there is no shard"},
		{"one that is a whole run", []*reports.Record{run("a")}, "is no shard"},
		{"a whole run among them", []*reports.Record{shard(1, "a", "b"), run("c", "d")}, "is no shard"},
		{"one is missing", []*reports.Record{shard(1, "a", "b")}, "shard 2/2 is missing"},
		{"one is there twice", []*reports.Record{shard(1, "a", "b"), shard(1, "c", "d")}, "are both shard 1/2"},
		{"an index out of range", []*reports.Record{shard(1, "a", "b"), shard(3, "c", "d")}, "is shard 3/2"},
		{"another total", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "d"), func(r *reports.Record) { r.Run.Shard.Total = 3 })}, "shard 2/3, want one of 2"},
		{"a total that is none", []*reports.Record{altered(shard(1, "a"), func(r *reports.Record) { r.Run.Shard.Total = -1 })}, "shard 1/-1"},
		{"another plan", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c"), func(r *reports.Record) { r.Run.Shard.Plan = plan[:3] })}, "different plans"},
		{"a test in both", []*reports.Record{shard(1, "a", "b"), shard(2, "b", "c", "d")}, "both have test b"},
		{"a test in neither", []*reports.Record{shard(1, "a", "b"), shard(2, "c")}, "no shard has test d"},
		{"a test that was not planned", []*reports.Record{shard(1, "a", "b"), shard(2, "c", "d", "e")}, "has test e, which is not in the plan"},
		{"another wi-e2e", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "d"), func(r *reports.Record) { r.Run.Version = "v2" })}, "the same version of wi-e2e"},
		{"another image", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "d"), func(r *reports.Record) { r.Subject.Images = []reports.Image{{Digest: "sha256:11"}} })}, "the same subject"},
		{"another provider", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "d"), func(r *reports.Record) { r.Cluster.Provider = "kind" })}, "the same cluster provider"},
		{"another Kubernetes", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "d"), func(r *reports.Record) { r.Cluster.Kubernetes = "v1.34.0" })}, "the same Kubernetes version"},
		{"one that was altered", []*reports.Record{shard(1, "a", "b"), altered(shard(2, "c", "!d"), func(r *reports.Record) { r.Tests[1].Status = reports.Pass })}, "contradicts itself"},
		{"a plan with a test twice", []*reports.Record{
			altered(shard(1, "a"), func(r *reports.Record) { r.Run.Shard.Total, r.Run.Shard.Plan = 1, []string{"a", "a"} }),
		}, "the plan has test a twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Shards(c.records); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestShardsMayHaveDrawnTheirSeeds(t *testing.T) {
	for seed, want := range map[int64]int64{7: 7, 8: 0} {
		second := shard(2, "c", "d")
		second.Run.Seed = seed
		got, err := Shards([]*reports.Record{shard(1, "a", "b"), second})
		if err != nil || got.Run.Seed != want {
			t.Errorf("seeds 7 and %d: %+v, error %v", seed, got, err)
		}
	}
}

func TestAShardThatWasInterruptedOrLeakedIsNotForgotten(t *testing.T) {
	for name, code := range map[string]int{"interrupted": reports.ExitInterrupted, "leaking": reports.ExitLeaked} {
		second := shard(2, "c", "d")
		second.Verdict = reports.Verdict{Status: reports.Error, ExitCode: code, Reason: name}
		got, err := Shards([]*reports.Record{shard(1, "a", "b"), second})
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict.ExitCode != code || got.Verdict.Reason != "shard 2/2: "+name || got.Verdict.Status != reports.Error {
			t.Errorf("%s: %+v", name, got.Verdict)
		}
	}
}

func TestARequirementOfSeveralShardsFaredAsTheWorstOfThem(t *testing.T) {
	got, err := Shards([]*reports.Record{shard(1, "a", "-b"), shard(2, "!c", "d")})
	if err != nil {
		t.Fatal(err)
	}
	if q := got.Requirements[0]; q.ID != "AA-01" || q.Status != reports.Fail || q.Cases != 3 || len(q.Tests) != 4 {
		t.Errorf("%+v", q)
	}
}

func TestWaiversOfShardsAreSummedUp(t *testing.T) {
	entry := func(state reports.WaiverState, findings int) []reports.Waiver {
		return []reports.Waiver{{Name: "w entry 1", State: state, Findings: findings}}
	}
	for _, c := range []struct {
		name     string
		a, b     reports.WaiverState
		want     reports.WaiverState
		findings int
	}{
		{"used in one", reports.WaiverUsed, reports.WaiverNotTested, reports.WaiverUsed, 1},
		{"used in the other", reports.WaiverNotTested, reports.WaiverUsed, reports.WaiverUsed, 1},
		{"used in one, and unused in the other", reports.WaiverUnused, reports.WaiverUsed, reports.WaiverUsed, 1},
		{"tested in neither", reports.WaiverNotTested, reports.WaiverNotTested, reports.WaiverNotTested, 0},
		{"passed in one", reports.WaiverNotTested, reports.WaiverPassed, reports.WaiverPassed, 0},
		{"expired", reports.WaiverExpired, reports.WaiverExpired, reports.WaiverExpired, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			count := map[reports.WaiverState]int{reports.WaiverUsed: 1}
			have := entry(c.a, count[c.a])
			got := joinWaivers(have, entry(c.b, count[c.b]))
			if len(got) != 1 || got[0].State != c.want || got[0].Findings != c.findings || have[0].State != c.a {
				t.Errorf("%+v, want %s with %d findings", got, c.want, c.findings)
			}
		})
	}
}
