package suites

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
)

// outcome is what an attempt comes to: a case by its name, "" for what is outside the cases.
type outcome map[string]reports.Finding

var (
	failed    = reports.Finding{Status: reports.Fail, Message: "the pod is refused"}
	warned    = reports.Finding{Status: reports.Warn, Message: "the pod is slow"}
	waived    = reports.Finding{Status: reports.Warn, Message: "the pod is refused", Waiver: "file entry 1"}
	broken    = reports.Finding{Status: reports.Error, Message: "no valid value"}
	cutOff    = reports.Finding{Status: reports.Error, Message: "create a pod: EOF", Cause: reports.Transport}
	notKnown  = reports.Finding{Status: reports.Error, Message: "refused", Cause: reports.Propagation}
	noFinding reports.Finding
)

// attempts plays outcomes, one an attempt, and says how many were asked for.
func attempts(outcomes ...outcome) (attempt func(context.Context, int) reports.Test, asked *int) {
	asked = new(int)
	return func(_ context.Context, n int) reports.Test {
		*asked++
		if n != *asked || n > len(outcomes) {
			panic(fmt.Sprintf("attempt %d is asked for as the %dth", n, *asked))
		}
		t := reports.Test{ID: "t", Title: "T", Status: reports.Pass, Seconds: 1}
		for _, name := range []string{"", "a", "b"} {
			f, ok := outcomes[n-1][name]
			if !ok {
				continue
			}
			var findings []reports.Finding
			status := reports.Pass
			if f.Status != "" {
				findings, status = []reports.Finding{f}, f.Status
			}
			t.Status = reports.Worst(t.Status, status)
			if name == "" {
				t.Findings = findings
			} else {
				t.Cases = append(t.Cases, reports.Case{Name: name, Status: status, Checks: 1, Seconds: 1, Findings: findings})
			}
		}
		return t
	}, asked
}

