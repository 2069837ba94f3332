package incluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// aPlan has n tests that can run beside others, and one of each kind that cannot.
func aPlan(n int) *suites.Plan {
	plan := &suites.Plan{}
	for i := range n {
		plan.Tests = append(plan.Tests, suites.Planned{Test: suites.Test{ID: fmt.Sprintf("test-%d", i)}})
	}
	plan.Tests = append(plan.Tests,
		suites.Planned{Test: suites.Test{ID: "alone", Serial: true}},
		suites.Planned{Test: suites.Test{ID: "on-the-control-plane", Needs: []suites.Capability{suites.Nodes, suites.ControlPlaneAccess}}},
		suites.Planned{Test: suites.Test{ID: "skipped"}, Skip: &reports.Skipped{Reason: "r"}},
	)
	return plan
}

func TestEveryTestThatWillRunIsInOneShardOrTheControllers(t *testing.T) {
	for n := 1; n <= 20; n++ {
		for shards := 1; shards <= n; shards++ {
			plan := aPlan(n)
			divided, rest, err := Divide(plan, shards, map[string]time.Duration{"test-0": time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if len(divided) != shards {
				t.Fatalf("%d shards, want %d", len(divided), shards)
			}
			var got []string
			for i, part := range append(divided, rest) {
				if len(part) == 0 {
					t.Errorf("part %d of %d tests in %d shards is empty", i, n, shards)
				}
				for _, test := range part {
					got = append(got, test.ID)
				}
			}
			want := []string{"alone", "on-the-control-plane"}
			for i := range n {
				want = append(want, fmt.Sprintf("test-%d", i))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%d tests in %d shards are %v, want %v", n, shards, got, want)
			}
			if ids := idsOf(rest); !slices.Equal(ids, []string{"alone", "on-the-control-plane"}) {
				t.Errorf("the controller has %v", ids)
			}
		}
	}
}

func TestMoreShardsThanTestsAreRefused(t *testing.T) {
	_, _, err := Divide(aPlan(2), 3, nil)
	if err == nil || !strings.Contains(err.Error(), "more shards (3) than tests that can run beside others (2)") {
		t.Errorf("error %v", err)
	}
}

func idsOf(tests []suites.Test) []string {
	var ids []string
	for _, test := range tests {
		ids = append(ids, test.ID)
	}
	return ids
}
