package selftest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print writes the matrix for people: a line a mutant, then what is wrong, then the sum.
func (m *Matrix) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tMUTANT\tKILLED BY")
	for _, r := range m.Mutants {
		by := names(r.KilledBy)
		if r.Outcome != Killed {
			by = strings.ToUpper(string(r.Outcome))
		}
		if missed := r.passed(); len(missed) > 0 && r.Outcome == Killed {
			by += ", not by " + strings.Join(missed, ", ")
		}
		if len(r.AlsoKilledBy) > 0 {
			by += fmt.Sprintf(", also by %d tests of other rules", len(r.AlsoKilledBy))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Requirement, r.ID, by)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(out, "\n%s\n  %s\n", title, strings.Join(lines, "\n  "))
		}
	}
	for _, wrong := range []struct {
		outcome Outcome
		title   string
	}{
		{Survived, "Survived: no test fails"},
		{WronglyKilled, "Wrongly killed: only by tests of other rules, or for another reason"},
		{Undecided, "Undecided: tests of the rule broke, which proves nothing"},
	} {
		var lines []string
		for _, r := range m.Of(wrong.outcome) {
			lines = append(lines, fmt.Sprintf("%s %s: %s", r.Requirement, r.ID, r.Fault))
			if len(r.KilledBy) > 0 && r.Finding != "" {
				lines = append(lines, fmt.Sprintf("  no test says %q", r.Finding))
			}
			for _, k := range slices.Concat(r.KilledBy, r.AlsoKilledBy, r.Broke) {
				lines = append(lines, fmt.Sprintf("  %s: %.300s", k.Test, k.Finding))
			}
		}
		section(wrong.title, lines)
	}
	var unproved, alarms []string
	for _, t := range m.Unproved() {
		unproved = append(unproved, fmt.Sprintf("%s (%s)", t.ID, strings.Join(t.Requirements, ", ")))
	}
	section("Unproved: tests that kill no mutant of their rules", unproved)
	for _, a := range m.FalseAlarms {
		alarms = append(alarms, fmt.Sprintf("%s on the %s: %s: %.300s", a.Test, a.Webhook, a.Status, a.Finding))
	}
	section("False alarms: tests that the conformant reference does not pass", alarms)
	_, err := fmt.Fprintf(out, "\n%d of %d mutants killed, %d wrongly killed, %d survived, %d undecided; %d tests, %d unproved, %d false alarms; %.0f s\n",
		len(m.Of(Killed)), len(m.Mutants), len(m.Of(WronglyKilled)), len(m.Of(Survived)), len(m.Of(Undecided)),
		len(m.Tests), len(unproved), len(alarms), m.Seconds)
	return err
}

// passed are the tests of the mutant's rule that it passes.
func (r Row) passed() []string {
	return slices.DeleteFunc(slices.Clone(r.MissedBy), func(id string) bool {
		return slices.ContainsFunc(r.Broke, func(k Kill) bool { return k.Test == id })
	})
}

func names(kills []Kill) string {
	var all []string
	for _, k := range kills {
		all = append(all, k.Test)
	}
	return strings.Join(all, ", ")
}
