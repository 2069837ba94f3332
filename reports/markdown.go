package reports

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MarkdownLimit is how long a pull request comment of GitHub can be.
const MarkdownLimit = 65_536

// How much of that one text and one diff take, in bytes: beside shownLines, as a line can be as long as a log. markdownFooter is
// kept free for what says that something was left out.
const (
	markdownText    = 1_000
	markdownDiff    = 3_000
	markdownSection = 8_000 // where it is one block
	markdownFooter  = 2_000
)

// Markdown renders the record for a pull request comment or a step summary: the verdict first, what broke with its evidence, then
// what is worth knowing, collapsed. It is at most MarkdownLimit bytes; what does not fit is counted at its end.
// What comes from the record is text, whatever it holds: it becomes no markup, no mention and no reference.
func Markdown(r *Record) []byte {
	m := &markdown{record: r, share: 1}
	m.render()
	if len(m.omitted) > 0 {
		// It is too long anyway: a section is kept from crowding out those behind it.
		m = &markdown{record: r, share: 0.6}
		m.render()
	}
	return []byte(m.text.String())
}

type markdown struct {
	record  *Record
	summary *summary // whose lines are reused, without colour
	share   float64  // of the room that is left, for one section
	text    strings.Builder
	omitted []string // "12 of 40 in Failed"
}

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(&m.text, format+"\n", args...) }

func (m *markdown) render() {
	s := newSummary(m.record)
	m.summary = s
	m.head()
	m.open("Broken phases", m.brokenPhases())
	m.open("Failed", m.tests(Fail))
	m.open("Errors: something broke beside the subject", m.tests(Error))
	m.open("Not executed", items(s.notExecuted()))
	m.open("Flaky: passed, but not in every attempt", m.tests(Flake))
	m.open("Waived", m.waived())
	m.collapsed("Warnings", fenced("text", s.warnings()))
	m.collapsed("Skipped", items(s.skips()))
	m.collapsed("Workloads", fenced("text", s.workloads()))
	m.collapsed("Run", fenced("text", s.facts()))
	if len(m.omitted) > 0 {
		m.line("\n> This report is cut to %d bytes. Left out: %s. The record has all of it.", MarkdownLimit, strings.Join(m.omitted, ", "))
	}
}

// head is the verdict and the counts.
func (m *markdown) head() {
	v := m.record.Verdict
	m.line("## %s wi-e2e: %s\n\n%s\n", symbol(Worst(v.Status)), Worst(v.Status), prose(v.Reason))
	header, rule := "| | total |", "|---|---:|"
	for _, status := range countedStatuses {
		header, rule = header+" "+string(status)+" |", rule+"---:|"
	}
	m.line("%s\n%s", header, rule)
	for _, row := range m.record.Counts.rows() {
		line := fmt.Sprintf("| %s | %d |", row.name, row.total())
		for _, status := range countedStatuses {
			line += fmt.Sprintf(" %d |", row.counts[status])
		}
		m.line("%s", line)
	}
}

// symbol stands for a status where there is no colour; the word is always beside it.
func symbol(status Status) string {
	switch status {
	case Pass:
		return "✅"
	case Fail, Error:
		return "❌"
	}
	return "⚠️"
}

func (m *markdown) open(title string, blocks []string) {
	m.blocks(title, "\n### "+title+"\n\n", "", blocks)
}

// collapsed is a section that a reader has to open.
func (m *markdown) collapsed(title string, blocks []string) {
	m.blocks(title, "\n<details><summary>"+title+"</summary>\n\n", "\n</details>\n", blocks)
}

// blocks writes as many blocks of a section as fit, and remembers how many did not.
func (m *markdown) blocks(title, before, after string, blocks []string) {
	written := 0
	room := m.text.Len() + int(float64(MarkdownLimit-markdownFooter-m.text.Len())*m.share)
	for ; written < len(blocks); written++ {
		piece := blocks[written]
		if written == 0 {
			piece = before + piece
		}
		if m.text.Len()+len(piece)+len(after) > room {
			break
		}
		m.text.WriteString(piece)
	}
	if written > 0 {
		m.text.WriteString(after)
	}
	if written < len(blocks) {
		m.omitted = append(m.omitted, fmt.Sprintf("%d of %d in “%s”", len(blocks)-written, len(blocks), title))
	}
}

func (m *markdown) brokenPhases() []string {
	var blocks []string
	for _, p := range m.record.Phases {
		if status := Worst(p.Status); status == Fail || status == Error {
			message := fence("text", start(p.Message, markdownText))
			blocks = append(blocks, fmt.Sprintf("%s **%s**, after %s\n%s\n", symbol(status), prose(p.Name), duration(p.Seconds), message))
		}
	}
	return blocks
}

