package waivers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
)

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// run is a test of that id with cases, as the catalogue of these tests has it.
func run(id string, cases ...reports.Case) reports.Test {
	t := reports.Test{ID: id, Status: reports.Pass, Cases: cases}
	for _, k := range known.Tests {
		if k.ID == id {
			t.Requirements = k.Requirements
		}
	}
	for _, c := range cases {
		t.Status = reports.Worst(t.Status, c.Status)
	}
	return t
}

func found(status reports.Status, requirements ...string) reports.Case {
	return reports.Case{Name: string(status), Requirements: requirements, Status: status, Checks: 1, Findings: []reports.Finding{{Status: status, Message: "m"}}}
}

func pass() reports.Case                         { return reports.Case{Name: "pass", Status: reports.Pass, Checks: 1} }
func fail(requirements ...string) reports.Case   { return found(reports.Fail, requirements...) }
func broken(requirements ...string) reports.Case { return found(reports.Error, requirements...) }

func record(tests ...reports.Test) *reports.Record {
	return &reports.Record{Subject: reports.Subject{Kind: "helm", Version: "v1.5.1", Profile: "1.5.1"}, Tests: tests}
}

func TestAWaiverMakesAFailureAWarning(t *testing.T) {
	outside := func(cases ...reports.Case) reports.Test {
		t := run("one", append(cases, pass())...)
		t.Status, t.Findings = reports.Fail, []reports.Finding{{Status: reports.Fail, Message: "set-up"}}
		return t
	}
	for _, c := range []struct {
		name   string
		entry  string
		test   reports.Test
		want   reports.Status
		waived int
	}{
		{"of its requirement", sample(), run("one", fail()), reports.Warn, 1},
		{"of its requirement, in a case of several", sample(), run("both", fail()), reports.Warn, 1},
		{"of its requirement alone", sample(), run("both", fail("AA-01"), fail("AA-02")), reports.Fail, 1},
		{"of its test", sample("requirement", "", "test", "both"), run("both", fail("AA-01"), fail("AA-02")), reports.Warn, 2},
		{"of its test and requirement", sample("test", "both"), run("both", fail("AA-01"), fail("AA-02")), reports.Fail, 1},
		{"of its case", sample("test", "one", "case", "fail"), run("one", fail(), pass()), reports.Warn, 1},
		{"outside the cases", sample(), outside(), reports.Warn, 1},
		{"not outside its case", sample("test", "one", "case", "pass"), outside(), reports.Fail, 0},
		{"of its case, beside a failure outside the cases", sample("test", "one", "case", "fail"), outside(fail()), reports.Fail, 1},
		{"not of another case", sample("test", "one", "case", "pass"), run("one", fail(), pass()), reports.Fail, 0},
		{"not of another test", sample("requirement", "", "test", "one"), run("both", fail()), reports.Fail, 0},
		{"not of another requirement", sample(), run("other", fail()), reports.Fail, 0},
		{"a violated SHOULD stays a warning, and is waived", sample(), run("one", found(reports.Warn)), reports.Warn, 1},
		{"never an error", sample(), run("one", broken()), reports.Error, 0},
		{"never an error beside a failure", sample(), run("one", fail(), broken()), reports.Error, 1},
		{"never a pass", sample(), run("one", pass()), reports.Pass, 0},
		{"not of another subject", sample("subject", "{kind: manifest}"), run("one", fail()), reports.Fail, 0},
		{"of a version in its range", sample("subject", `{kind: helm, versions: ">=1.4.0 <1.6.0"}`), run("one", fail()), reports.Warn, 1},
		{"not of a version out of its range", sample("subject", `{kind: helm, versions: "<1.5.1"}`), run("one", fail()), reports.Fail, 0},
		{"on its last day", sample("expiry", "2026-11-22"), run("one", fail()), reports.Warn, 1},
		{"not after its last day", sample("expiry", "2026-11-21"), run("one", fail()), reports.Fail, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed(t, c.entry).Waive(&c.test, record().Subject, today)
			if c.test.Status != c.want {
				t.Errorf("the test is %s, want %s", c.test.Status, c.want)
			}
			waived := 0
			all := slices.Clone(c.test.Findings)
			for _, k := range c.test.Cases {
				all = append(all, k.Findings...)
				for _, f := range k.Findings {
					if reports.Worst(k.Status, f.Status) != k.Status {
						t.Errorf("case %s is %s and has a finding that is %s", k.Name, k.Status, f.Status)
					}
				}
			}
			for _, f := range all {
				if f.Waiver == "" {
					continue
				}
				waived++
				if f.Waiver != "w.yaml entry 1" || f.Status != reports.Warn || f.Message == "" {
					t.Errorf("the waived finding became %+v", f)
				}
			}
			if waived != c.waived {
				t.Errorf("%d findings waived, want %d", waived, c.waived)
			}
		})
	}
}

