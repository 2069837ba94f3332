package reports

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

func TestJUnitOfEveryStatus(t *testing.T) {
	data, err := JUnit(mixedRecord())
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "junit.golden.xml", data)
	readJUnit(t, data)
}

func TestJUnitAgreesWithTheRecord(t *testing.T) {
	r := mixedRecord()
	got := readJUnit(t, mustJUnit(t, r))

	// Beside phases and cases, a test without cases and what happened outside the cases of
	// "rotation" are testcases of their own.
	cases := 0
	for _, n := range r.Counts.Cases {
		cases += n
	}
	want := readTotals{
		Tests:    len(r.Phases) + cases + len([]string{"token-file", "jwks", "rotation (set-up)"}),
		Failures: r.Counts.Cases[Fail] + len([]string{"jwks"}),
		Errors:   len([]string{"rotation (set-up)"}),
		Skipped:  r.Counts.Tests[Skip],
	}
	want.Time = got.Time
	if diff := cmp.Diff(want, got.readTotals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

func TestJUnitTestcase(t *testing.T) {
	doc := readJUnit(t, mustJUnit(t, mixedRecord()))
	for name, tc := range map[string]struct {
		classname, name string
		check           func(readCase) bool
	}{
		"a failing case has one failure of type fail with its message": {"admission.expiration-refused", "pod annotation 0", func(c readCase) bool {
			return len(c.Failures) == 1 && c.Failures[0].Type == "fail" && c.Failures[0].Message == "the pod was admitted, want a refusal"
		}},
		"a failure tells expected and actual, and how to repeat it": {"admission.expiration-refused", "pod annotation 0", func(c readCase) bool {
			return strings.Contains(c.Failures[0].Text, "- \t0,\n+ \t3600,") && strings.Contains(c.Failures[0].Text, "rerun: wi-e2e run")
		}},
		"every requirement is a property of its own": {"admission.expiration-refused", "pod annotation 0", func(c readCase) bool {
			return strings.HasPrefix(c.SystemOut, "[[PROPERTY|requirement=EXP-03]]\n[[PROPERTY|requirement=EXP-05]]\n")
		}},
		"a repeated name gets a number": {"admission.expiration-refused", "positive control #2", func(c readCase) bool { return !c.broken() }},
		"evidence of a pass is kept": {"admission.expiration-refused", "positive control", func(c readCase) bool {
			return !c.broken() && strings.HasSuffix(c.SystemOut, "]]\nnote: admitted with 3600\n")
		}},
		"a warning passes and says so": {"admission.namespaces", "team-a", func(c readCase) bool {
			return !c.broken() && c.has("status", "warn") && strings.Contains(c.SystemOut, "warn: namespace team-a is excluded")
		}},
		"a flake passes and says so": {"admission.fresh-account", "50 pairs", func(c readCase) bool {
			return !c.broken() && c.has("status", "flake") && strings.Contains(c.SystemOut, "\nflake: passed") && strings.Contains(c.SystemOut, "pair 7")
		}},
		"a planned skip gives reason and text": {"admission.token-file", "The token file is readable", func(c readCase) bool {
			return len(c.Skipped) == 1 && c.Skipped[0].Message == "no-nodes: the cluster has no node that runs pods"
		}},
		"what breaks outside the cases is an error of the set-up": {"issuer.rotation", "(set-up)", func(c readCase) bool {
			return len(c.Errors) == 1 && c.Errors[0].Message == "restart kube-apiserver: exit status 1" && c.has("requirement", "ISS-05")
		}},
		"what XML forbids is spelled out": {"issuer.rotation", "(set-up)", func(c readCase) bool {
			return strings.Contains(c.Errors[0].Text, `\x1b[31mE1122 bad key ]]> \x00\xff<tag>\x1b[0m`)
		}},
		"a test without cases is a testcase, and its message is the worst finding's": {"issuer.jwks", "Every key is public and complete", func(c readCase) bool {
			return len(c.Failures) == 1 && c.Failures[0].Message == `key "a1" has the private member "d" (and 1 more)`
		}},
		"a phase is a testcase": {"phases", "clean-up", func(c readCase) bool { return !c.broken() && c.has("status", "warn") }},
	} {
		t.Run(name, func(t *testing.T) {
			c, ok := doc.find(tc.classname, tc.name)
			if !ok {
				t.Fatalf("there is no testcase %q %q", tc.classname, tc.name)
			}
			if !tc.check(c) {
				t.Errorf("not so: %+v", c)
			}
		})
	}
}

func TestJUnitIsNeverGreenerThanTheRecord(t *testing.T) {
	verdict := func(r *Record, s Status) *Record {
		r.Verdict = Verdict{Status: s, Reason: "the gate says so"}
		return r
	}
	inconsistent := passingRecord()
	inconsistent.Tests[0].Status = Error
	wordless := passingRecord()
	wordless.Tests[0].Cases[1].Status = Fail
	unknown := passingRecord()
	unknown.Tests[0].Cases[1].Status = "passed"

	for name, tc := range map[string]struct {
		record           *Record
		failures, errors int
		classname, name  string
	}{
		"an empty record is an error":                           {&Record{}, 0, 1, "run", "verdict"},
		"a record without phases and tests has its verdict":     {verdict(&Record{}, Pass), 0, 0, "run", "verdict"},
		"a run that ended before its first phase":               {verdict(&Record{}, Error), 0, 1, "run", "verdict"},
		"a set-up that failed breaks its phase and every test":  {setUpFailure(), 0, 11, "phases", "subject"},
		"an error that no test explains":                        {verdict(passingRecord(), Error), 0, 1, "run", "verdict"},
		"a failure that no test explains":                       {verdict(passingRecord(), Fail), 1, 0, "run", "verdict"},
		"an error beside failures":                              {verdict(wordlessFailure(), Error), 1, 1, "run", "verdict"},
		"a test that is worse than its cases":                   {inconsistent, 0, 1, "admission.expiration-accepted", "(set-up)"},
		"a failed case without a finding":                       {verdict(wordless, Fail), 1, 0, "admission.expiration-accepted", "pod annotation 86400"},
		"a status that is not of the lattice":                   {verdict(unknown, Pass), 0, 1, "admission.expiration-accepted", "pod annotation 86400"},
		"a passing run has nothing broken, and no verdict case": {passingRecord(), 0, 0, "phases", "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := readJUnit(t, mustJUnit(t, tc.record))
			if doc.Failures != tc.failures || doc.Errors != tc.errors {
				t.Errorf("%d failures and %d errors, want %d and %d", doc.Failures, doc.Errors, tc.failures, tc.errors)
			}
			if c, ok := doc.find(tc.classname, tc.name); !ok || c.broken() != (tc.failures+tc.errors > 0) {
				t.Errorf("testcase %q %q: there %v, broken %v", tc.classname, tc.name, ok, c.broken())
			}
			if _, ok := doc.find("run", "verdict"); ok != (tc.name == "verdict") {
				t.Errorf("a testcase for the verdict: %v, want %v", ok, tc.name == "verdict")
			}
		})
	}
}

func wordlessFailure() *Record {
	r := passingRecord()
	r.Tests[0].Status, r.Tests[0].Cases[0].Status = Fail, Fail
	return r
}

func TestWriteJUnitReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "junit.xml")
	for _, r := range []*Record{mixedRecord(), passingRecord()} {
		if err := WriteJUnit(path, r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(mustJUnit(t, passingRecord())), string(got)); diff != "" {
		t.Errorf("the file holds something else (-want +got):\n%s", diff)
	}
}

