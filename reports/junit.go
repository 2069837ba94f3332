package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WriteJUnit writes the record as JUnit XML to path, whole or not at all.
func WriteJUnit(path string, r *Record) error {
	data, err := JUnit(r)
	if err != nil {
		return err
	}
	return WriteFile(path, data)
}

// JUnit renders the record as JUnit XML that Azure DevOps, GitHub and Prow read alike: outcomes are
// child elements (those readers ignore status attributes), names are unique and stable, every
// character is legal. There is a suite "phases" and one per tier. Warnings and flakes, which JUnit
// does not have, pass with a property and a text that tell them; a waived failure has a property for its waiver too.
// The schema that Jenkins holds documents to has no properties of testcases, so that they are lines of <system-out>, as
// [[PROPERTY|name=value]].
// What several attempts came to is told as Surefire does: <flakyFailure> and <flakyError> of a test that passed in the end,
// <rerunFailure> and <rerunError> of one that did not.
//
// It is never empty, nor greener than the record: a verdict that no phase and no test explains
// becomes a testcase of its own.
func JUnit(r *Record) ([]byte, error) {
	b := &junitBuilder{record: r, names: map[[2]string]bool{}, suites: map[string]*junitSuite{}, worst: Skip}

	for _, p := range r.Phases {
		o := outcome{name: p.Name, status: Worst(p.Status), seconds: p.Seconds, notes: p.Notes}
		if p.Message != "" {
			o.findings = []Finding{{Status: o.status, Message: p.Message}}
		}
		b.add(phasesSuite, p.Started, "phases", o.explained(), Test{})
	}
	for _, t := range r.Tests {
		for _, o := range outcomes(t) {
			b.add(t.Tier, t.Started, t.Tier+"."+t.ID, o, t)
		}
	}
	verdict := Worst(r.Verdict.Status)
	unexplained := (verdict == Fail || verdict == Error) && Worst(b.worst, verdict) != b.worst
	if unexplained || len(b.order) == 0 {
		o := outcome{name: "verdict", status: verdict, findings: []Finding{{Status: verdict, Message: r.Verdict.Reason}}}
		b.add(phasesSuite, r.Run.Started, "run", o, Test{})
	}

	data, err := xml.MarshalIndent(b.document(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit XML of run %s: %w", r.Run.ID, err)
	}
	return append([]byte(xml.Header), append(data, '\n')...), nil
}

const phasesSuite = "phases"

type junitDocument struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr"`
	junitTotals
	Suites []*junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitTotals
	Skipped    int             `xml:"skipped,attr"` // which only a suite tells
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`

	started time.Time
}

type junitTotals struct {
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     milliseconds `xml:"time,attr"`
}

type junitCase struct {
	Classname string        `xml:"classname,attr"`
	Name      string        `xml:"name,attr"`
	Time      milliseconds  `xml:"time,attr"`
	Failure   *junitProblem `xml:"failure"`
	Error     *junitProblem `xml:"error"`
	Skipped   *junitSkipped `xml:"skipped"`
	Reruns    []junitRerun
	SystemOut *junitText `xml:"system-out"` // nil rather than empty
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",cdata"`
}

