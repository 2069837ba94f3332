package runner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

func TestEveryReportIsSavedOrItsAbsenceTold(t *testing.T) {
	for _, name := range []string{RecordFile, JUnitFile, HTMLFile} {
		t.Run(name, func(t *testing.T) {
			r := &run{output: t.TempDir(), record: &reports.Record{APIVersion: reports.APIVersion, Kind: reports.Kind}}
			r.save()
			path := filepath.Join(r.output, name)
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("it is not there: %v", err)
			}
			if len(r.record.Phases) > 0 {
				t.Errorf("phases: %+v", r.record.Phases)
			}

			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
				t.Fatal(err)
			}
			r.save()
			if len(r.record.Phases) != 1 || r.record.Phases[0].Status != reports.Error {
				t.Errorf("phases where it cannot be written: %+v", r.record.Phases)
			}
		})
	}
}

func TestTheRecordSaysWhatReportsNeedOfRulesAndPrograms(t *testing.T) {
	plan := &suites.Plan{Tests: []suites.Planned{
		{Test: suites.Test{ID: "both", Requirements: []string{"AA-01"}, Needs: []suites.Capability{
			suites.WorkloadImage("go-msal"), suites.Nodes, suites.WorkloadImage("java-msal"), suites.SelfImage,
		}}},
		{Test: suites.Test{ID: "none", Requirements: []string{"AA-01"}}, Skip: &reports.Skipped{Reason: "r"}},
	}}
	record := &reports.Record{Tests: []reports.Test{{ID: "none", Requirements: []string{"AA-01"}, Status: reports.Skip}, {ID: "both", Status: reports.Pass}}}
	guardAgainstVacuity(record, plan, []suites.Requirement{
		{ID: "AA-01", Section: "A", Level: suites.Must}, {ID: "AA-02", Section: "B", Level: suites.Should, Statement: "It is so.", Pending: "#9"},
	})
	namePrograms(record, plan, workloads.Catalogue())

	if got := record.Requirements[0].Section; got != "A" {
		t.Errorf("the section of AA-01 is %q", got)
	}
	if diff := cmp.Diff([]reports.Untested{{ID: "AA-02", Issue: "#9", Section: "B", Level: "SHOULD", Statement: "It is so."}}, record.Untested); diff != "" {
		t.Error(diff)
	}
	want := []reports.Program{{Name: "go-msal", Language: "go", Library: "msal"}, {Name: "java-msal", Language: "java", Library: "msal"}}
	for _, test := range record.Tests {
		if test.ID == "both" {
			if diff := cmp.Diff(want, test.Programs); diff != "" {
				t.Error(diff)
			}
		} else if len(test.Programs) > 0 {
			t.Errorf("programs of %s: %v", test.ID, test.Programs)
		}
	}
}
