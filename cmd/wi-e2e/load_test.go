package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
)

// The reference on a local cluster of two cores has to take so many labelled creates a second. A real webhook takes 870 to 1,070.
const wantAdmissions = 800

// TestTheReferenceTakesItsLoad is for a machine that does nothing else (make test-load): to the conformance of a webhook its speed is
// nothing, so that no test of the suites judges it.
func TestTheReferenceTakesItsLoad(t *testing.T) {
	if os.Getenv("WI_E2E_TEST_LOAD") != "required" {
		t.Skip("it measures the machine: `make test-load` on one that does nothing else")
	}
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	const rounds = "3"
	if got := wiE2E(t, "run", "--test", "load-ramp", "--repeat", rounds, "--output", output); got.code != 0 {
		t.Fatalf("exit code %d: %s\n%s", got.code, got.stdout, got.stderr)
	}
	expectNothingLeft(t, state)
	record, err := reports.Load(filepath.Join(output, "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	rates := sustainedRates(t, record)
	t.Logf("labelled creates a second: %v", rates)
	best := 0
	for _, r := range rates {
		best = max(best, r)
	}
	if best < wantAdmissions {
		t.Errorf("the best of %s rounds sustained %d labelled creates a second, want %d", rounds, best, wantAdmissions)
	}
}

// sustainedRates are what the test noted, once a round.
func sustainedRates(t *testing.T, record *reports.Record) []int {
	t.Helper()
	sustained := regexp.MustCompile(`^sustained for [0-9.]+ s: ([0-9]+)/s`)
	var rates []int
	for _, test := range record.Tests {
		for _, c := range test.Cases {
			for _, note := range c.Notes {
				if found := sustained.FindStringSubmatch(note); found != nil {
					rate, err := strconv.Atoi(found[1])
					if err != nil {
						t.Fatal(err)
					}
					rates = append(rates, rate)
				}
			}
		}
	}
	if len(rates) == 0 {
		t.Fatal("the record has no note of a sustained load")
	}
	return rates
}
