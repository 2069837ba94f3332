package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// SummaryOptions are what WriteSummary cannot know from the record.
type SummaryOptions struct {
	Color bool
	// Files are the paths of the written reports, the most detailed first.
	Files []string
}

// How much of one test the summary shows; the rest is in the record.
const (
	shownCases    = 5
	shownFindings = 3
	shownLines    = 20 // of a message or a diff
	shownTests    = 8  // in an enumeration
)

// WriteSummary tells a tired person how the run went: the verdict, what broke with rule and
// evidence and how to repeat just that, then what is worth knowing. Sections without content are left out.
func WriteSummary(w io.Writer, r *Record, opts SummaryOptions) error {
	s := newSummary(r)
	s.style, s.files = style{opts.Color}, opts.Files
	s.line("%s  %s", s.verdict(), Visible(r.Verdict.Reason))
	s.section("Broken phases", s.brokenPhases())
	s.section("Failed", s.tests(Fail))
	s.section("Errors: something broke beside the subject, which is neither proved nor disproved here", s.tests(Error))
	s.section("Not executed", s.notExecuted())
	s.section("Flaky: passed, but not in every attempt", s.tests(Flake))
	s.section("Waived", s.waived())
	s.section("Warnings", s.warnings())
	s.section("Skipped", s.skips())
	s.section("Workloads", s.workloads())
	s.section("Counts", s.counts())
	s.section("Run", s.facts())

	if _, err := io.WriteString(w, s.text.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

type summary struct {
	style
	text   strings.Builder
	record *Record
	files  []string
	rules  map[string]Requirement
}

func newSummary(r *Record) *summary {
	s := &summary{record: r, rules: map[string]Requirement{}}
	for _, q := range r.Requirements {
		s.rules[q.ID] = q
	}
	return s
}

func (s *summary) line(format string, args ...any) {
	fmt.Fprintf(&s.text, format+"\n", args...)
}

func (s *summary) section(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	s.line("\n%s", s.paint(bold, title))
	for _, l := range lines {
		s.line("%s", strings.TrimRight("  "+l, " "))
	}
}

func (s *summary) verdict() string {
	status := Worst(s.record.Verdict.Status)
	color := red
	switch status {
	case Pass:
		color = green
	case Skip, Warn, Flake:
		color = yellow
	}
	return s.paint(bold+";"+color, strings.ToUpper(string(status)))
}

func (s *summary) brokenPhases() []string {
	var lines []string
	for _, p := range s.record.Phases {
		if status := Worst(p.Status); status == Fail || status == Error {
			lines = append(lines, fmt.Sprintf("%s %s, after %s", s.mark(status), Visible(p.Name), duration(p.Seconds)))
			lines = append(lines, s.excerpt("    ", p.Message)...)
		}
	}
	return lines
}

// tests tells the executed tests of a status, each with its rules, its broken cases and how to repeat it.
func (s *summary) tests(status Status) []string {
	var lines []string
	for _, t := range s.record.Tests {
		if Worst(t.Status) != status || !t.Executed() {
			continue
		}
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", s.mark(status), Visible(t.ID), Visible(t.Title)))
		for _, rule := range s.brokenRules(t) {
			lines = append(lines, "    "+rule)
		}
		if attempts := attemptsLine(t); attempts != "" {
			lines = append(lines, "    "+attempts)
		}
		lines = append(lines, s.brokenCases(t)...)
		if t.Rerun != "" {
			lines = append(lines, "    rerun: "+Visible(t.Rerun))
		}
	}
	return lines
}

// brokenRules are the requirements of a test that did not hold, or all when the record cannot tell them apart.
func (s *summary) brokenRules(t Test) []string {
	var broken, all []string
	for _, id := range t.Requirements {
		q := s.rules[id]
		text := s.paint(bold, Visible(id))
		if q.Statement != "" {
			text += Visible(fmt.Sprintf(" %s: %s", q.Level, firstSentence(q.Statement)))
		}
		all = append(all, text)
		if broke(q.Status) {
			broken = append(broken, text)
		}
	}
	if len(broken) > 0 {
		return broken
	}
	return all
}

func (s *summary) brokenCases(t Test) []string {
	var lines []string
	broken := 0
	for _, o := range outcomes(t) {
		if !broke(o.status) {
			continue
		}
		if broken++; broken > shownCases {
			continue
		}
		indent := "    "
		if !o.whole {
			lines = append(lines, fmt.Sprintf("    %s %s", s.mark(o.status), Visible(o.name)))
			indent += "  "
		}
		for _, f := range o.findings[:min(len(o.findings), shownFindings)] {
			lines = append(lines, s.excerpt(indent, f.Message)...)
			if f.Diff != "" {
				lines = append(lines, indent+s.paint(faint, "expected (-) against actual (+):"))
				lines = append(lines, s.diff(indent+"  ", f.Diff)...)
			}
		}
		if more := len(o.findings) - shownFindings; more > 0 {
			lines = append(lines, indent+s.more(more, "finding"))
		}
	}
	if more := broken - shownCases; more > 0 {
		lines = append(lines, "    "+s.more(more, "case"))
	}
	return lines
}

// broke says whether an outcome is told with its evidence.
func broke(status Status) bool { return status == Flake || status == Fail || status == Error }

// excerpt is the start of a text, indented.
func (s *summary) excerpt(indent, text string) []string {
	text = strings.Trim(Visible(text), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	rest := len(lines) - shownLines
	lines = lines[:min(len(lines), shownLines)]
	for i := range lines {
		lines[i] = indent + lines[i]
	}
	if rest > 0 {
		lines = append(lines, indent+s.more(rest, "line"))
	}
	return lines
}

func (s *summary) diff(indent, text string) []string {
	lines := s.excerpt("", text)
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "-"):
			l = s.paint(red, l)
		case strings.HasPrefix(l, "+"):
			l = s.paint(green, l)
		}
		lines[i] = indent + l
	}
	return lines
}

