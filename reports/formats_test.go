package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

// everything is a record with every status, skips, waivers, attempts, workloads and a broken phase.
func everything() *Record {
	r, repeated, passing := mixedRecord(), repeatedRecord(), passingRecord()
	for i := range repeated.Requirements {
		if repeated.Requirements[i].ID == "SA-02" || repeated.Requirements[i].ID == "EXP-02" || repeated.Requirements[i].ID == "EXP-03" {
			continue // mixedRecord has them
		}
		r.Requirements = append(r.Requirements, repeated.Requirements[i])
	}
	for _, t := range repeated.Tests {
		t.ID += "-again"
		r.Tests = append(r.Tests, t)
	}
	r.Tests = append(r.Tests, passing.Tests[1:]...)
	r.Waivers, r.Untested, r.Azure = repeated.Waivers, passing.Untested, passing.Azure
	r.Phases = append(r.Phases, repeated.Phases[len(repeated.Phases)-1])
	r.Verdict = Verdict{Status: Error, ExitCode: ExitEnvironment, Reason: "1 tests broke, so they say nothing about the subject; 3 tests failed"}
	r.Count()
	return r
}

// rendered is the record in each format.
func rendered(t *testing.T, r *Record) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"markdown.md": Markdown(r), "badge.svg": Badge(r), "junit.xml": mustJUnit(t, r)}
	for name, render := range map[string]func(*Record) ([]byte, error){"ctrf.json": CTRF, "conformance.yaml": Conformance} {
		data, err := render(r)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = data
	}
	return all
}

func TestEveryFormatOfOneRecord(t *testing.T) {
	for name, data := range rendered(t, everything()) {
		base, extension, _ := strings.Cut(name, ".")
		golden.Compare(t, base+"-everything.golden."+extension, data)
		if !utf8.Valid(data) {
			t.Errorf("%s is not UTF-8", name)
		}
	}
}

// What each format says of the numbers is read from the rendered text alone, and held against the record's own.
func TestEveryFormatAgreesWithTheRecordInEveryCount(t *testing.T) {
	for name, r := range map[string]*Record{
		"everything": everything(), "passing": passingRecord(), "mixed": mixedRecord(), "repeated": repeatedRecord(), "setup failed": setUpFailure(),
	} {
		t.Run(name, func(t *testing.T) {
			formats := rendered(t, r)
			want := r.Counts

			if got := markdownCounts(t, formats["markdown.md"]); !cmp.Equal(got, withoutZeros(want)) {
				t.Errorf("markdown (-want +got):\n%s", cmp.Diff(withoutZeros(want), got))
			}
			if got := ctrfCounts(t, formats["ctrf.json"]); !cmp.Equal(got, withoutZeros(want)) {
				t.Errorf("CTRF (-want +got):\n%s", cmp.Diff(withoutZeros(want), got))
			}
			if got := conformanceCounts(t, formats["conformance.yaml"]); !cmp.Equal(got, withoutZeros(Counts{Tests: want.Tests, Requirements: want.Requirements})) {
				t.Errorf("conformance report: %v, want %v", got, want)
			}
			junit := readJUnit(t, formats["junit.xml"])
			cases, outside := map[Status]int{}, 0
			for _, test := range r.Tests {
				for _, o := range outcomes(test) {
					cases[o.status]++
				}
				outside += len(outcomes(test)) - len(test.Cases)
			}
			if total := (countRow{counts: want.Cases}).total(); junit.Tests != len(r.Phases)+total+outside {
				t.Errorf("JUnit has %d testcases, the record %d phases, %d cases and %d outcomes outside of cases", junit.Tests, len(r.Phases), total, outside)
			}
			for _, p := range r.Phases {
				cases[p.Status]++
			}
			if got, all := [3]int{junit.Failures, junit.Errors, junit.Skipped}, [3]int{cases[Fail], cases[Error], cases[Skip]}; got != all {
				t.Errorf("JUnit has %v failures, errors and skips, the record %v", got, all)
			}
		})
	}
}

func withoutZeros(c Counts) Counts {
	for _, counts := range []map[Status]int{c.Tests, c.Cases, c.Requirements} {
		maps.DeleteFunc(counts, func(_ Status, n int) bool { return n == 0 })
	}
	return Counts{Tests: nonNil(c.Tests), Cases: nonNil(c.Cases), Requirements: nonNil(c.Requirements)}
}

func nonNil(m map[Status]int) map[Status]int {
	if m == nil {
		return map[Status]int{}
	}
	return m
}

