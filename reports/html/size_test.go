package html

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// manyRuns are 200 runs. Every tenth fails in its own words, the others are the sample's.
func manyRuns(t *testing.T) []*reports.Record {
	t.Helper()
	var all []*reports.Record
	for n := range 200 {
		r := everyStatus(t)
		old := r.Run.ID
		r.Run.ID = fmt.Sprintf("run%05d", n)
		r.Run.Started = r.Run.Started.Add(time.Duration(n) * time.Hour)
		for i := range r.Tests {
			for j := range r.Tests[i].Cases {
				for k := range r.Tests[i].Cases[j].Findings {
					f := &r.Tests[i].Cases[j].Findings[k]
					f.Message = strings.ReplaceAll(f.Message, old, r.Run.ID)
					if n%10 == 0 {
						f.Message += fmt.Sprintf(" (%d)", n)
					}
				}
			}
		}
		all = append(all, r)
	}
	return all
}

// largeRecord is one record with 200 times the tests of the sample, and as many cases as a whole run has.
func largeRecord(t *testing.T) *reports.Record {
	t.Helper()
	r := everyStatus(t)
	var tests []reports.Test
	for n := range 200 {
		for _, one := range r.Tests {
			one.ID = fmt.Sprintf("%s-%d", one.ID, n)
			for i := range 50 {
				one.Cases = append(one.Cases, reports.Case{Name: fmt.Sprintf("one more case, of a usual length: %d", i), Status: reports.Pass, Checks: 3})
			}
			tests = append(tests, one)
		}
	}
	r.Tests = tests
	r.Count()
	return r
}

func TestMuchIsRenderedSoonAndToAFileThatABrowserTakes(t *testing.T) {
	for name, records := range map[string][]*reports.Record{"200 runs": manyRuns(t), "200 times the tests": {largeRecord(t)}} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			data := rendered(t, records...)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s, want at most 5s", took)
			}
			if size := len(data) >> 20; size >= 10 {
				t.Errorf("it is %d MB large, want less than 10", size)
			}
			t.Logf("%d KB", len(data)>>10)
		})
	}
}

func TestALargePageSaysWhatItLeavesOut(t *testing.T) {
	for name, tc := range map[string]struct {
		record *reports.Record
		want   string
	}{
		"cases that passed":  {largeRecord(t), "are counted and not listed"},
		"long evidence":      {withMessage(t, "x"+strings.Repeat("é", 20_000)), "Long evidence is cut"},
		"much evidence":      {withManyMessages(t), "Long evidence is cut"},
		"nothing is too big": {everyStatus(t), ""},
	} {
		t.Run(name, func(t *testing.T) {
			page := string(rendered(t, tc.record))
			if !strings.Contains(page, tc.want) {
				t.Errorf("the page does not say %q", tc.want)
			}
			if tc.want == "" && (strings.Contains(page, "in the record.") || strings.Contains(page, "more in the record")) {
				t.Error("the page says that it leaves something out")
			}
			if strings.ContainsRune(page, '\ufffd') && strings.Contains(tc.want, "evidence") {
				t.Error("a character was cut through")
			}
		})
	}
}

func withMessage(t *testing.T, message string) *reports.Record {
	t.Helper()
	r := everyStatus(t)
	r.Tests[0].Findings = append(r.Tests[0].Findings, reports.Finding{Status: reports.Fail, Message: message})
	return r
}

func withManyMessages(t *testing.T) *reports.Record {
	t.Helper()
	r := everyStatus(t)
	for range 1000 {
		r.Tests[0].Findings = append(r.Tests[0].Findings, reports.Finding{Status: reports.Fail, Message: strings.Repeat("words ", 1000)})
	}
	return r
}
