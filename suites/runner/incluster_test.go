package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
)

func TestValidateARunInTheCluster(t *testing.T) {
	existing := ClusterConfig{Kubeconfig: "x"}
	for _, c := range []struct {
		name   string
		config Config
		err    string
	}{
		{"three shards", Config{InCluster: true, Shards: 3}, ""},
		{"shards that are no pods", Config{Shards: 3}, "goes with --in-cluster"},
		{"no number of shards", Config{InCluster: true}, "--in-cluster --shards 3"},
		{"one of the shards", Config{InCluster: true, Shards: 3, Shard: "1/3"}, "leave one of them out"},
		{"the real Azure", Config{InCluster: true, Shards: 3, Azure: AzureConfig{Mode: "real"}}, "takes the emulated Azure"},
		{"an existing cluster without the image", Config{InCluster: true, Shards: 3, Cluster: existing}, "name one that it can pull (--image)"},
		{"an existing cluster that can pull the image", Config{InCluster: true, Shards: 3, Cluster: existing, Image: "registry.example/wi-e2e:1"}, ""},
		{"durations", Config{InCluster: true, Shards: 3, Durations: "record.json"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { expectUsage(t, c.config.Validate(), c.err) })
	}
}

func TestShardsOfOneNodeShareWhatOneProcessWouldRunAtATime(t *testing.T) {
	for _, c := range []struct{ atATime, shards, nodes, want int }{
		{6, 3, 1, 2}, {16, 3, 1, 6}, {6, 3, 2, 4}, {6, 3, 3, 6}, {6, 3, 9, 6}, {2, 5, 1, 1}, {6, 1, 1, 6},
	} {
		if got := share(c.atATime, c.shards, c.nodes); got != c.want {
			t.Errorf("%d at a time, %d shards, %d nodes: %d, want %d", c.atATime, c.shards, c.nodes, got, c.want)
		}
	}
}

// aCollection takes the results of two shards, whose namespaces stay.
func aCollection() *collection {
	r := &run{
		config: Config{Cluster: ClusterConfig{Keep: true}}, record: &reports.Record{}, observer: silent{},
		options: Options{Rerun: func(test string) string { return "rerun " + test }},
	}
	return &collection{stage: &stage{run: r}, divided: [][]suites.Test{{{ID: "one"}}, {{ID: "two"}}}}
}

func outcomeOf(test string) incluster.Outcome {
	return incluster.Outcome{Test: reports.Test{ID: test, Tier: "admission", Status: reports.Pass}}
}

func TestAResultCountsOnceAndOfItsShardOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		shard  int
		test   string
		before []string
		err    string
	}{
		{"of its shard", 2, "two", []string{"one"}, ""},
		{"of another shard", 1, "two", nil, "shard 1 has a result of test two, which is not one of its tests"},
		{"of a shard that is none", 3, "two", nil, "shard 3 has a result"},
		{"of no shard", 0, "two", nil, "shard 0 has a result"},
		{"of an unknown test", 1, "three", nil, "not one of its tests"},
		{"that comes twice", 2, "two", []string{"two"}, "test two has two results"},
	} {
		t.Run(c.name, func(t *testing.T) {
			collected := aCollection()
			for _, id := range c.before {
				collected.stage.run.record.Tests = append(collected.stage.run.record.Tests, reports.Test{ID: id})
			}
			err := collected.Result(t.Context(), incluster.Begun{Shard: c.shard, Pod: "pod"}, outcomeOf(c.test))
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want one with %q", err, c.err)
			}
			if got := len(collected.stage.run.record.Tests); c.err != "" && got != len(c.before) {
				t.Errorf("it is in the record all the same")
			}
		})
	}
}

func TestATestThatWasBegunAnewSaysSo(t *testing.T) {
	c := aCollection()
	if err := c.Result(t.Context(), incluster.Begun{Shard: 1, Pod: "pod-3", Ended: []string{"pod-1", "pod-2"}}, outcomeOf("one")); err != nil {
		t.Fatal(err)
	}
	got := c.stage.run.record.Tests[0]
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "pod-1, pod-2") || got.Rerun != "rerun one" || got.Tier != "admission" {
		t.Errorf("the record has %+v", got)
	}
}

func TestResultsAreInThePlansOrder(t *testing.T) {
	plan := &suites.Plan{Tests: []suites.Planned{{Test: suites.Test{ID: "a"}}, {Test: suites.Test{ID: "b"}}, {Test: suites.Test{ID: "c"}}}}
	tests := []reports.Test{{ID: "c"}, {ID: "a"}, {ID: "b"}}
	inPlansOrder(tests, plan)
	if tests[0].ID+tests[1].ID+tests[2].ID != "abc" {
		t.Errorf("they are %v", tests)
	}
}

func TestARunThatIsNotThereIsNotResumed(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for id, want := range map[string]string{"abcd1234": `there is no run "abcd1234" to go on with`, "../x": `"../x" is not the ID of a run`, "": "is not the ID of a run"} {
		_, _, err := Resume(t.Context(), id, Options{})
		expectUsage(t, err, want)
	}
}

func TestWhatIsKeptOfARunIsThereAgainUntilItHasEnded(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	kept := &inTheCluster{Where: "local/x", OwnCluster: true, Record: &reports.Record{Cluster: reports.Cluster{Name: "run-1"}}, Assignment: &incluster.Assignment{Version: "v"}}
	if err := kept.save("one"); err != nil {
		t.Fatal(err)
	}
	got, err := loadInTheCluster("one")
	if err != nil || got.Where != "local/x" || got.clusterName() != "run-1" || got.Assignment.Version != "v" {
		t.Fatalf("%+v, error %v", got, err)
	}
	l, err := ledger.Open(t.TempDir(), "one")
	if err != nil {
		t.Fatal(err)
	}
	r := &run{ledger: l, record: &reports.Record{Run: reports.Run{ID: "one"}}}
	if err := errors.Join(r.forgetInTheCluster(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := loadInTheCluster("one"); err == nil {
		t.Error("what was kept of a run that has ended is still there")
	}
}