// tests has a block per executed test of a status. Closed, it says what broke; open, it has the evidence.
func (m *markdown) tests(status Status) []string {
	var blocks []string
	for _, t := range m.record.Tests {
		if Worst(t.Status) != status || !t.Executed() {
			continue
		}
		var b strings.Builder
		headline := joined(t.Requirements...) + " " + t.ID + ": " + worstOf(t, status)
		fmt.Fprintf(&b, "<details><summary>%s <code>%s</code></summary>\n\n", symbol(status), html.EscapeString(clip(firstLine(headline), markdownText)))
		fmt.Fprintf(&b, "%s\n\n", prose(t.Title))
		for _, rule := range m.summary.brokenRules(t) {
			fmt.Fprintf(&b, "- %s\n", prose(rule))
		}
		if attempts := attemptsLine(t); attempts != "" {
			fmt.Fprintf(&b, "- %s\n", prose(attempts))
		}
		m.evidence(&b, t)
		if t.Rerun != "" {
			fmt.Fprintf(&b, "\nRepeat it:\n%s", fence("sh", start(t.Rerun, markdownText)))
		}
		b.WriteString("\n</details>\n\n")
		blocks = append(blocks, b.String())
	}
	return blocks
}

// worstOf is the first word of a test on why it has its status.
func worstOf(t Test, status Status) string {
	found := t.Found(status)
	for _, o := range outcomes(t) {
		if o.status == status {
			found = append(found, o.findings...)
		}
	}
	if len(found) == 0 {
		return string(status)
	}
	return found[0].Message
}

// evidence are the broken cases of a test with their findings.
func (m *markdown) evidence(b *strings.Builder, t Test) {
	broken := slices.DeleteFunc(outcomes(t), func(o outcome) bool { return !broke(o.status) })
	for _, o := range broken[:min(len(broken), shownCases)] {
		fmt.Fprintf(b, "\n%s **%s**\n", symbol(o.status), prose(o.name))
		for _, f := range o.findings[:min(len(o.findings), shownFindings)] {
			b.WriteString(fence("text", start(f.Message, markdownText)))
			if f.Diff != "" {
				b.WriteString("expected (-) against actual (+):\n" + fence("diff", start(f.Diff, markdownDiff)))
			}
		}
		if more := len(o.findings) - shownFindings; more > 0 {
			fmt.Fprintf(b, "\n%s\n", m.summary.more(more, "finding"))
		}
	}
	if more := len(broken) - shownCases; more > 0 {
		fmt.Fprintf(b, "\n%s\n", m.summary.more(more, "case"))
	}
}

func (m *markdown) waived() []string {
	var blocks []string
	for _, w := range m.record.Waivers {
		if w.State == WaiverUsed {
			blocks = append(blocks, fmt.Sprintf("- **%s**: %s waived by %s: %s\n", prose(w.About()), count(w.Findings, "finding"), prose(w.Name), prose(w.terms())))
		}
	}
	return blocks
}

// items makes a list of lines.
func items(lines []string) []string {
	var blocks []string
	for _, l := range lines {
		blocks = append(blocks, "- "+prose(l)+"\n")
	}
	return blocks
}

// fenced makes one block of lines, and none of none.
func fenced(language string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return []string{fence(language, clip(strings.Join(lines, "\n"), markdownSection))}
}

// fence is a block of literal text. Its fence is longer than any in the text.
func fence(language, text string) string {
	mark := "```"
	for strings.Contains(text, mark) {
		mark += "`"
	}
	return "\n" + mark + language + "\n" + text + "\n" + mark + "\n"
}

// start is the start of a text: at most shownLines lines and limit bytes, and how much was cut.
func start(text string, limit int) string {
	lines := strings.Split(strings.Trim(Visible(text), "\n"), "\n")
	rest := len(lines) - shownLines
	text = clip(strings.Join(lines[:min(len(lines), shownLines)], "\n"), limit)
	if rest > 0 {
		text += fmt.Sprintf("\n… %s in the record", count(rest, "more line"))
	}
	return text
}

// clip cuts a text to so many bytes, between characters, and says how many it cut.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + fmt.Sprintf("… (%d more bytes in the record)", len(text)-end)
}

// prose makes Markdown show a text as it is, in one line. Backslashes keep it from being markup; a word joiner, which is not
// seen, keeps GitHub from taking it for a mention, a reference, a link or the marker of a list.
func prose(text string) string {
	var b strings.Builder
	text = clip(strings.Join(strings.Fields(Visible(text)), " "), markdownText)
	for i, c := range text {
		if i == 0 && !unicode.IsLetter(c) {
			b.WriteRune(joiner)
		}
		switch {
		case c == '<':
			b.WriteString("&lt;")
		case c == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]>|~$", c):
			b.WriteString("\\" + string(c))
		case strings.ContainsRune("@#:", c):
			b.WriteRune(c)
			if next := i + 1; next < len(text) && text[next] != ' ' {
				b.WriteRune(joiner)
			}
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// joiner takes no room and breaks no line.
const joiner = '\u2060'
