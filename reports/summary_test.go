package reports

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

func TestSummary(t *testing.T) {
	files := []string{"out/record.json", "out/junit.xml"}
	for name, tc := range map[string]struct {
		record *Record
		file   string
	}{
		"of a passing run":             {passingRecord(), "summary-pass.golden.txt"},
		"of a run with every status":   {mixedRecord(), "summary-fail.golden.txt"},
		"of repeated and waived tests": {repeatedRecord(), "summary-repeated.golden.txt"},
		"of a set-up that failed":      {setUpFailure(), "summary-setup.golden.txt"},
		"of an empty record":           {&Record{Verdict: Verdict{Status: Error, Reason: "interrupted"}}, "summary-empty.golden.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			got := summaryOf(t, tc.record, SummaryOptions{Files: files})
			golden.Compare(t, tc.file, []byte(got))
			if strings.ContainsRune(got, '\x1b') {
				t.Error("an escape sequence, without colour")
			}
			for i, line := range strings.Split(got, "\n") {
				if strings.TrimRight(line, " \t") != line {
					t.Errorf("line %d ends in white space: %q", i+1, line)
				}
			}
		})
	}
}

func TestColourChangesNoWordOfTheSummary(t *testing.T) {
	plain := summaryOf(t, mixedRecord(), SummaryOptions{})
	colored := summaryOf(t, mixedRecord(), SummaryOptions{Color: true})
	for _, code := range []string{bold + ";" + red, bold, red, green, yellow, faint, "0"} {
		escape := "\x1b[" + code + "m"
		if !strings.Contains(colored, escape) {
			t.Errorf("no %q in the coloured summary", escape)
		}
		colored = strings.ReplaceAll(colored, escape, "")
	}
	if colored != plain {
		t.Errorf("without its colours the summary is\n%s\nwant\n%s", colored, plain)
	}
}

func TestSummaryCapsLongDiffsAndSaysWhereTheRestIs(t *testing.T) {
	r := wordlessFailure()
	var diff strings.Builder
	for i := range 50 {
		fmt.Fprintf(&diff, "- line %d\n", i)
	}
	r.Tests[0].Cases[0].Findings = []Finding{{Status: Fail, Message: "the pods differ", Diff: diff.String()}}
	got := summaryOf(t, r, SummaryOptions{Files: []string{"out/record.json"}})
	if !strings.Contains(got, "- line 19\n") || strings.Contains(got, "- line 20\n") {
		t.Errorf("not 20 lines of the diff:\n%s", got)
	}
	if want := "… 30 more lines in out/record.json"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

func TestSummaryGroupsSkipsByReason(t *testing.T) {
	r := passingRecord()
	for id, skip := range []Skipped{
		{"profile", "section 8 is from 1.6"}, {"no-nodes", "the cluster has no node"},
		{"profile", "native sidecars are from 1.5"}, {"no-nodes", "the cluster has no node"}, {"no-nodes", "the cluster has no node"},
	} {
		r.Tests = append(r.Tests, Test{ID: fmt.Sprintf("t%d", id), Status: Skip, Skip: &skip})
	}
	got := summaryOf(t, r, SummaryOptions{})
	want := `
Skipped
  no-nodes: the cluster has no node (3 tests: t1, t3, t4)
  profile (2 tests: t0, t2)
`
	if !strings.Contains(got, want) {
		t.Errorf("no%s\nin\n%s", want, got)
	}
}

func TestSummaryReportsThatItCouldNotBeWritten(t *testing.T) {
	if err := WriteSummary(brokenPipe{}, passingRecord(), SummaryOptions{}); !errors.Is(err, errBrokenPipe) {
		t.Errorf("WriteSummary: %v, want %v", err, errBrokenPipe)
	}
}

var errBrokenPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBrokenPipe }

func TestFirstSentence(t *testing.T) {
	for name, tc := range map[string]struct{ statement, want string }{
		"ends at a full stop before a capital":   {"Pods are mutated. Others are not.", "Pods are mutated."},
		"goes on after an abbreviation":          {"A relation, e.g. the mount, holds. Next.", "A relation, e.g. the mount, holds."},
		"goes on after a number":                 {"Up to 1.5.0 it is empty", "Up to 1.5.0 it is empty"},
		"does not end in a literal":              {"Refused with `N not valid. Expected 1`; never clamped. More.", "Refused with `N not valid. Expected 1`; never clamped."},
		"does not end in parentheses":            {"A refusal (by the server. It may be first) counts. More.", "A refusal (by the server. It may be first) counts."},
		"is the whole of a single sentence":      {"Pods are mutated.", "Pods are mutated."},
		"is one line whatever the catalogue has": {"Pods\n  are mutated.\nOthers are not.", "Pods are mutated."},
		"is empty for an empty statement":        {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := firstSentence(tc.statement); got != tc.want {
				t.Errorf("firstSentence(%q) = %q, want %q", tc.statement, got, tc.want)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]string{
		-1: "0.0s", 0: "0.0s", 0.44: "0.4s", 59.94: "59.9s", 59.96: "1m00s", 60: "1m00s", 125.4: "2m05s", 119.7: "2m00s", 3725: "62m05s",
	} {
		if got := duration(seconds); got != want {
			t.Errorf("duration(%v) = %s, want %s", seconds, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"text of any script stays":           {"größer 世界 😀 \u00a0", "größer 世界 😀 \u00a0"},
		"lines and tabs stay":                {"a\n\tb", "a\n\tb"},
		"line ends of Windows become plain":  {"a\r\nb", "a\nb"},
		"a lone carriage return is spelled":  {"a\rb", `a\x0db`},
		"an escape sequence is spelled":      {"\x1b[2J", `\x1b[2J`},
		"a C1 control character is spelled":  {"\u009b2J", `\x9b2J`},
		"bytes that are no text are spelled": {"a\xffb\xed\xa0\x80", `a\xffb\xed\xa0\x80`},
		"what XML excludes is spelled":       {"\ufffe\uffff", `\ufffe\uffff`},
		"a replacement character stays":      {"\ufffd", "\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Visible(tc.text); got != tc.want {
				t.Errorf("Visible(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}

func summaryOf(t *testing.T, r *Record, opts SummaryOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSummary(&b, r, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
