package runner

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/waivers"
)

const waiversHead = "apiVersion: wi-e2e.dev/v1alpha1\nkind: Waivers\nwaivers:\n"

func waiverOf(test, expiry string) string {
	return "- {test: " + test + ", subject: {kind: helm}, reason: not mended yet, link: 'https://issues.example/1', owner: team-a, expiry: " + expiry + "}\n"
}

func TestWaiversAreHeldToTheRun(t *testing.T) {
	lenient := new(bool)
	fails := func(_ context.Context, t *suites.T) { t.Check(false, "no") }
	holds := func(_ context.Context, t *suites.T) { t.Check(true, "") }
	for _, c := range []struct {
		name   string
		body   func(context.Context, *suites.T)
		expiry string
		strict *bool
		repeat int
		test   reports.Status
		phase  reports.Status
		code   int
	}{
		{"a failure is waived", fails, "2027-01-31", nil, 0, reports.Warn, reports.Pass, 0},
		{"a failure is waived in every attempt", fails, "2027-01-31", nil, 3, reports.Warn, reports.Pass, 0},
		{"a waiver that is not needed fails the run", holds, "2027-01-31", nil, 0, reports.Pass, reports.Fail, 1},
		{"a waiver that is not needed is a warning, if that is asked for", holds, "2027-01-31", lenient, 0, reports.Pass, reports.Warn, 0},
		{"a waiver that expired waives nothing and fails the run", fails, "2026-01-31", nil, 0, reports.Fail, reports.Fail, 1},
		{"a waiver that expired waives nothing, strict or not", fails, "2026-01-31", lenient, 0, reports.Fail, reports.Warn, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			test := suites.Test{ID: "asks", Title: "It asks", Tier: suites.Admission, Requirements: []string{"AA-01"}, Body: c.body}
			file := filepath.Join(t.TempDir(), "w.yaml")
			if err := os.WriteFile(file, []byte(waiversHead+waiverOf("asks", c.expiry)), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newStage(t, newNamespacesOnly(t), Config{Repeat: c.repeat, Waivers: WaiversConfig{File: file, Strict: c.strict}})
			r := s.run
			r.record.Subject.Kind, r.record.Run.Started = "helm", time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			var err error
			if r.waivers, err = waivers.Load(file, waivers.Known{Tests: []suites.Test{test}, Subjects: Subjects}); err != nil {
				t.Fatal(err)
			}
			s.run.runTests(t.Context(), s, &suites.Plan{Tests: []suites.Planned{{Test: test}}})
			r.judgeWaivers()
			phase := r.record.Phases[len(r.record.Phases)-1]
			if got := r.record.Tests[0].Status; got != c.test {
				t.Errorf("the test is %s, want %s", got, c.test)
			}
			if phase.Name != "waivers" || phase.Status != c.phase || (phase.Message == "") != (c.phase == reports.Pass) {
				t.Errorf("the phase is %+v, want %s", phase, c.phase)
			}
			if phase.Message != "" && !strings.HasPrefix(phase.Message, file+" entry 1 (test asks): ") {
				t.Errorf("the message %q does not name the entry", phase.Message)
			}
			if got := r.record.Judge(false, nil); got.ExitCode != c.code {
				t.Errorf("verdict %+v, want exit code %d", got, c.code)
			}
			if len(r.record.Waivers) != 1 {
				t.Errorf("waivers of the record: %+v", r.record.Waivers)
			}
		})
	}
}

func TestABadFileOfWaiversIsAUsageErrorBeforeAnythingIsMade(t *testing.T) {
	dir := t.TempDir()
	file, output := filepath.Join(dir, "w.yaml"), filepath.Join(dir, "out")
	for name, text := range map[string]string{
		"an unknown test": waiversHead + waiverOf("no-such-test", "2027-01-31"),
		"no owner":        waiversHead + "- {test: idempotent, subject: {kind: helm}, reason: r, link: 'https://issues.example/1', expiry: 2027-01-31}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Run(t.Context(), Config{Waivers: WaiversConfig{File: file}, Output: output}, Options{Observer: silent{}})
			expectUsage(t, err, file+" entry 1: ")
			if _, err := os.Stat(output); err == nil {
				t.Error("the output directory was made")
			}
		})
	}
}

func TestTheSubjectsOfWaiversAreThoseOfRuns(t *testing.T) {
	// A waiver is matched by the kind that the record tells.
	var kinds []string
	for _, kind := range Subjects {
		c := Config{Subject: SubjectConfig{Kind: kind}}
		kinds = append(kinds, c.subject(nil).Kind())
	}
	if diff := cmp.Diff(Subjects, kinds); diff != "" {
		t.Errorf("kinds (-configuration +record):\n%s", diff)
	}
}
