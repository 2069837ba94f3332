package reports

import (
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

// repeatedRecord is a run with --repeat 3 and waivers: a flake, a retry, a failure that came every time, and what is waived.
func repeatedRecord() *Record {
	r := newRecord(Fail, ExitFailed, "2 of 5 tests failed: the subject does not conform (2 flaky: not in every attempt)")
	r.Requirements = []Requirement{
		{ID: "SA-02", Level: "MUST", Statement: "A fresh service account is found.", Status: Flake, Tests: []string{"fresh-account"}, Cases: 2},
		{ID: "SEL-01", Level: "MUST", Statement: "Only labelled pods.", Status: Flake, Tests: []string{"labels"}, Cases: 1},
		{ID: "EXP-02", Level: "MUST", Statement: "Integers 3600 … 86400 are accepted.", Status: Fail, Tests: []string{"accepted"}, Cases: 1},
		{ID: "EXP-03", Level: "MUST", Statement: "Others are refused.", Status: Warn, Tests: []string{"refused"}, Cases: 2},
		{ID: "PRX-02", Level: "MUST", Statement: "A proxy can be declined.", Status: Warn, Tests: []string{"declined"}, Cases: 1},
	}
	missed := Finding{Status: Fail, Message: "pair 7 was not mutated", Diff: "- mutated\n+ plain\n"}
	cutOff := Finding{Status: Error, Message: "create pod x: EOF", Cause: Transport}
	clamped := Finding{Status: Fail, Message: "the pod was refused"}
	held := Case{Name: "an older account", Status: Pass, Seconds: 0.1, Checks: 1}
	pairs := func(status Status, findings ...Finding) []Case {
		return []Case{{Name: "50 pairs", Status: status, Seconds: 0.2, Checks: 50, Findings: findings}, held}
	}
	whole := func(title string, status Status, findings ...Finding) []Case {
		return []Case{{Name: title, Status: status, Seconds: 0.1, Checks: 1, Findings: findings}}
	}
	of := func(f Finding, status Status, attempts ...int) Finding {
		f.Status, f.Cause, f.Attempts = status, "", attempts
		return f
	}
	waived := func(message string, entry string) Finding {
		return Finding{Status: Warn, Message: message, Waiver: entry}
	}

	r.Tests = []Test{{
		ID: "fresh-account", Title: "A service account made a moment ago is found", Tier: "admission", Requirements: []string{"SA-02"},
		Status: Flake, Started: at(14), Seconds: 0.9, Cases: pairs(Flake, of(missed, Flake, 1, 3)), Rerun: "wi-e2e run --repeat 3 --test fresh-account",
		Attempts: []Attempt{
			{Status: Fail, Started: at(14), Seconds: 0.3, Cases: pairs(Fail, missed)},
			{Status: Pass, Started: at(14.3), Seconds: 0.3, Cases: pairs(Pass)},
			{Status: Fail, Started: at(14.6), Seconds: 0.3, Cases: pairs(Fail, missed)},
		},
	}, {
		ID: "labels", Title: "Only labelled pods are mutated", Tier: "admission", Requirements: []string{"SEL-01"},
		Status: Flake, Started: at(15), Seconds: 0.4, Cases: whole("Only labelled pods are mutated", Flake, of(cutOff, Flake, 2)),
		Attempts: []Attempt{
			{Status: Pass, Started: at(15), Seconds: 0.1, Cases: whole("Only labelled pods are mutated", Pass)},
			{Status: Error, Started: at(15.1), Seconds: 0.1, Cases: whole("Only labelled pods are mutated", Error, cutOff)},
			{Retries: Transport, Status: Pass, Started: at(15.2), Seconds: 0.1, Cases: whole("Only labelled pods are mutated", Pass)},
			{Status: Pass, Started: at(15.3), Seconds: 0.1, Cases: whole("Only labelled pods are mutated", Pass)},
		},
	}, {
		ID: "accepted", Title: "Both ends of the range are accepted", Tier: "admission", Requirements: []string{"EXP-02"},
		Status: Fail, Started: at(16), Seconds: 0.3, Cases: whole("Both ends of the range are accepted", Fail, of(clamped, Fail, 1, 2, 3)),
		Attempts: []Attempt{
			{Status: Fail, Started: at(16), Seconds: 0.1, Cases: whole("Both ends of the range are accepted", Fail, clamped)},
			{Status: Fail, Started: at(16.1), Seconds: 0.1, Cases: whole("Both ends of the range are accepted", Fail, clamped)},
			{Status: Fail, Started: at(16.2), Seconds: 0.1, Cases: whole("Both ends of the range are accepted", Fail, clamped)},
		},
	}, {
		ID: "refused", Title: "Values outside the range are refused", Tier: "admission", Requirements: []string{"EXP-03"},
		Status: Warn, Started: at(17), Seconds: 0.2, Cases: []Case{
			{Name: "3599", Status: Warn, Seconds: 0.1, Checks: 1, Findings: []Finding{waived("the pod was admitted", "waivers.yaml entry 1")}},
			{Name: "86401", Status: Pass, Seconds: 0.1, Checks: 1},
		},
	}, {
		ID: "declined", Title: "A proxy can be declined", Tier: "admission", Requirements: []string{"PRX-02"},
		Status: Warn, Started: at(18), Seconds: 0.2, Cases: whole("A proxy can be declined", Warn,
			waived("a proxy was injected", "waivers.yaml entry 2"), Finding{Status: Warn, Message: "the answer took 9 s"}),
	}}
	entry := func(n, requirement, test, one string, state WaiverState, findings int) Waiver {
		return Waiver{
			Name: "waivers.yaml entry " + n, Requirement: requirement, Test: test, Case: one, Subject: "manifest", Versions: "<1.6.0",
			Reason: "mended in 1.6", Link: "https://issues.example/" + n, Owner: "team-a", Expiry: "2027-01-31", State: state, Findings: findings,
		}
	}
	r.Waivers = []Waiver{
		entry("1", "EXP-03", "refused", "3599", WaiverUsed, 1), entry("2", "PRX-02", "", "", WaiverUsed, 1), entry("3", "ENV-01", "", "", WaiverPassed, 0),
	}
	r.Phases = append(r.Phases, Phase{
		Name: "waivers", Status: Fail, Started: at(19), Message: "waivers.yaml entry 3 (ENV-01): what it waives was tested and holds: take it out",
	})
	r.Count()
	return r
}

func TestJUnitOfRepeatedAndWaivedTests(t *testing.T) {
	data, err := JUnit(repeatedRecord())
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "junit-repeated.golden.xml", data)
}

