package html

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/wi-e2e/wi-e2e/reports"
)

// printable draws control characters, which a browser would hide, as the pictures that Unicode has for them.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case c < ' ':
			return c + '␀'
		case c == 0x7f:
			return '␡'
		case unicode.IsControl(c):
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), string(unicode.ReplacementChar)))
}

// prose sets what is between backticks as code. A backtick without a partner stays.
func prose(s string) template.HTML {
	var b strings.Builder
	parts := strings.Split(printable(s), "`")
	for i, part := range parts {
		escaped := template.HTMLEscapeString(part)
		switch {
		case i%2 == 0:
			b.WriteString(escaped)
		case i == len(parts)-1:
			b.WriteString("`" + escaped)
		default:
			b.WriteString("<code>" + escaped + "</code>")
		}
	}
	return template.HTML(b.String()) // every part is escaped
}

// seconds are a duration as people read it: 12ms, 4.1s, 2m5s.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d <= 0:
		return "0s"
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// counted is "1 case" or "3 cases".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// mark is the sign of a status, which always stands beside its name: neither colour nor sign is needed to read it.
func mark(s reports.Status) string {
	switch s {
	case reports.Pass:
		return "✓"
	case reports.Skip:
		return "–"
	case reports.Warn:
		return "!"
	case reports.Flake:
		return "≈"
	case reports.Fail:
		return "✗"
	case untested:
		return "○"
	}
	return "‼"
}

// diffLine is a line of a comparison of expected (del) against actual (ins).
type diffLine struct{ Kind, Text string }

func diffLines(diff string) []diffLine {
	var lines []diffLine
	for l := range strings.Lines(printable(strings.TrimRight(diff, "\n"))) {
		kind := ""
		switch {
		case strings.HasPrefix(l, "-"):
			kind = "del"
		case strings.HasPrefix(l, "+"):
			kind = "ins"
		}
		lines = append(lines, diffLine{kind, strings.TrimRight(l, "\n")})
	}
	return lines
}
