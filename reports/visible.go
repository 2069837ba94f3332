package reports

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible spells out what neither XML 1.0 nor a terminal may get from a log: control characters,
// bytes that are not UTF-8, and the two code points that XML excludes. Line ends and tabs stay.
func Visible(s string) string {
	var b strings.Builder
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == 0xfffe || r == 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// firstLine is the first line of a text that has something on it, made visible.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(Visible(s)), "\n")
	return strings.TrimSpace(line)
}
