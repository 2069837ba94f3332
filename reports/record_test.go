package reports

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

func TestRecordJSONIsStable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	if err := passingRecord().Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "record.golden.json", data)
}

func TestLoadReturnsWhatSaveWrote(t *testing.T) {
	want := mixedRecord()
	// JSON holds text: bytes that are none are replaced, and are not compared here.
	want.Tests[5].Findings[0].Message = "restart kube-apiserver"
	path := filepath.Join(t.TempDir(), "record.json")
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the record changed on its way through the file (-saved +loaded):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"what is not JSON":                {"<testsuites/>", "invalid character"},
		"a record of another version":     {`{"apiVersion":"wi-e2e.dev/v9","kind":"RunRecord"}`, "wi-e2e.dev/v9"},
		"another kind of object":          {`{"apiVersion":"wi-e2e.dev/v1alpha1","kind":"RunConfig"}`, "RunConfig"},
		"the first half of a record":      {`{"apiVersion":"wi-e2e.dev/v1alpha1","ki`, "unexpected end"},
		"a field of another type":         {`{"tests":{}}`, "cannot unmarshal"},
		"an object without a kind at all": {`{}`, `want "wi-e2e.dev/v1alpha1"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "record.json")
			if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Load: %v, want an error that names the file and has %q", err, tc.want)
			}
		})
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.json")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Load: %v, want an error that names %s", err, path)
	}
}

func TestCountCountsEveryStatus(t *testing.T) {
	r := mixedRecord()
	want := Counts{
		Tests:        map[Status]int{Pass: 1, Warn: 1, Flake: 1, Fail: 2, Error: 1, Skip: 1},
		Cases:        map[Status]int{Pass: 5, Warn: 1, Flake: 1, Fail: 6},
		Requirements: map[Status]int{Pass: 2, Warn: 1, Flake: 1, Fail: 2, Error: 1, Skip: 1},
	}
	if diff := cmp.Diff(want, r.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	r.Count()
	if diff := cmp.Diff(want, r.Counts); diff != "" {
		t.Errorf("counting twice gives something else (-want +got):\n%s", diff)
	}
}

func TestATestFaredForEachRequirementAsTheCasesAboutIt(t *testing.T) {
	of := func(status Status, checks int, requirements ...string) Case {
		return Case{Status: status, Checks: checks, Requirements: requirements}
	}
	for _, c := range []struct {
		name   string
		test   Test
		status Status // for AA-01
		cases  int
	}{
		{"cases about everything", Test{Status: Fail, Cases: []Case{of(Pass, 1), of(Fail, 2)}}, Fail, 2},
		{"a failure for another requirement is none for this", Test{Status: Fail, Cases: []Case{of(Pass, 1, "AA-01"), of(Fail, 1, "AA-02")}}, Pass, 1},
		{"a failure for this one is", Test{Status: Fail, Cases: []Case{of(Fail, 1, "AA-01"), of(Pass, 1, "AA-02")}}, Fail, 1},
		{"a case about everything counts beside its own", Test{Status: Fail, Cases: []Case{of(Pass, 1, "AA-01"), of(Fail, 1), of(Pass, 1, "AA-02")}}, Fail, 2},
		{"a case of several requirements", Test{Status: Warn, Cases: []Case{of(Warn, 1, "AA-02", "AA-01")}}, Warn, 1},
		{"no case about it rests on nothing", Test{Status: Pass, Cases: []Case{of(Pass, 1, "AA-02")}}, Pass, 0},
		{"what broke outside the cases counts for all", Test{Status: Error, Findings: []Finding{{Status: Error}}, Cases: []Case{of(Pass, 1, "AA-01")}}, Error, 1},
		{"the worst of outside and inside counts", Test{Status: Error, Findings: []Finding{{Status: Fail}}, Cases: []Case{of(Error, 1, "AA-01")}}, Error, 1},
		{"a case that evaluated nothing is not executed", Test{Status: Error, Cases: []Case{of(Error, 0, "AA-01"), of(Pass, 1, "AA-01")}}, Error, 1},
		{"a skip", Test{Status: Skip, Skip: &Skipped{Reason: "r"}}, Skip, 0},
		{"a test that did not come to its cases", Test{Status: Error, Findings: []Finding{{Status: Error}}}, Error, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, cases := c.test.Of("AA-01"); status != c.status || cases != c.cases {
				t.Errorf("%s by %d cases, want %s by %d", status, cases, c.status, c.cases)
			}
		})
	}
}

func TestASaveThatFailsLeavesTheOldRecordAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "record.json")
	old := passingRecord()
	if err := old.Save(path); err != nil {
		t.Fatal(err)
	}
	broken := passingRecord()
	broken.Run.Seconds = math.NaN() // JSON has no NaN
	if err := broken.Save(path); err == nil {
		t.Fatal("a record that JSON cannot hold was saved")
	}
	if got, err := Load(path); err != nil || !cmp.Equal(old, got) {
		t.Errorf("the old record is gone: %v", err)
	}

	occupied := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := old.Save(occupied); err == nil {
		t.Error("a record was saved over a directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("a failed save left something behind: %v", entries)
	}
}

func TestAReaderNeverSeesHalfARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	r := mixedRecord()
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	saved := make(chan error, 1)
	go func() {
		for range 200 {
			if err := r.Save(path); err != nil {
				saved <- err
				return
			}
		}
		saved <- nil
	}()
	for {
		if _, err := Load(path); err != nil {
			t.Errorf("read while it is being written: %v", err)
		}
		select {
		case err := <-saved:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}
