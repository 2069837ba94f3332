package html

import (
	"cmp"
	"slices"

	"github.com/wi-e2e/wi-e2e/reports"
)

// testGroup is tests that are told together.
type testGroup struct {
	Title, About string
	Status       reports.Status
	Tests        []*test
	Open         bool // its tests show their evidence at once
}

// openTests is how many tests of a group show their evidence at once.
const openTests = 12

// group divides the tests into those that want somebody's attention and the rest: what passed by tier, what was skipped by reason.
func group(tests []*test) (attention, rest []testGroup) {
	of := func(status reports.Status, title, about string, open bool, more func(*test) bool) {
		g := testGroup{Title: title, About: about, Status: status, Open: open}
		for _, t := range tests {
			if reports.Worst(t.Status) == status && more(t) {
				g.Tests = append(g.Tests, t)
			}
		}
		if len(g.Tests) > 0 {
			g.Open = open && len(g.Tests) <= openTests
			attention = append(attention, g)
		}
	}
	executed := func(t *test) bool { return t.Executed }
	of(reports.Fail, "Failed", "The subject broke a MUST.", true, func(*test) bool { return true })
	of(reports.Error, "Errors", "Something broke beside the subject, which is neither proved nor disproved here.", true, executed)
	of(reports.Error, "Not executed", "Planned, but kept from running.", false, func(t *test) bool { return !t.Executed })
	of(reports.Flake, "Flaky", "Passed, but not in every attempt.", true, func(*test) bool { return true })
	of(reports.Warn, "Warned", "A SHOULD was not met, or what was not met is waived.", true, func(*test) bool { return true })

	by := func(status reports.Status, title func(*test) (string, string)) {
		first := len(rest)
		for _, t := range tests {
			if reports.Worst(t.Status) != status {
				continue
			}
			name, about := title(t)
			i := slices.IndexFunc(rest[first:], func(g testGroup) bool { return g.Title == name })
			if i < 0 {
				rest = append(rest, testGroup{Title: name, About: about, Status: status})
				i = len(rest) - first - 1
			}
			g := &rest[first+i]
			if g.About != about {
				g.About = "" // the tests have different ones, and tell them
			}
			g.Tests = append(g.Tests, t)
		}
	}
	by(reports.Skip, func(t *test) (string, string) {
		if s := t.Variants[0].Skip; s != nil {
			return s.Reason, s.Text
		}
		return "no reason was recorded", ""
	})
	by(reports.Pass, func(t *test) (string, string) { return t.Tier, "" })
	for _, g := range rest {
		slices.SortStableFunc(g.Tests, func(a, b *test) int { return cmp.Compare(a.ID, b.ID) })
	}
	return attention, rest
}

// openTest is a test that shows its evidence at once, or not.
type openTest struct {
	Test *test
	Open bool
}

func opened(t *test, open bool) openTest { return openTest{t, open} }
