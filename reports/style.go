package reports

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// style writes for people, in colour or not.
type style struct{ color bool }

const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func (s style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// mark is the one character that stands for a status at the start of a line.
func (s style) mark(status Status) string {
	switch status {
	case Pass:
		return s.paint(green, "✓")
	case Skip:
		return s.paint(faint, "-")
	case Warn, Flake:
		return s.paint(yellow, "!")
	}
	return s.paint(red, "✗")
}

// duration prints seconds as people read them: 0.4s, 12.3s, 2m05s.
func duration(seconds float64) string {
	if seconds < 59.95 {
		return fmt.Sprintf("%.1fs", max(seconds, 0))
	}
	whole := time.Duration(math.Round(seconds)) * time.Second
	return fmt.Sprintf("%dm%02ds", whole/time.Minute, whole%time.Minute/time.Second)
}

// count is "1 case" or "3 cases".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// tally names the statuses that occurred, the worst first: "2 fail, 1 warn".
func tally(counts map[Status]int, statuses ...Status) string {
	var parts []string
	for _, s := range statuses {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return strings.Join(parts, ", ")
}