func TestTheVersionOfASubject(t *testing.T) {
	for _, c := range []struct {
		name, version, profile, versions string
		applies                          bool
	}{
		{"the image's tag", "v1.5.1", "latest", "1.5.1", true},
		{"the tag is asked before the profile", "v1.4.0", "1.5.1", "1.5.1", false},
		{"a pre-release is its release", "v1.6.0-rc.1", "", ">=1.6.0", true},
		{"a pre-release is not the release before", "v1.6.0-rc.1", "", "<1.6.0", false},
		{"the profile, if the tag does not tell", "", "1.5.1", "1.5.x", true},
		{"the profile, if the tag is no version", "nightly", "1.5.1", "1.5.x", true},
		{"a bare minor is no version", "", "1.5", "1.5.x", false},
		{"the newest profile is no version", "", "latest", ">=1.0.0", false},
		{"one of two ranges", "v1.2.0", "", "<1.3.0 || >=1.6.0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := parsed(t, sample("subject", `{kind: helm, versions: "`+c.versions+`"}`))
			got := w.entries[0].appliesTo(reports.Subject{Kind: "helm", Version: c.version, Profile: c.profile})
			if got != c.applies {
				t.Errorf("applies: %v, want %v", got, c.applies)
			}
		})
	}
}

func TestAWaiverThatIsNotNeededIsAProblem(t *testing.T) {
	skipped := run("one")
	skipped.Status = reports.Skip
	failedEarly := run("one", fail())
	const passing = "what it waives was tested and holds"
	for _, c := range []struct {
		name    string
		entries []string
		record  *reports.Record
		want    []reports.WaiverState
		problem string
	}{
		{"not one that was used", []string{sample()}, record(run("one", fail()), run("both", pass())), []reports.WaiverState{reports.WaiverUsed}, ""},
		{"one whose tests pass", []string{sample()}, record(run("one", pass()), run("both", pass())), []reports.WaiverState{reports.WaiverPassed}, passing},
		{"one whose test passes", []string{sample("requirement", "", "test", "one")}, record(run("one", pass())), []reports.WaiverState{reports.WaiverPassed}, passing},
		{"one whose case passes", []string{sample("test", "one", "case", "pass")}, record(run("one", pass(), fail())), []reports.WaiverState{reports.WaiverPassed}, passing},
		{"one whose requirement holds beside another", []string{sample("test", "both")}, record(run("both", pass(), fail("AA-02"))), []reports.WaiverState{reports.WaiverPassed}, passing},
		{"one that expired", []string{sample("expiry", "2026-11-21")}, record(run("one", fail())), []reports.WaiverState{reports.WaiverExpired}, "expired after 2026-11-21"},
		{"one that expired, though nothing of it was tested", []string{sample("expiry", "2026-11-21")}, record(run("other", pass())), []reports.WaiverState{reports.WaiverExpired}, "ask its owner, team-a"},
		{"one that names a case that does not exist", []string{sample("test", "one", "case", "x")}, record(run("one", pass())), []reports.WaiverState{reports.WaiverUnused}, `test one has no case "x"`},
		{"not one whose case the test did not come to", []string{sample("test", "one", "case", "x")}, record(failedEarly), []reports.WaiverState{reports.WaiverNotTested}, ""},
		{
			"one that another makes needless", []string{sample(), sample("requirement", "", "test", "one")},
			record(run("one", fail()), run("both", pass())),
			[]reports.WaiverState{reports.WaiverUsed, reports.WaiverUnused}, "waived by w.yaml entry 1 already",
		},
		{"not one whose test was not selected", []string{sample("requirement", "", "test", "one")}, record(run("both", pass())), []reports.WaiverState{reports.WaiverNotTested}, ""},
		{"not one of whose tests some were not selected", []string{sample()}, record(run("both", pass())), []reports.WaiverState{reports.WaiverNotTested}, ""},
		{"not one whose test was skipped", []string{sample("requirement", "", "test", "one")}, record(skipped), []reports.WaiverState{reports.WaiverNotTested}, ""},
		{"not one whose test broke", []string{sample("requirement", "", "test", "one")}, record(run("one", broken())), []reports.WaiverState{reports.WaiverNotTested}, ""},
		{"not one of another subject", []string{sample("subject", "{kind: manifest}")}, record(run("one", pass()), run("both", pass())), []reports.WaiverState{reports.WaiverOtherSubject}, ""},
		{"not one of another version", []string{sample("subject", "{kind: helm, versions: <1.0.0}")}, record(run("one", pass()), run("both", pass())), []reports.WaiverState{reports.WaiverOtherSubject}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := parsed(t, c.entries...)
			for i := range c.record.Tests {
				w.Waive(&c.record.Tests[i], c.record.Subject, today)
			}
			problems := w.Judge(c.record, today)
			var states []reports.WaiverState
			for _, one := range c.record.Waivers {
				states = append(states, one.State)
				if (one.State == reports.WaiverUsed) != (one.Findings > 0) {
					t.Errorf("%s is %s and waived %d findings", one.Name, one.State, one.Findings)
				}
			}
			if diff := cmp.Diff(c.want, states); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			switch {
			case c.problem == "" && len(problems) > 0:
				t.Errorf("problems %q", problems)
			case c.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.problem) || !strings.HasPrefix(problems[0], "w.yaml entry ")):
				t.Errorf("problems %q, want one with %q that names its entry", problems, c.problem)
			}
		})
	}
}

