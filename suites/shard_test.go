package suites

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseShard(t *testing.T) {
	for _, text := range []string{"1/1", "2/3", "3/3"} {
		if s, err := ParseShard(text); err != nil || fmt.Sprintf("%d/%d", s.Index, s.Total) != text {
			t.Errorf("%q is %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "1", "/", "1/", "/2", "0/2", "3/2", "-1/2", "1/0", "a/2", "1/2/3", "1.5/2"} {
		if s, err := ParseShard(text); err == nil {
			t.Errorf("%q is taken for shard %v", text, s)
		}
	}
}

// TestShardsAreDisjointCompleteAndBalanced holds what is said of shards against random tests, durations and numbers of shards.
func TestShardsAreDisjointCompleteAndBalanced(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		tests := make([]Test, 1+random.IntN(60))
		durations := map[string]time.Duration{"a-test-of-another-selection": time.Hour}
		for i := range tests {
			tests[i] = Test{ID: fmt.Sprintf("test-%d", i), Serial: random.IntN(5) == 0}
			switch random.IntN(4) {
			case 0: // never recorded
			case 1:
				durations[tests[i].ID] = 0
			default:
				durations[tests[i].ID] = time.Duration(random.ExpFloat64() * float64(10*time.Second))
			}
		}
		total := 1 + random.IntN(len(tests))
		weights := weigh(tests, durations)
		var longest, least, most time.Duration
		owner := map[string]int{}
		for index := 1; index <= total; index++ {
			part, err := Shard{index, total}.Of(tests, durations)
			if err != nil {
				t.Fatal(err)
			}
			if len(part) == 0 {
				t.Fatalf("shard %d/%d of %d tests is empty", index, total, len(tests))
			}
			var sum time.Duration
			for _, one := range part {
				if other, taken := owner[one.ID]; taken {
					t.Fatalf("%s is in shards %d and %d of %d", one.ID, other, index, total)
				}
				owner[one.ID] = index
				sum += weights[one.ID]
				longest = max(longest, weights[one.ID])
			}
			if index == 1 || sum < least {
				least = sum
			}
			most = max(most, sum)
			if !slices.IsSortedFunc(part, func(a, b Test) int { return slices.Index(ids(tests), a.ID) - slices.Index(ids(tests), b.ID) }) {
				t.Fatalf("shard %d/%d is not in the order of the tests: %v", index, total, ids(part))
			}
		}
		if len(owner) != len(tests) {
			t.Fatalf("%d shards have %d of %d tests", total, len(owner), len(tests))
		}
		if most-least > longest {
			t.Fatalf("%d shards differ by %s, the longest test takes %s", total, most-least, longest)
		}
	}
}

func TestShardDependsNeitherOnTheOrderOfTheTestsNorOnOtherTests(t *testing.T) {
	var tests []Test
	durations := map[string]time.Duration{}
	for i := range 20 {
		tests = append(tests, Test{ID: fmt.Sprintf("test-%d", i)})
		durations[tests[i].ID] = time.Duration(i%3) * time.Second // many are alike
	}
	shard := func(tests []Test) []string {
		part, err := Shard{2, 3}.Of(tests, durations)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(ids(part)))
	}
	want := shard(tests)
	shuffled := slices.Clone(tests)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	durations["gone"] = time.Hour
	if got := shard(shuffled); !slices.Equal(got, want) {
		t.Errorf("shard 2/3 of shuffled tests is %v, want %v", got, want)
	}
}

func TestTheLongestTestsAreDealtOutFirst(t *testing.T) {
	tests := []Test{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	durations := map[string]time.Duration{"a": time.Second, "b": time.Second, "c": 2 * time.Second}
	for index, want := range []string{"c", "a b"} {
		part, err := Shard{index + 1, 2}.Of(tests, durations)
		if got := strings.Join(ids(part), " "); err != nil || got != want {
			t.Errorf("shard %d/2 has %s (%v), want %s", index+1, got, err, want)
		}
	}
}

func TestATestOfUnknownDurationCountsAsTheMeanOfTheOthers(t *testing.T) {
	tests := []Test{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
	durations := map[string]time.Duration{"a": 6 * time.Second, "b": 2 * time.Second} // c and d are 4 s each
	part, err := Shard{1, 2}.Of(tests, durations)
	if got := strings.Join(ids(part), " "); err != nil || got != "a b" {
		t.Errorf("shard 1/2 has %s (%v), want a b", got, err)
	}
}

func TestTestsOfUnknownDurationAreSpreadEvenly(t *testing.T) {
	tests := make([]Test, 12)
	for i := range tests {
		tests[i].ID = fmt.Sprint(i)
	}
	for index := 1; index <= 4; index++ {
		part, err := Shard{index, 4}.Of(tests, nil)
		if err != nil || len(part) != 3 {
			t.Errorf("shard %d/4 of 12 tests has %v (%v)", index, ids(part), err)
		}
	}
}

func TestMoreShardsThanTestsAreTheUsersMistake(t *testing.T) {
	_, err := Shard{1, 6}.Of(sampleTests, nil)
	if mistake := (*SelectionError)(nil); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "more shards (6) than selected tests (5)") {
		t.Errorf("six shards of five tests: %v", err)
	}
}

func TestNoShardIsEverything(t *testing.T) {
	if all, err := (Shard{}).Of(sampleTests, nil); err != nil || len(all) != len(sampleTests) {
		t.Errorf("no shard has %v, %v", ids(all), err)
	}
}

func TestThePlanOfAShardIsAPartOfTheWholePlan(t *testing.T) {
	whole, err := NewPlan(sampleTests, sampleCatalogue, Facts{Capabilities: []Capability{ControlPlaneAccess}}, 7)
	if err != nil {
		t.Fatal(err)
	}
	part := whole.Of([]Test{{ID: "owner"}, {ID: "one"}, {ID: "two"}})
	var got, want []string
	for _, p := range part.Tests {
		got = append(got, p.Test.ID)
	}
	for _, p := range whole.Tests {
		if id := p.Test.ID; id == "owner" || id == "one" || id == "two" {
			want = append(want, id)
		}
	}
	if part.Seed != 7 || !slices.Equal(got, want) {
		t.Errorf("the part has seed %d and %v, want 7 and %v", part.Seed, got, want)
	}
}
