package runner

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// findingIDs are those of all findings of the doctor, as its source has them.
func findingIDs(t *testing.T) []string {
	t.Helper()
	id := regexp.MustCompile(`\bID(?:: +|, f\.\w+ = |, f\.\w+, f\.\w+ = | = )"([a-z-]+)"`)
	var ids []string
	files, err := filepath.Glob("../../fixtures/doctor/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, shared := range []string{"installations", "issuer", "webhook"} {
		files = append(files, "../../fixtures/diagnosis/"+shared+".go")
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range id.FindAllStringSubmatch(string(source), -1) {
			ids = append(ids, match[1])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func TestItIsDecidedOfEveryFindingWhatARunMakesOfIt(t *testing.T) {
	found := findingIDs(t)
	if len(found) < len(consequences)-2 {
		t.Fatalf("the sources have only the findings %q: the reader of sources is broken, or they are", found)
	}
	ofPods := []string{"issuer-of-token"} // which package doctor does not find
	for _, id := range found {
		if _, decided := consequences[id]; !decided && !slices.Contains(ofPods, id) {
			t.Errorf("nobody has decided what a run makes of %s", id)
		}
	}
	for id := range consequences {
		if !slices.Contains(found, id) {
			t.Errorf("there is no finding %s", id)
		}
	}
}

// What a rule of the catalogue is about is for the tests to fail, unless nobody would get through to any of them.
func TestWhatIsWrongWithTheSubjectDoesNotEndTheRun(t *testing.T) {
	for id, c := range consequences {
		if c == stops != slices.Contains([]string{"webhook-unreachable", "two-installations", "clock"}, id) {
			t.Errorf("%s: whether it stops the run is %t", id, c == stops)
		}
	}
	catalogue, err := suites.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	finding := func(id string, severity diagnosis.Severity) diagnosis.Finding {
		return diagnosis.Finding{ID: id, Severity: severity, Requirement: catalogue[0].ID, Object: "the " + id, Problem: "it is wrong", Remedy: "put it right"}
	}
	text := func(id string) string { return "the " + id + ": it is wrong. To mend it: put it right" }
	for _, c := range []struct {
		name     string
		findings []diagnosis.Finding
		unread   []string
		reached  bool // Entra ID has to reach the issuer
		err      string
		notes    []string
	}{
		{name: "nothing"},
		{name: "an error that tests judge", findings: []diagnosis.Finding{finding("failure-policy", diagnosis.Error)}, notes: []string{text("failure-policy")}},
		{name: "a warning", findings: []diagnosis.Finding{finding("certificate-ends-soon", diagnosis.Warning)}, notes: []string{text("certificate-ends-soon")}},
		{name: "a finding that nobody has thought of", findings: []diagnosis.Finding{finding("new", diagnosis.Error)}, notes: []string{text("new")}},
		{name: "a clock that is wrong", findings: []diagnosis.Finding{finding("clock", diagnosis.Error)}, err: text("clock")},
		{name: "two installations that differ", findings: []diagnosis.Finding{finding("two-installations", diagnosis.Error)}, err: text("two-installations")},
		{name: "two installations that agree", findings: []diagnosis.Finding{finding("two-installations", diagnosis.Warning)}, notes: []string{text("two-installations")}},
		{
			name: "a webhook out of reach, and why", findings: []diagnosis.Finding{finding("ca-bundle-empty", diagnosis.Error), finding("webhook-unreachable", diagnosis.Error)},
			err: text("webhook-unreachable") + "\n" + text("ca-bundle-empty"), notes: []string{text("ca-bundle-empty")},
		},
		{name: "an issuer of the cluster's own, for the emulator", findings: []diagnosis.Finding{finding("issuer-not-public", diagnosis.Warning)}},
		{
			name: "an issuer of the cluster's own, for Entra ID", findings: []diagnosis.Finding{finding("issuer-not-public", diagnosis.Warning)}, reached: true,
			notes: []string{text("issuer-not-public")},
		},
		{name: "what may not be read", unread: []string{"the nodes: forbidden"}, notes: []string{"not looked at: the nodes: forbidden"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{observer: quiet(t), record: &reports.Record{}}
			err := r.phase(t.Context(), "doctor", func(context.Context) error {
				return r.heed(diagnosis.Diagnosis{Findings: c.findings, NotChecked: c.unread}, c.reached)
			})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Errorf("the error is %q, want %q", got, c.err)
			}
			phase := r.record.Phases[0]
			if diff := cmp.Diff(c.notes, phase.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
			if want := map[bool]reports.Status{false: reports.Pass, true: reports.Error}[c.err != ""]; phase.Status != want || phase.Message != c.err {
				t.Errorf("the phase is %s, and says %q", phase.Status, phase.Message)
			}
			if verdict := r.record.Judge(false, nil); c.err != "" && (verdict.Status != reports.Error || verdict.ExitCode != reports.ExitEnvironment) {
				t.Errorf("the verdict is %+v", verdict)
			}
		})
	}
}

// quiet shows nobody anything.
func quiet(t *testing.T) reports.Observer {
	c := reports.NewConsole(io.Discard, reports.ConsoleOptions{})
	t.Cleanup(c.Close)
	return c
}
