package reports

import (
	"encoding/json"
	"strings"
	"testing"
)

// coherent is a record as a run saves it: with failures, waivers, a skip, a retry and a flake.
func coherent() *Record {
	r := newRecord("", 0, "")
	one := func(id, requirement string, findings ...Finding) Test {
		t := Test{ID: id, Title: id, Tier: "admission", Requirements: []string{requirement}, Started: at(14), Seconds: 0.1}
		t.Cases = []Case{{Name: "a case", Checks: 2, Findings: findings, Status: WorstOf(findings)}, {Name: "control", Checks: 1, Status: Pass}}
		t.Status = t.Cases[0].Status
		return t
	}
	skipped := Test{ID: "skipped", Tier: "exchange", Requirements: []string{"AA-04"}, Status: Skip, Skip: &Skipped{"no-nodes", "there is no node"}}
	retried := one("retried", "AA-05", Finding{Status: Flake, Message: "EOF", Attempts: []int{1}})
	broken := one("retried", "AA-05", Finding{Status: Error, Message: "EOF", Cause: Transport})
	passed := one("retried", "AA-05")
	retried.Attempts = []Attempt{
		{Status: Error, Started: at(14), Cases: broken.Cases}, {Status: Pass, Started: at(15), Retries: Transport, Cases: passed.Cases},
	}
	r.Tests = []Test{
		one("passes", "AA-01"), one("fails", "AA-02", Finding{Status: Fail, Message: "no"}),
		one("waived", "AA-03", Finding{Status: Warn, Message: "no", Waiver: "w entry 1"}), skipped, retried,
	}
	r.Waivers = []Waiver{{Name: "w entry 1", Requirement: "AA-03", State: WaiverUsed, Findings: 1, Expiry: "2027-01-31"}}
	for _, id := range []string{"AA-01", "AA-02", "AA-03", "AA-04", "AA-05"} {
		q := Requirement{ID: id, Level: "MUST"}
		q.Status, q.Tests, q.Cases = r.Fared(id)
		r.Requirements = append(r.Requirements, q)
	}
	r.Verdict = r.Judge(false, nil)
	r.Count()
	return r
}