// markdownCounts reads the table at the top.
func markdownCounts(t *testing.T, data []byte) Counts {
	t.Helper()
	var header []string
	counts := Counts{Tests: map[Status]int{}, Cases: map[Status]int{}, Requirements: map[Status]int{}}
	for _, line := range strings.Split(string(data), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		into := map[string]map[Status]int{"tests": counts.Tests, "cases": counts.Cases, "requirements": counts.Requirements}[cells[0]]
		switch {
		case len(cells) < 3:
		case cells[1] == "total":
			header = cells
		case into != nil:
			total := 0
			for i, cell := range cells[1:] {
				var n int
				if _, err := fmt.Sscan(cell, &n); err != nil {
					t.Fatalf("%q in the table: %v", cell, err)
				}
				if i == 0 {
					total = n
				} else if n > 0 {
					into[Status(header[i+1])] = n
					total -= n
				}
			}
			if total != 0 {
				t.Errorf("the columns of %s do not add up", cells[0])
			}
		}
	}
	return counts
}

// ctrfCounts counts tests and steps by what they were before CTRF, and holds the summary to the tests.
func ctrfCounts(t *testing.T, data []byte) Counts {
	t.Helper()
	var report struct {
		Results struct {
			Summary map[string]int64
			Tests   []struct {
				Status, RawStatus string
				Suite             []string
				Flaky             bool
				Steps             []struct {
					Status string
					Extra  struct{ Status Status }
				}
			}
			Extra struct{ Requirements []Requirement }
		}
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	counts := Counts{Tests: map[Status]int{}, Cases: map[Status]int{}, Requirements: map[Status]int{}}
	sum := map[string]int64{"passed": 0, "failed": 0, "skipped": 0, "pending": 0, "other": 0, "flaky": 0, "tests": int64(len(report.Results.Tests))}
	for _, test := range report.Results.Tests {
		sum[test.Status]++
		if test.Flaky {
			sum["flaky"]++
		}
		if test.Suite[0] != phasesSuite {
			counts.Tests[Status(test.RawStatus)]++
		}
		for _, s := range test.Steps {
			counts.Cases[s.Extra.Status]++
		}
	}
	for name, n := range sum {
		if report.Results.Summary[name] != n {
			t.Errorf("CTRF's summary says %d %s, there are %d", report.Results.Summary[name], name, n)
		}
	}
	for _, q := range report.Results.Extra.Requirements {
		counts.Requirements[q.Status]++
	}
	return counts
}

func conformanceCounts(t *testing.T, data []byte) Counts {
	t.Helper()
	var report struct {
		Profiles []struct {
			Core, Extended struct{ Statistics map[Status]int }
		}
		Requirements map[string]map[Status]int
	}
	if err := yaml.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	counts := Counts{Tests: map[Status]int{}, Cases: map[Status]int{}, Requirements: map[Status]int{}}
	for _, p := range report.Profiles {
		for _, statistics := range []map[Status]int{p.Core.Statistics, p.Extended.Statistics} {
			for status, n := range statistics {
				counts.Tests[status] += n
			}
		}
	}
	for _, level := range report.Requirements {
		for status, n := range level {
			counts.Requirements[status] += n
		}
	}
	return counts
}

func TestCTRFIsValidByItsSchema(t *testing.T) {
	schema := ctrfSchema(t)
	for name, r := range map[string]*Record{
		"everything": everything(), "passing": passingRecord(), "setup": setUpFailure(), "empty": {Verdict: Verdict{Status: Error}},
		"a shard": {Run: Run{Shard: &Shard{Index: 1, Total: 2}}},
	} {
		data, err := CTRF(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(schema, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The schema is not toothless.
	if err := validate(schema, []byte(`{"reportFormat":"CTRF","specVersion":"0.0.0","results":{"tool":{"name":"x"},"tests":[],"summary":{}}}`)); err == nil {
		t.Error("a report without a summary is valid")
	}
}

func ctrfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "schemas", "ctrf-0.0.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("ctrf.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("ctrf.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, data []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(document)
}

func TestNothingIsLostInCTRF(t *testing.T) {
	data, err := CTRF(everything())
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"that a test broke":           `"rawStatus": "error"`,
		"that a test is a flake":      `"flaky": true`,
		"what a retry was for":        `"retries": "transport"`,
		"the reason of a skip":        `"reason": "no-nodes"`,
		"the waiver of a warning":     `"owner": "team-a"`,
		"which attempts found it":     `"attempts": [`,
		"what a case is about":        `"checks": 50`,
		"a finding with its diff":     `expected (-) against actual (+)`,
		"how to repeat a test":        `"rerun": "wi-e2e run --repeat 3 --test fresh-account"`,
		"what nothing is known about": `"issue": "#5"`,
		"the SDK of a workload":       `"version": "1.27.0"`,
		"the digest of an image":      `sha256:0123abcd`,
		"a phase that broke":          `"waivers.yaml entry 3 (ENV-01): what it waives was tested and holds: take it out"`,
	} {
		if !bytes.Contains(data, []byte(text)) {
			t.Errorf("CTRF does not tell %s: no %s", what, text)
		}
	}
}

func TestNoFormatIsGreenerThanTheVerdict(t *testing.T) {
	r := passingRecord()
	r.Verdict = Verdict{Status: Error, ExitCode: ExitLeaked, Reason: "the clean-up left behind: Namespace x"}
	formats := rendered(t, r)
	for name, want := range map[string]string{
		"ctrf.json": `"failed": 1`, "junit.xml": `errors="1"`, "markdown.md": "## ❌ wi-e2e: error", "badge.svg": "not judged", "conformance.yaml": "status: error",
	} {
		if !bytes.Contains(formats[name], []byte(want)) {
			t.Errorf("%s: no %q in\n%s", name, want, formats[name])
		}
	}
	r = passingRecord()
	r.Tests[0].Status, r.Tests[0].Skip = Skip, &Skipped{"r", "t"}
	data, err := Conformance(r)
	if err != nil || !bytes.Contains(data, []byte("result: partial")) {
		t.Errorf("a profile with a skipped test is not partial: %v\n%s", err, data)
	}
}

func TestAPartOfAProfileSucceedsOnlyWhole(t *testing.T) {
	for name, c := range map[string]struct {
		part conformancePart
		want string
	}{
		"all passed": {conformancePart{}, "success"}, "one failed": {conformancePart{Failed: []string{"t"}}, "failure"},
		"one broke": {conformancePart{Broken: []string{"t"}}, "failure"}, "one was waived": {conformancePart{Waived: []string{"t"}}, "partial"},
		"one is a flake": {conformancePart{Flaky: []string{"t"}}, "partial"}, "one was skipped": {conformancePart{Skipped: make([]conformanceSkipped, 1)}, "partial"},
		"one failed and one was skipped": {conformancePart{Failed: []string{"t"}, Skipped: make([]conformanceSkipped, 1)}, "failure"},
	} {
		if c.part.judge(); c.part.Result != c.want {
			t.Errorf("%s: %s, want %s", name, c.part.Result, c.want)
		}
	}
}

func TestMarkdownIsCutHonestly(t *testing.T) {
	r := mixedRecord()
	failed := r.Tests[1]
	for i := range 400 {
		one := failed
		one.ID = fmt.Sprintf("expiration-refused-%03d", i)
		r.Tests = append(r.Tests, one)
	}
	r.Tests = append(r.Tests, Test{ID: "last", Status: Skip, Skip: &Skipped{"no-azure", strings.Repeat("long ", 100_000)}})
	r.Count()
	got := string(Markdown(r))
	if len(got) > MarkdownLimit {
		t.Errorf("%d bytes, want at most %d", len(got), MarkdownLimit)
	}
	shown := strings.Count(got, "<summary>❌ <code>EXP-03, EXP-05") + strings.Count(got, "<summary>❌ <code>ISS-02")
	if want := fmt.Sprintf("%d of 402 in “Failed”", 402-shown); shown == 0 || shown == 402 || !strings.Contains(got, want) {
		t.Errorf("%d of 402 tests are shown, and it does not say %q:\n%s", shown, want, got[len(got)-2000:])
	}
	if !strings.Contains(got, "rotation") || !strings.Contains(got, "<summary>Run</summary>") {
		t.Error("the failures crowd out what comes behind them")
	}
	if n := strings.Count(got, "<details>"); n != strings.Count(got, "</details>") {
		t.Errorf("%d sections are opened, %d closed", n, strings.Count(got, "</details>"))
	}
	if strings.Contains(string(Markdown(mixedRecord())), "Left out") {
		t.Error("a short report says that something was left out")
	}
}

func TestALongTextIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"short", 5, "short"}, {"longer", 5, "longe… (1 more bytes in the record)"}, {"äöü", 3, "ä… (4 more bytes in the record)"}, {"", 0, ""},
	} {
		if got := clip(c.text, c.limit); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
	if got := start(strings.Repeat("line\n", shownLines+2), 1000); !strings.HasSuffix(got, "line\n… 2 more lines in the record") {
		t.Errorf("the start of many lines is %q", got)
	}
}

func TestMarkdownShowsTextAsItIs(t *testing.T) {
	r := mixedRecord()
	hostile := "</details><script>x</script> @team #12 [a](https://evil) `b` ```\n# c ![d](e)"
	r.Verdict.Reason = hostile
	r.Tests[1].Cases[0].Findings[0] = Finding{Status: Fail, Message: hostile + "\n```\n<script>", Diff: "````\n<script>"}
	r.Tests[1].Title, r.Tests[1].Rerun = hostile, hostile
	r.Tests[4].Skip.Text = hostile
	outside := true // of a fence
	mark := ""
	for i, line := range strings.Split(string(Markdown(r)), "\n") {
		if fence := strings.TrimRight(line, "abcdefghijklmnopqrstuvwxyz"); len(fence) >= 3 && strings.Trim(fence, "`") == "" {
			if outside {
				outside, mark = false, fence
				continue
			} else if line == mark {
				outside = true
				continue
			}
		}
		if !outside {
			continue
		}
		for _, bad := range []string{"<script", "@team", "#12", "[a]", "</details><"} {
			if strings.Contains(strings.ReplaceAll(line, "<code>"+between(line, "<code>", "</code>")+"</code>", ""), bad) {
				t.Errorf("line %d lets %q through: %s", i+1, bad, line)
			}
		}
		if strings.Contains(between(line, "<code>", "</code>"), "<script") {
			t.Errorf("line %d has an element: %s", i+1, line)
		}
	}
	if !outside {
		t.Error("a fence is not closed")
	}
}

func between(s, open, end string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, end)
	return s
}