func FuzzJUnitIsValidWhateverTheRecordHolds(f *testing.F) {
	f.Add("name", "message", "- a\n+ b", "fail", "fail", 0.1)
	f.Add("", "", "", "", "", 0.0)
	f.Add("]]>", "a]]>b<![CDATA[", "\x00\x1b[31m\xff\xfe", "error", "skip", -1.0)
	f.Add("a\r\nb\rc", "\ufffe\uffff\u0085\u2028", "\xed\xa0\x80", "warn", "flake", math.Inf(1))
	f.Add("x #2", "&amp; &#0;", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "flake", "unknown", math.NaN())
	f.Fuzz(func(t *testing.T, name, message, diff, status, other string, seconds float64) {
		findings := []Finding{{Status: Status(other), Message: message, Diff: diff}, {Status: Status(status), Message: diff}}
		r := &Record{
			Run:     Run{ID: name, Version: message, Started: time.Unix(int64(len(message)), 0)},
			Verdict: Verdict{Status: Status(status), Reason: message},
			Cluster: Cluster{Kubernetes: diff},
			Phases:  []Phase{{Name: name, Status: Status(other), Message: message, Notes: []string{diff}, Seconds: seconds}},
			Tests: []Test{
				{ID: name, Title: message, Tier: diff, Status: Status(status), Requirements: []string{name, ""}, Skip: &Skipped{name, message}, Seconds: seconds},
				{ID: name, Title: message, Tier: name, Status: Status(other), Findings: findings, Rerun: diff},
				{ID: name, Title: message, Tier: name, Status: Status(status), Findings: findings, Cases: []Case{
					{Name: name, Status: Status(status), Findings: findings, Seconds: seconds},
					{Name: name, Status: Status(other), Notes: []string{message}},
					{Name: name + " #2", Status: Pass},
				}},
			},
		}
		doc := readJUnit(t, mustJUnit(t, r))
		if got := Worst(r.Verdict.Status); (got == Fail || got == Error) && doc.Failures+doc.Errors == 0 {
			t.Errorf("the verdict is %s and the document is green", got)
		}
	})
}