func TestRepeatedAttemptsComeTo(t *testing.T) {
	pass := outcome{"a": noFinding, "b": noFinding}
	for _, c := range []struct {
		name     string
		times    int
		outcomes []outcome
		test     reports.Status
		cases    map[string]reports.Status
	}{
		{"a pass if all passed", 3, []outcome{pass, pass, pass}, reports.Pass, map[string]reports.Status{"a": reports.Pass, "b": reports.Pass}},
		{"a failure if all failed", 2, []outcome{{"a": failed}, {"a": failed}}, reports.Fail, map[string]reports.Status{"a": reports.Fail}},
		{"a flake if the first one failed", 2, []outcome{{"a": failed, "b": noFinding}, pass}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
		{"a flake if the last one failed", 2, []outcome{pass, {"a": failed, "b": noFinding}}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
		{"a flake if a SHOULD was met only sometimes", 2, []outcome{pass, {"a": warned, "b": noFinding}}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
		{"a flake if what is waived happened only sometimes", 2, []outcome{pass, {"a": waived, "b": noFinding}}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
		{"a warning if all warned", 2, []outcome{{"a": warned}, {"a": warned}}, reports.Warn, map[string]reports.Status{"a": reports.Warn}},
		{"a failure if none passed, whichever case failed", 2, []outcome{{"a": failed, "b": noFinding}, {"a": noFinding, "b": failed}}, reports.Fail, map[string]reports.Status{"a": reports.Flake, "b": reports.Flake}},
		{"a failure beside a flake", 2, []outcome{{"a": failed, "b": failed}, {"a": failed, "b": noFinding}}, reports.Fail, map[string]reports.Status{"a": reports.Fail, "b": reports.Flake}},
		{"an error if one broke", 2, []outcome{{"a": broken}, {"a": noFinding}}, reports.Error, map[string]reports.Status{"a": reports.Error}},
		{"an error beside a failure", 2, []outcome{{"a": failed}, {"a": broken}}, reports.Error, map[string]reports.Status{"a": reports.Error}},
		{"a flake outside the cases", 2, []outcome{{"": failed, "a": noFinding}, {"a": noFinding}}, reports.Flake, map[string]reports.Status{"a": reports.Pass}},
		{"a flake if a case ended with its test before the others began", 2, []outcome{{"a": failed}, pass}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},

		{"a flake if a cut-off connection was tried again and passed", 1, []outcome{{"a": cutOff, "b": noFinding}, pass}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
		{"a flake if the propagation was tried again and passed", 1, []outcome{{"": notKnown}, pass}, reports.Flake, map[string]reports.Status{"a": reports.Pass, "b": reports.Pass}},
		{"a failure if the retry failed", 1, []outcome{{"a": cutOff}, {"a": failed}}, reports.Fail, map[string]reports.Status{"a": reports.Fail}},
		{"a failure if the retry failed where nothing had broken", 1, []outcome{{"": cutOff, "a": noFinding}, {"a": failed}}, reports.Fail, map[string]reports.Status{"a": reports.Fail}},
		{"a failure outside the cases if the retry failed there", 1, []outcome{{"": cutOff}, {"": failed, "a": noFinding}}, reports.Fail, map[string]reports.Status{"a": reports.Pass}},
		{"a flake if the retry warned", 1, []outcome{{"a": cutOff}, {"a": warned}}, reports.Flake, map[string]reports.Status{"a": reports.Flake}},
		{"an error if the retry broke as well, which is not tried a third time", 1, []outcome{{"a": cutOff}, {"a": cutOff}}, reports.Error, map[string]reports.Status{"a": reports.Error}},
		{"a flake if one of several was tried again", 2, []outcome{pass, {"a": cutOff, "b": noFinding}, pass}, reports.Flake, map[string]reports.Status{"a": reports.Flake, "b": reports.Pass}},
	} {
		t.Run(c.name, func(t *testing.T) {
			attempt, asked := attempts(c.outcomes...)
			got := Repeat(t.Context(), c.times, attempt)
			if got.Status != c.test {
				t.Errorf("the test is %s, want %s: %+v", got.Status, c.test, got)
			}
			cases := map[string]reports.Status{}
			for _, k := range got.Cases {
				cases[k.Name] = k.Status
				for _, f := range k.Findings {
					if reports.Worst(k.Status, f.Status) != k.Status {
						t.Errorf("case %s is %s and has a finding that is worse: %+v", k.Name, k.Status, f)
					}
				}
			}
			if diff := cmp.Diff(c.cases, cases); diff != "" {
				t.Errorf("cases (-want +got):\n%s", diff)
			}
			if *asked != len(c.outcomes) || len(got.Attempts) != len(c.outcomes) {
				t.Errorf("%d attempts were made and %d kept, want %d", *asked, len(got.Attempts), len(c.outcomes))
			}
			if got.Seconds != float64(len(c.outcomes)) {
				t.Errorf("%v seconds, want those of all attempts", got.Seconds)
			}
			// No report may find the parts worse than the whole.
			for _, f := range got.Findings {
				if reports.Worst(got.Status, f.Status) != got.Status {
					t.Errorf("finding %+v outside of the cases is worse than the test, %s", f, got.Status)
				}
			}
		})
	}
}

func TestOnlyWhatBrokeForAKnownCauseIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		first outcome
		asked int
	}{
		{"a cut-off connection", outcome{"a": cutOff}, 2},
		{"the propagation", outcome{"": notKnown}, 2},
		{"both", outcome{"": notKnown, "a": cutOff}, 2},
		{"a failure is not", outcome{"a": failed}, 1},
		{"a warning is not", outcome{"a": warned}, 1},
		{"a pass is not", outcome{"a": noFinding}, 1},
		{"an error without a cause is not", outcome{"a": broken}, 1},
		{"an error without a cause beside one with", outcome{"": broken, "a": cutOff}, 1},
		{"a failure beside a cut-off connection is not", outcome{"a": failed, "b": cutOff}, 1},
		{"a failure after a cut-off connection is not", outcome{"a": cutOff, "b": failed}, 1},
		{"a waived failure beside a cut-off connection is not", outcome{"a": waived, "b": cutOff}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			attempt, asked := attempts(c.first, outcome{"a": noFinding})
			got := Repeat(t.Context(), 1, attempt)
			if *asked != c.asked {
				t.Errorf("%d attempts, want %d", *asked, c.asked)
			}
			if c.asked == 1 && got.Attempts != nil {
				t.Errorf("a test that was executed once has attempts: %+v", got.Attempts)
			}
			if c.asked == 2 && (got.Attempts[0].Retries != "" || got.Attempts[1].Retries == "") {
				t.Errorf("the retry does not tell its cause, or the first attempt does: %+v", got.Attempts)
			}
		})
	}
}

func TestAnErrorWithoutAFindingIsNotTriedAgain(t *testing.T) {
	asked := 0
	got := Repeat(t.Context(), 1, func(context.Context, int) reports.Test { asked++; return reports.Test{Status: reports.Error} })
	if asked != 1 || got.Status != reports.Error {
		t.Errorf("%d attempts came to %s", asked, got.Status)
	}
}

func TestAnInterruptedRunMakesNoFurtherAttempt(t *testing.T) {
	for name, first := range map[string]outcome{"a repetition": {"a": noFinding}, "a retry": {"a": cutOff}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			attempt, asked := attempts(first, first)
			Repeat(ctx, 2, func(ctx context.Context, n int) reports.Test { cancel(); return attempt(ctx, n) })
			if *asked != 1 {
				t.Errorf("%d attempts after the interrupt", *asked)
			}
		})
	}
}