// more says what was left out, and where it is.
func (s *summary) more(n int, noun string) string {
	where := "the record"
	if len(s.files) > 0 {
		where = s.files[0]
	}
	return s.paint(faint, fmt.Sprintf("… %s in %s", count(n, "more "+noun), where))
}

// notExecuted groups the planned tests that broke before they began: after a failed set-up that is every test, for one reason.
func (s *summary) notExecuted() []string {
	var g groups
	for _, t := range s.record.Tests {
		if Worst(t.Status) == Error && !t.Executed() {
			g.add(firstLine(outcomes(t)[0].findings[0].Message), "", t)
		}
	}
	return g.lines()
}

// skips groups the skipped tests by reason code.
func (s *summary) skips() []string {
	var g groups
	for _, t := range s.record.Tests {
		switch {
		case t.Status != Skip:
		case t.Skip == nil:
			g.add("no reason was recorded", "", t)
		default:
			g.add(t.Skip.Reason, t.Skip.Text, t)
		}
	}
	return g.lines()
}

// groups collects tests by the reason that they share.
type groups []*group

type group struct {
	reason string
	text   string // empty when the tests have different ones
	tests  []string
}

func (g *groups) add(reason, text string, t Test) {
	i := slices.IndexFunc(*g, func(one *group) bool { return one.reason == reason })
	if i < 0 {
		i = len(*g)
		*g = append(*g, &group{reason: reason, text: text})
	}
	one := (*g)[i]
	if one.text != text {
		one.text = ""
	}
	one.tests = append(one.tests, Visible(t.ID))
}

// lines has a line per group, the largest first.
func (g groups) lines() []string {
	slices.SortStableFunc(g, func(a, b *group) int { return len(b.tests) - len(a.tests) })
	var lines []string
	for _, one := range g {
		list := strings.Join(one.tests[:min(len(one.tests), shownTests)], ", ")
		if more := len(one.tests) - shownTests; more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, fmt.Sprintf("%s (%s: %s)",
			Visible(one.reason)+labelled(": ", firstLine(one.text)), count(len(one.tests), "test"), list))
	}
	return lines
}

// Executed tells a test that began from one that a broken phase or an interrupt kept from it.
func (t Test) Executed() bool { return !t.Started.IsZero() || len(t.Cases) > 0 }

func (s *summary) warnings() []string {
	var lines []string
	for _, p := range s.record.Phases {
		if p.Status == Warn {
			first, rest, _ := strings.Cut(p.Message, "\n")
			lines = append(lines, fmt.Sprintf("%s %s: %s", s.mark(p.Status), Visible(p.Name), firstLine(first)))
			lines = append(lines, s.excerpt("    ", rest)...)
		}
	}
	for _, t := range s.record.Tests {
		for _, l := range headlines(t, shownCases, Warn) {
			lines = append(lines, s.mark(Warn)+" "+l)
		}
	}
	return lines
}