func TestBadge(t *testing.T) {
	warned := passingRecord()
	warned.Verdict.Status = Warn
	warned.Waivers = []Waiver{{State: WaiverUsed, Findings: 2}}
	bare := passingRecord()
	bare.Subject.Version = "<b>&"
	shard := passingRecord()
	shard.Run.Shard = &Shard{Index: 1, Total: 2}
	flaky := passingRecord()
	flaky.Verdict = Verdict{Status: Flake, ExitCode: ExitFailed}
	flaky.Requirements[0].Status = Flake
	for name, tc := range map[string]struct {
		record *Record
		want   string
	}{
		"a pass":              {passingRecord(), "conformant v1.5.1, 1 rule"},
		"a pass with waivers": {warned, "conformant v1.5.1, 1 rule, 2 waived"},
		"a failure":           {repeatedRecord(), "3 rules broken"},
		"a broken set-up":     {setUpFailure(), "not judged"},
		"an empty record":     {&Record{}, "not judged"},
		"a shard":             {shard, "a shard only"},
		"a subject's flake":   {flaky, "1 rule broken"},
		"what is no text":     {bare, "conformant &lt;b&gt;&amp;, 1 rule"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Badge(tc.record)
			if !bytes.Contains(got, []byte("<title>workload identity: "+tc.want+"</title>")) {
				t.Errorf("no %q in\n%s", tc.want, got)
			}
			var any struct{}
			if err := xml.Unmarshal(got, &any); err != nil {
				t.Errorf("not XML: %v", err)
			}
		})
	}
}