func TestEveryAttemptIsKeptAndFindingsTellTheirs(t *testing.T) {
	other := reports.Finding{Status: reports.Fail, Message: "another reason"}
	attempt, _ := attempts(outcome{"a": failed}, outcome{"a": noFinding}, outcome{"a": other}, outcome{"a": failed})
	got := Repeat(t.Context(), 4, attempt)
	want := []reports.Finding{
		{Status: reports.Flake, Message: failed.Message, Attempts: []int{1, 4}}, {Status: reports.Flake, Message: other.Message, Attempts: []int{3}},
	}
	if diff := cmp.Diff(want, got.Cases[0].Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if got.Cases[0].Checks != 4 || got.Cases[0].Seconds != 4 {
		t.Errorf("%d checks in %v s, want those of all attempts", got.Cases[0].Checks, got.Cases[0].Seconds)
	}
	var statuses []reports.Status
	for _, a := range got.Attempts {
		statuses = append(statuses, a.Status)
	}
	if diff := cmp.Diff([]reports.Status{reports.Fail, reports.Pass, reports.Fail, reports.Fail}, statuses); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]reports.Finding{failed}, got.Attempts[3].Cases[0].Findings); diff != "" {
		t.Errorf("the last attempt's own finding changed (-want +got):\n%s", diff)
	}
	if !got.SubjectFailed() {
		t.Error("the subject failed in three attempts, and the test does not say so")
	}
}

func TestNotesAndWorkloadsAreToldOnce(t *testing.T) {
	got := Repeat(t.Context(), 2, func(_ context.Context, n int) reports.Test {
		c := reports.Case{Name: "c", Requirements: []string{"AA-01"}, Status: reports.Pass, Notes: []string{"same", fmt.Sprint(n)}, Workloads: []reports.Workload{{Name: "go"}}}
		return reports.Test{Status: reports.Pass, Notes: []string{"outside"}, Cases: []reports.Case{c}}
	})
	want := []reports.Case{{Name: "c", Requirements: []string{"AA-01"}, Status: reports.Pass, Notes: []string{"same", "1", "2"}, Workloads: []reports.Workload{{Name: "go"}}}}
	if diff := cmp.Diff(want, got.Cases); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"outside"}, got.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestARetryThatPassedIsNotTheSubjectsFailure(t *testing.T) {
	attempt, _ := attempts(outcome{"a": cutOff}, outcome{"a": noFinding})
	if got := Repeat(t.Context(), 1, attempt); got.SubjectFailed() {
		t.Error("a connection was cut off, and the subject is blamed")
	}
}

func TestARepeatedTestHasTheBundleOfTheFirstAttemptThatHasOne(t *testing.T) {
	bundles := []string{"", "bundle/t-attempt-2", "bundle/t-attempt-3", ""}
	got := Repeat(t.Context(), len(bundles), func(_ context.Context, n int) reports.Test {
		return reports.Test{ID: "t", Status: reports.Pass, Bundle: bundles[n-1]}
	})
	if got.Bundle != "bundle/t-attempt-2" || got.Attempts[2].Bundle != "bundle/t-attempt-3" {
		t.Errorf("the test has the bundle %q, its third attempt %q", got.Bundle, got.Attempts[2].Bundle)
	}
}