func TestARecordOfARunHasNoProblems(t *testing.T) {
	interrupted := coherent()
	interrupted.Verdict = interrupted.Judge(true, nil)
	leaked := coherent()
	leaked.Verdict = leaked.Judge(false, []string{"Namespace x"})
	for name, r := range map[string]*Record{"finished": coherent(), "interrupted": interrupted, "leaking": leaked} {
		if problems := r.Problems(); len(problems) > 0 {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestEveryAlterationOfAStatusIsAProblem(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(*Record)
		want  string
	}{
		{"a case that failed is made to pass", func(r *Record) { r.Tests[1].Cases[0].Status = Pass }, `case "a case" is "pass", its findings are fail`},
		{"a test that failed is made to pass", func(r *Record) { r.Tests[1].Status = Pass }, `test fails: it is "pass", its findings are fail`},
		{"test and case are", func(r *Record) { r.Tests[1].Status, r.Tests[1].Cases[0].Status = Pass, Pass }, `case "a case"`},
		{"the finding is taken out, too", func(r *Record) {
			r.Tests[1].Status, r.Tests[1].Cases[0] = Pass, Case{Name: "a case", Status: Pass, Checks: 2}
		}, `requirement AA-02 is "fail", its tests are pass`},
		{"and the requirement is made to pass", func(r *Record) {
			r.Tests[1].Status, r.Tests[1].Cases[0] = Pass, Case{Name: "a case", Status: Pass, Checks: 2}
			r.Requirements[1].Status = Pass
		}, "it counts tests as"},
		{"and it is counted again", func(r *Record) {
			r.Tests[1].Status, r.Tests[1].Cases[0] = Pass, Case{Name: "a case", Status: Pass, Checks: 2}
			r.Requirements[1].Status = Pass
			r.Count()
		}, `its verdict is "fail" with exit code 1`},
		{"the verdict is made to pass", func(r *Record) { r.Verdict.Status, r.Verdict.ExitCode = Pass, ExitPass }, `its verdict is "pass"`},
		{"the exit code is", func(r *Record) { r.Verdict.ExitCode = ExitPass }, `its verdict is "fail" with exit code 0`},
		{"a requirement is made to pass", func(r *Record) { r.Requirements[1].Status = Pass }, "requirement AA-02"},
		{"a requirement is taken out", func(r *Record) { r.Requirements = append(r.Requirements[:1], r.Requirements[2:]...) }, "AA-02, which is not among the requirements"},
		{"a test is taken out", func(r *Record) { r.Tests = append(r.Tests[:1], r.Tests[2:]...) }, "requirement AA-02"},
		{"a test is there twice", func(r *Record) { r.Tests = append(r.Tests, r.Tests[0]) }, "test passes is there twice"},
		{"a requirement is there twice", func(r *Record) { r.Requirements = append(r.Requirements, r.Requirements[0]) }, "requirement AA-01 is there twice"},
		{"a failure is made a skip", func(r *Record) { r.Tests[1].Status, r.Tests[1].Skip = Skip, &Skipped{"no-nodes", "x"} }, "it was skipped, and has results"},
		{"a skip loses its reason", func(r *Record) { r.Tests[3].Skip = nil }, "it was skipped for no reason"},
		{"a skip is made to pass", func(r *Record) { r.Tests[3].Status = Pass }, "it has the reason of a skip"},
		{"a pass without a case", func(r *Record) { r.Tests[0].Cases = nil }, `it is "pass" without a case`},
		{"a pass without an expectation", func(r *Record) { r.Tests[0].Cases[0].Checks = 0 }, "evaluated no expectation"},
		{"a requirement rests on more", func(r *Record) { r.Requirements[0].Cases = 9 }, "rests on 9 cases"},
		{"a requirement has another test", func(r *Record) { r.Requirements[0].Tests = []string{"fails"} }, "requirement AA-01 has the tests"},
		{"a failure is waived by nothing", func(r *Record) { r.Waivers = nil }, "waived by w entry 1, which is not among the waivers"},
		{"an attempt is made to pass", func(r *Record) { r.Tests[4].Attempts[0].Status = Pass }, "attempt 1: it is"},
		{"a flake is made to pass", func(r *Record) { r.Tests[4].Status = Pass }, `attempt 1 is "error", and the test is pass`},
		{"a failure is made a flake of an attempt that is not there", func(r *Record) {
			c := &r.Tests[1].Cases[0]
			c.Findings[0].Status, c.Status, r.Tests[1].Status = Flake, Pass, Pass
		}, `test fails: case "a case" is "pass", its findings are flake`},
		{"a phase broke", func(r *Record) { r.Phases[0].Status = Error }, `come to error with 3`},
		{"a status that there is not", func(r *Record) { r.Tests[0].Status = "passed" }, `it is "passed"`},
		{"the counts are others", func(r *Record) { r.Counts.Cases[Fail] = 0 }, "it counts cases as"},
		{"nothing was executed", func(r *Record) { r.Tests, r.Requirements = nil, nil; r.Count(); r.Verdict = Verdict{Status: Pass} }, "come to error with 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := coherent()
			c.alter(r)
			if got := strings.Join(r.Problems(), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("problems:\n%s\nwant %q", got, c.want)
			}
		})
	}
}

func TestARequirementOfWhichNothingWasEvaluatedIsAnError(t *testing.T) {
	r := coherent()
	r.Tests[0].Requirements = append(r.Tests[0].Requirements, "AA-09")
	for i := range r.Tests[0].Cases {
		r.Tests[0].Cases[i].Requirements = []string{"AA-01"}
	}
	for _, c := range []struct {
		id    string
		want  Status
		cases int
	}{{"AA-09", Error, 0}, {"AA-01", Pass, 2}, {"AA-04", Skip, 0}, {"AA-10", Skip, 0}} {
		if status, _, cases := r.Fared(c.id); status != c.want || cases != c.cases {
			t.Errorf("%s is %s by %d cases, want %s by %d", c.id, status, cases, c.want, c.cases)
		}
	}
}

// Every status of the record's text in turn is replaced by another; none goes unnoticed.
func TestNoSingleStatusCanBeChangedUnnoticed(t *testing.T) {
	data, err := json.Marshal(coherent())
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, was := range []string{"pass", "warn", "flake", "fail", "error", "skip"} {
		for _, is := range []string{"pass", "warn", "flake", "fail", "error", "skip"} {
			old, replacement := `"status":"`+was+`"`, `"status":"`+is+`"`
			text := string(data)
			for at := strings.Index(text, old); was != is && at >= 0; {
				altered := text[:at] + replacement + text[at+len(old):]
				records, err := Parse([]byte(altered))
				if err != nil {
					t.Fatal(err)
				}
				if len(records[0].Problems()) == 0 && !inPhase(altered[:at]) {
					t.Errorf("%s for %s at %d goes unnoticed: …%s", is, was, at, altered[max(0, at-120):at+30])
				}
				changed++
				next := strings.Index(text[at+1:], old)
				if next < 0 {
					break
				}
				at += 1 + next
			}
		}
	}
	if changed < 100 {
		t.Errorf("only %d statuses were changed", changed)
	}
}

// inPhase says whether a text ends within the phases: what makes up their status is not in the record.
func inPhase(text string) bool {
	return strings.LastIndex(text, `"phases":`) > strings.LastIndex(text, `"counts":`) && !strings.Contains(text, `"requirements":[`)
}