// countRow is what is counted, by status.
type countRow struct {
	name   string
	counts map[Status]int
}

func (c Counts) rows() []countRow {
	return []countRow{{"tests", c.Tests}, {"cases", c.Cases}, {"requirements", c.Requirements}}
}

func (r countRow) total() int {
	total := 0
	for _, n := range r.counts {
		total += n
	}
	return total
}

// countedStatuses are the columns of a table of counts.
var countedStatuses = []Status{Pass, Warn, Flake, Fail, Error, Skip}

// counts is a table of the record's counts with a column per status that occurred.
func (s *summary) counts() []string {
	rows := s.record.Counts.rows()
	header := fmt.Sprintf("%-12s%8s", "", "total")
	lines := []string{""}
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("%-12s%8d", r.name, r.total()))
	}
	for _, status := range countedStatuses {
		if !slices.ContainsFunc(rows, func(r countRow) bool { return r.counts[status] > 0 }) {
			continue
		}
		header += fmt.Sprintf("%8s", status)
		for i, r := range rows {
			lines[i+1] += fmt.Sprintf("%8d", r.counts[status])
		}
	}
	lines[0] = header
	return lines
}

// facts say what was tested on what, how long it took, how to repeat it and where to read on.
func (s *summary) facts() []string {
	r := s.record
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("%-9s %s", name, Visible(value)))
		}
	}

	add("subject", joined(
		strings.TrimSpace(r.Subject.Kind+" "+r.Subject.Version),
		labelled("profile ", r.Subject.Profile)+labelled(" by ", r.Subject.ProfileBy),
		labelled("namespace ", r.Subject.Namespace)))
	for _, i := range r.Subject.Images {
		add("", i.Name+labelled("@", i.Digest))
	}
	if r.Cluster.Provider != "" {
		add("cluster", joined(
			strings.TrimSpace(r.Cluster.Provider+" "+r.Cluster.Name),
			labelled("Kubernetes ", r.Cluster.Kubernetes),
			count(r.Cluster.Nodes, "node")))
	}
	if a := r.Azure; a != nil {
		add("azure", joined(a.Mode, a.Cloud, labelled("tenant ", a.TenantID), labelled("vault ", a.Vault)))
	}
	add("untested", untested(r.Untested))
	var phases []string
	for _, p := range r.Phases {
		phases = append(phases, p.Name+" "+duration(p.Seconds))
	}
	add("phases", joined(phases...))
	add("total", duration(r.Run.Seconds))
	add("run", joined(r.Run.ID, fmt.Sprintf("seed %d", r.Run.Seed), labelled("wi-e2e ", r.Run.Version)))
	name := "reports"
	for _, f := range s.files {
		add(name, f)
		name = ""
	}
	return lines
}

// untested sums up which rules nothing was said about, so that a pass is not taken for more than it is.
func untested(rules []Untested) string {
	whole, parts := 0, []string(nil)
	for _, u := range rules {
		if u.Part == "" {
			whole++
		} else {
			parts = append(parts, u.ID+" ("+u.Part+")")
		}
	}
	var all []string
	if whole > 0 {
		all = append(all, count(whole, "rule")+" without a test")
	}
	if len(parts) > 0 {
		all = append(all, "of others a part: "+strings.Join(parts, ", "))
	}
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "; ") + " (wi-e2e list requirements)"
}

// joined separates the parts that are not empty by commas.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return p == "" }), ", ")
}

// labelled is empty when there is nothing to label.
func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + value
}

// firstSentence cuts a statement at its first full stop that a space and a capital follow, outside of
// backticks and parentheses: literals and examples have full stops of their own.
func firstSentence(statement string) string {
	quoted, depth := false, 0
	runes := []rune(strings.Join(strings.Fields(statement), " "))
	for i, c := range runes {
		switch {
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '.' && depth <= 0 && i+2 < len(runes) && runes[i+1] == ' ' && unicode.IsUpper(runes[i+2]):
			return string(runes[:i+1])
		}
	}
	return string(runes)
}