func mustJUnit(t *testing.T, r *Record) []byte {
	t.Helper()
	data, err := JUnit(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The types below read JUnit XML on their own terms, as a pipeline would: nothing is shared with the writer.

type readDocument struct {
	readTotals
	Suites []readSuite `xml:"testsuite"`
}

type readTotals struct {
	Tests    int     `xml:"tests,attr"`
	Failures int     `xml:"failures,attr"`
	Errors   int     `xml:"errors,attr"`
	Skipped  int     `xml:"skipped,attr"`
	Time     float64 `xml:"time,attr"`
}

type readSuite struct {
	Name string `xml:"name,attr"`
	readTotals
	Timestamp string     `xml:"timestamp,attr"`
	Cases     []readCase `xml:"testcase"`
}

type readCase struct {
	Classname string        `xml:"classname,attr"`
	Name      string        `xml:"name,attr"`
	Status    string        `xml:"status,attr"`
	Time      float64       `xml:"time,attr"`
	Failures  []readProblem `xml:"failure"`
	Errors    []readProblem `xml:"error"`
	Skipped   []readProblem `xml:"skipped"`
	SystemOut string        `xml:"system-out"`
}

type readProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

func (c readCase) broken() bool { return len(c.Failures)+len(c.Errors) > 0 }

func (c readCase) has(name, value string) bool {
	return strings.Contains("\n"+c.SystemOut, "\n[[PROPERTY|"+name+"="+value+"]]\n")
}

func (d readDocument) find(classname, name string) (readCase, bool) {
	for _, s := range d.Suites {
		for _, c := range s.Cases {
			if c.Classname == classname && c.Name == name {
				return c, true
			}
		}
	}
	return readCase{}, false
}

// readJUnit reads a document and checks what must hold for every one.
func readJUnit(t *testing.T, data []byte) readDocument {
	t.Helper()
	if !utf8.Valid(data) {
		t.Error("the document is not UTF-8")
	}
	tokens := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the document is not XML: %v\n%q", err, data)
		}
	}
	var doc readDocument
	if err := xml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, problem := range jenkins(t).problems(t, data) {
		t.Errorf("Jenkins' schema: %s", problem)
	}

	var all readTotals
	names := map[[2]string]bool{}
	for _, s := range doc.Suites {
		var sum readTotals
		for _, c := range s.Cases {
			sum.Tests++
			sum.Failures += len(c.Failures)
			sum.Errors += len(c.Errors)
			sum.Skipped += len(c.Skipped)
			sum.Time += c.Time
			if len(c.Failures)+len(c.Errors)+len(c.Skipped) > 1 {
				t.Errorf("testcase %q %q has more than one outcome", c.Classname, c.Name)
			}
			if key := [2]string{c.Classname, c.Name}; names[key] || c.Name == "" || c.Classname == "" || c.Status != "" {
				t.Errorf("testcase %q is repeated or nameless, or has a status attribute", key)
			} else {
				names[key] = true
			}
		}
		compareTotals(t, "suite "+s.Name, s.readTotals, sum)
		if _, err := time.Parse("2006-01-02T15:04:05", s.Timestamp); s.Timestamp != "" && err != nil {
			t.Errorf("suite %s: %v", s.Name, err)
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
		all.Time += s.Time
	}
	doc.Skipped = all.Skipped // only suites tell it
	compareTotals(t, "the document", doc.readTotals, all)
	if all.Tests == 0 {
		t.Error("the document is empty")
	}
	return doc
}

func compareTotals(t *testing.T, what string, stated, counted readTotals) {
	t.Helper()
	if math.Abs(stated.Time-counted.Time) < 1e-4*(1+math.Abs(counted.Time)) {
		counted.Time = stated.Time
	}
	if stated != counted {
		t.Errorf("%s states %+v, its children are %+v", what, stated, counted)
	}
}
