package suites

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Shard is a part of the selected tests, the Index-th (from 1) of Total. The zero Shard is all of them.
type Shard struct{ Index, Total int }

// ParseShard reads "i/n".
func ParseShard(text string) (Shard, error) {
	first, second, ok := strings.Cut(text, "/")
	index, indexErr := strconv.Atoi(first)
	total, totalErr := strconv.Atoi(second)
	if !ok || indexErr != nil || totalErr != nil || index < 1 || index > total {
		return Shard{}, fmt.Errorf("shard %q is not i/n with i from 1 to n, such as 1/3", text)
	}
	return Shard{index, total}, nil
}

// Of returns the shard's tests, in the order that they are given in. The shards of the same tests, durations and Total are disjoint and
// complete, whatever the order of the tests, and none is empty.
//
// The tests are dealt out the longest first, each to the shard that has least to do, so that no two shards differ by more than the longest
// test. A test whose duration is not known counts as the mean of those that are. What is balanced is the sum of durations, which is the time
// of serial tests; of parallel ones it is the work.
func (s Shard) Of(tests []Test, durations map[string]time.Duration) ([]Test, error) {
	if s == (Shard{}) {
		return tests, nil
	}
	if s.Total > len(tests) {
		return nil, &SelectionError{[]string{fmt.Sprintf("there are more shards (%d) than selected tests (%d)", s.Total, len(tests))}}
	}
	weights := weigh(tests, durations)
	order := slices.SortedFunc(slices.Values(tests), func(a, b Test) int {
		return cmp.Or(cmp.Compare(weights[b.ID], weights[a.ID]), strings.Compare(a.ID, b.ID))
	})
	type load struct {
		weight time.Duration
		tests  int // tells shards apart whose tests take no time
	}
	loads := make([]load, s.Total)
	mine := map[string]bool{}
	for _, t := range order {
		least := 0
		for i, l := range loads {
			if cmp.Or(cmp.Compare(l.weight, loads[least].weight), cmp.Compare(l.tests, loads[least].tests)) < 0 {
				least = i
			}
		}
		loads[least].weight += weights[t.ID]
		loads[least].tests++
		mine[t.ID] = least == s.Index-1
	}
	return slices.DeleteFunc(slices.Clone(tests), func(t Test) bool { return !mine[t.ID] }), nil
}

// weigh gives every test a weight.
func weigh(tests []Test, durations map[string]time.Duration) map[string]time.Duration {
	var sum time.Duration
	known := 0
	for _, t := range tests {
		if d, ok := durations[t.ID]; ok {
			sum += d
			known++
		}
	}
	mean := time.Second
	if known > 0 {
		mean = sum / time.Duration(known)
	}
	weights := map[string]time.Duration{}
	for _, t := range tests {
		weights[t.ID] = mean
		if d, ok := durations[t.ID]; ok {
			weights[t.ID] = d
		}
	}
	return weights
}

// Of is the plan of the shard whose tests are given, which keep the order of the whole plan.
func (p *Plan) Of(tests []Test) *Plan {
	part := &Plan{Seed: p.Seed}
	for _, planned := range p.Tests {
		if slices.ContainsFunc(tests, func(t Test) bool { return t.ID == planned.Test.ID }) {
			part.Tests = append(part.Tests, planned)
		}
	}
	return part
}