func FuzzFormatsAreValidWhateverTheRecordHolds(f *testing.F) {
	f.Add("name", "message", "- a\n+ b", "fail", "pass")
	f.Add("", "", "", "", "")
	f.Add("```", "````\n</details>", "\x00\x1b[31m\xff\xfe", "error", "skip")
	f.Add("a\r\nb", "\u2028 @x #1", "\xed\xa0\x80", "flake", "warn")
	f.Fuzz(func(t *testing.T, name, message, diff, status, other string) {
		findings := []Finding{{Status: Status(other), Message: message, Diff: diff, Waiver: name}}
		r := &Record{
			Run: Run{ID: name, Version: message, Started: time.Unix(1, 0)}, Verdict: Verdict{Status: Status(status), Reason: message},
			Phases:       []Phase{{Name: name, Status: Status(other), Message: message}},
			Requirements: []Requirement{{ID: name, Level: diff, Status: Status(status)}},
			Tests: []Test{
				{ID: name, Title: message, Tier: diff, Status: Status(status), Requirements: []string{name}, Findings: findings},
				{ID: name, Title: diff, Tier: name, Status: Status(other), Started: time.Unix(2, 0), Cases: []Case{{Name: name, Status: Status(status), Findings: findings}}},
			},
		}
		r.Count()
		formats := rendered(t, r)
		if err := validate(ctrfSchema(t), formats["ctrf.json"]); err != nil {
			t.Error(err)
		}
		var report map[string]any
		if err := yaml.Unmarshal(formats["conformance.yaml"], &report); err != nil {
			t.Error(err)
		}
		if n := len(formats["markdown.md"]); n > MarkdownLimit {
			t.Errorf("%d bytes of markdown", n)
		}
		if slices.Contains([]Status{Fail, Error}, Worst(r.Verdict.Status)) && bytes.Contains(formats["ctrf.json"], []byte(`"failed": 0`)) {
			t.Error("the verdict is red and CTRF is green")
		}
	})
}