func TestAWaiverThatAFlakeNeedsIsUsed(t *testing.T) {
	w := parsed(t, sample("requirement", "", "test", "one"))
	flaky := run("one", reports.Case{Name: "c", Status: reports.Flake, Findings: []reports.Finding{{Status: reports.Flake, Message: "m", Waiver: "w.yaml entry 1"}}})
	if problems := w.Judge(record(flaky), today); len(problems) > 0 {
		t.Errorf("problems %q", problems)
	}
}

func TestJudgeRecordsTheTermsOfEveryWaiver(t *testing.T) {
	r := record(run("one", fail()))
	w := parsed(t, sample("requirement", "AA-01", "test", "one", "case", "fail", "subject", `{kind: helm, versions: "1.5.x"}`))
	w.Waive(&r.Tests[0], r.Subject, today)
	w.Judge(r, today)
	w.Judge(r, today) // again comes to the same
	want := []reports.Waiver{{
		Name: "w.yaml entry 1", Requirement: "AA-01", Test: "one", Case: "fail", Subject: "helm", Versions: "1.5.x", Reason: "not mended yet",
		Link: "https://issues.example/1", Owner: "team-a", Expiry: "2027-01-31", State: reports.WaiverUsed, Findings: 1,
	}}
	if diff := cmp.Diff(want, r.Waivers); diff != "" {
		t.Errorf("waivers of the record (-want +got):\n%s", diff)
	}
}

func TestNoWaiversWaiveNothing(t *testing.T) {
	var none *Waivers
	test := run("one", fail())
	none.Waive(&test, record().Subject, today)
	r := record(test)
	if problems := none.Judge(r, today); test.Status != reports.Fail || len(problems) > 0 || r.Waivers != nil {
		t.Errorf("test %+v, problems %q", test, problems)
	}
}