func TestAWaivedFailureIsNoFailureOfJUnit(t *testing.T) {
	r := repeatedRecord()
	r.Tests = r.Tests[3:]
	data, err := JUnit(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(data), "<failure") != 1 { // the phase that says which waiver is not needed
		t.Errorf("not one failure in\n%s", data)
	}
}

func TestWaivedFindingsAreNotWarnedOfTwice(t *testing.T) {
	got := summaryOf(t, repeatedRecord(), SummaryOptions{})
	for text, want := range map[string]int{"the pod was admitted": 0, "a proxy was injected": 0, "the answer took 9 s": 1, "team-a": 2} {
		if n := strings.Count(got, text); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", text, n, want, got)
		}
	}
}

func TestASummaryWithoutTheWaiverSaysSo(t *testing.T) {
	r := repeatedRecord()
	r.Waivers = nil
	if data, err := JUnit(r); err != nil || !strings.Contains(string(data), "the record does not have this waiver") {
		t.Errorf("error %v, document\n%s", err, data)
	}
}

func TestAWarningPhaseTellsAllOfItsLines(t *testing.T) {
	r := passingRecord()
	r.Phases = append(r.Phases, Phase{Name: "waivers", Status: Warn, Message: "entry 1 expired\nentry 2 expired"})
	want := "\nWarnings\n  ! waivers: entry 1 expired\n      entry 2 expired\n"
	if got := summaryOf(t, r, SummaryOptions{}); !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

func TestAttemptsAreTalliedWithTheirRetries(t *testing.T) {
	for _, c := range []struct {
		name     string
		attempts []Attempt
		want     string
	}{
		{"none", nil, ""},
		{"repeated", []Attempt{{Status: Pass}, {Status: Fail}, {Status: Pass}}, "3 attempts: 1 fail, 2 pass"},
		{"retried", []Attempt{{Status: Error}, {Status: Pass, Retries: Transport}}, "2 attempts: 1 error, 1 pass, 1 retried (transport)"},
		{"an unknown status is an error", []Attempt{{Status: "odd"}, {Status: Warn}}, "2 attempts: 1 error, 1 warn"},
	} {
		if got := attemptsLine(Test{Attempts: c.attempts}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