// junitRerun is an attempt that broke; its element's name says how, and what came of the attempts.
type junitRerun struct {
	XMLName    xml.Name
	Message    string    `xml:"message,attr"`
	Type       string    `xml:"type,attr"`
	StackTrace junitText `xml:"stackTrace"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitText struct {
	Text string `xml:",cdata"`
}

// milliseconds prints as seconds. Whole numbers, so that totals are exactly the sum of their parts.
type milliseconds int64

func (m milliseconds) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(m)/1000, 'f', 3, 64)), nil
}

// inMilliseconds takes only durations that can be meant: a clock that was set back gives 0.
func inMilliseconds(seconds float64) milliseconds {
	if !(seconds > 0 && seconds < 1e9) {
		return 0
	}
	return milliseconds(math.Round(seconds * 1000))
}

type junitBuilder struct {
	record *Record
	names  map[[2]string]bool // classname and name in use
	suites map[string]*junitSuite
	order  []*junitSuite
	worst  Status
}

// add appends an outcome to its suite; test is zero for what belongs to none.
func (b *junitBuilder) add(suite string, started time.Time, classname string, o outcome, test Test) {
	s := b.suite(suite)
	if !started.IsZero() && (s.started.IsZero() || started.Before(s.started)) {
		s.started = started
	}
	b.worst = Worst(b.worst, o.status)

	c := junitCase{Time: inMilliseconds(o.seconds)}
	c.Classname, c.Name = b.unique(classname, o.name)
	var properties []junitProperty
	for _, id := range test.Requirements {
		properties = append(properties, junitProperty{"requirement", Visible(id)})
	}
	for _, f := range o.findings {
		if f.Waiver != "" {
			w := b.record.WaiverNamed(f.Waiver)
			properties = append(properties, junitProperty{"waiver", Visible(w.Name) + ": " + w.terms()})
		}
	}
	properties = slices.Compact(properties)
	c.Reruns = reruns(o)
	switch o.status {
	case Fail:
		c.Failure = problem(o, test.Rerun)
	case Error:
		c.Error = problem(o, test.Rerun)
	case Skip:
		c.Skipped = &junitSkipped{Message: skipMessage(o, test)}
		s.Skipped++
	case Warn, Flake:
		properties = append(properties, junitProperty{"status", string(o.status)})
	}
	c.SystemOut = systemOut(o, properties)

	s.Cases = append(s.Cases, c)
	s.junitTotals.plus(totals(c))
}

// suite finds or opens the suite of a name. Suites keep the order in which the record names them.
func (b *junitBuilder) suite(name string) *junitSuite {
	if s := b.suites[name]; s != nil {
		return s
	}
	s := &junitSuite{Name: named(name), Properties: b.facts()}
	b.suites[name] = s
	b.order = append(b.order, s)
	return s
}

// facts are the properties that tell one run's results from another's.
func (b *junitBuilder) facts() []junitProperty {
	r := b.record
	var facts []junitProperty
	for _, p := range []junitProperty{
		{"run.id", r.Run.ID},
		{"run.seed", strconv.FormatInt(r.Run.Seed, 10)},
		{"wi-e2e.version", r.Run.Version},
		{"kubernetes", r.Cluster.Kubernetes},
		{"cluster.provider", r.Cluster.Provider},
		{"subject", r.Subject.Kind},
		{"subject.version", r.Subject.Version},
		{"subject.profile", r.Subject.Profile},
	} {
		if p.Value != "" {
			facts = append(facts, junitProperty{p.Name, Visible(p.Value)})
		}
	}
	return facts
}

// unique makes a pair of classname and name that the document does not have yet: readers drop or
// merge duplicates. A repeated name gets " #2", " #3" in the order of the record.
func (b *junitBuilder) unique(classname, name string) (string, string) {
	classname = named(classname)
	base := named(name)
	name = base
	for n := 2; b.names[[2]string{classname, name}]; n++ {
		name = fmt.Sprintf("%s #%d", base, n)
	}
	b.names[[2]string{classname, name}] = true
	return classname, name
}

func (b *junitBuilder) document() junitDocument {
	d := junitDocument{Name: "wi-e2e", Suites: b.order}
	for _, s := range b.order {
		if s.started.IsZero() {
			s.started = b.record.Run.Started
		}
		if !s.started.IsZero() {
			// The JUnit schema wants ISO 8601 without a zone.
			s.Timestamp = s.started.UTC().Format("2006-01-02T15:04:05")
		}
		d.junitTotals.plus(s.junitTotals)
	}
	return d
}

func (t *junitTotals) plus(other junitTotals) {
	t.Tests += other.Tests
	t.Failures += other.Failures
	t.Errors += other.Errors
	t.Time += other.Time
}

// totals counts a testcase by its children, as readers do.
func totals(c junitCase) junitTotals {
	t := junitTotals{Tests: 1, Time: c.Time}
	switch {
	case c.Failure != nil:
		t.Failures = 1
	case c.Error != nil:
		t.Errors = 1
	}
	return t
}

// reruns are the attempts of an outcome that broke. The first one of an outcome that did not pass in the end is its problem itself.
func reruns(o outcome) []junitRerun {
	if !broke(o.status) {
		return nil
	}
	var all []junitRerun
	for _, a := range o.attempts {
		kind := "Failure"
		switch a.status {
		case Skip, Pass:
			continue
		case Error:
			kind = "Error"
		}
		prefix := "rerun"
		if o.status == Flake {
			prefix = "flaky"
		}
		p := problem(a, "")
		all = append(all, junitRerun{XMLName: xml.Name{Local: prefix + kind}, Message: p.Message, Type: p.Type, StackTrace: junitText{p.Text}})
	}
	if o.status != Flake && len(all) > 0 {
		all = all[1:]
	}
	return all
}

// problem is the one child of a testcase that broke. Its message, which is all that most readers
// list, is the first finding of the outcome's own status; its text has them all.
func problem(o outcome, rerun string) *junitProblem {
	first := o.findings[0]
	for _, f := range o.findings {
		if f.Status == o.status {
			first = f
			break
		}
	}
	p := &junitProblem{Type: string(o.status), Message: firstLine(first.Message)}
	if more := len(o.findings) - 1; more > 0 {
		p.Message += fmt.Sprintf(" (and %d more)", more)
	}
	p.Text = outcomeText(o)
	if rerun != "" {
		p.Text += "rerun: " + Visible(rerun) + "\n"
	}
	return p
}

func skipMessage(o outcome, t Test) string {
	switch {
	case t.Skip != nil:
		return Visible(t.Skip.Reason + ": " + t.Skip.Text)
	case len(o.findings) > 0:
		return firstLine(o.findings[0].Message)
	}
	return "skipped"
}

// systemOut has a line per property, and tells about an outcome that did not break; it is nil when there is nothing to tell.
func systemOut(o outcome, properties []junitProperty) *junitText {
	var b strings.Builder
	for _, p := range properties {
		fmt.Fprintf(&b, "[[PROPERTY|%s=%s]]\n", p.Name, strings.ReplaceAll(p.Value, "\n", " "))
	}
	switch o.status {
	case Fail, Error, Skip:
	case Flake:
		b.WriteString("flake: passed, but not in every attempt\n" + outcomeText(o))
	default:
		b.WriteString(outcomeText(o))
	}
	if b.Len() == 0 {
		return nil
	}
	return &junitText{b.String()}
}

func outcomeText(o outcome) string {
	var b bytes.Buffer
	for _, f := range o.findings {
		fmt.Fprintf(&b, "%s: %s\n", Visible(string(f.Status)), strings.TrimSpace(Visible(f.Message)))
		if f.Waiver != "" {
			fmt.Fprintf(&b, "waived by %s\n", Visible(f.Waiver))
		}
		if f.Diff != "" {
			fmt.Fprintf(&b, "expected (-) against actual (+):\n%s\n", strings.TrimRight(Visible(f.Diff), "\n"))
		}
	}
	for _, n := range o.notes {
		fmt.Fprintf(&b, "note: %s\n", strings.TrimSpace(Visible(n)))
	}
	return b.String()
}
