// Package compare holds records against each other: what got worse or better from one run to another, and how steady tests are
// over many runs.
//
// It judges no run: a failure that was there before is none of its business, the gate's it is (package gate).
package compare

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Comparison is what changed from one record to a later one.
type Comparison struct {
	// Regressions are requirements and tests that are worse than before, Fixed those that are better.
	Regressions []Change
	Fixed       []Change
	// Skipped were executed before, and are in the later plan.
	Skipped []Change
	// Lost were executed before, and are not in the later record at all.
	Lost []Change
	// Gone are tests that another version of wi-e2e had, and this one may have under another name. What they proved is
	// held against the requirements and workloads.
	Gone []Change
	// Added are tests that the earlier record did not execute.
	Added []Change
	// Slower took longer by more than what differs from run to run anyway.
	Slower []Slowdown
}

// Change of something that both records may have.
type Change struct {
	Kind    string // requirement, test or workload
	ID      string
	Was, Is reports.Status // "" where the record does not have it
	Why     string
}

// Slowdown of a phase or a test.
type Slowdown struct {
	Kind, ID string
	Was, Is  float64 // seconds
}

// What two runs of the same thing differ by is noise: a slowdown is more than both of these.
const (
	noiseFactor  = 1.5
	noiseSeconds = 2.0
)

// Worse says whether something that was proved before is not any more. Slower is not worse: machines differ.
func (c Comparison) Worse() bool { return len(c.Regressions)+len(c.Skipped)+len(c.Lost) > 0 }

// Compare holds a record against an earlier one.
func Compare(before, after *reports.Record) Comparison {
	var c Comparison
	rules := map[string]reports.Requirement{}
	for _, q := range after.Requirements {
		rules[q.ID] = q
	}
	for _, old := range before.Requirements {
		now, ok := rules[old.ID]
		c.add("requirement", old.ID, reports.Worst(old.Status), status(now.Status, ok), "")
	}
	tests := map[string]reports.Test{}
	for _, t := range after.Tests {
		tests[t.ID] = t
	}
	known := map[string]bool{}
	for _, old := range before.Tests {
		known[old.ID] = reports.Worst(old.Status) != reports.Skip
		now, ok := tests[old.ID]
		if !ok && known[old.ID] && before.Run.Version != after.Run.Version {
			c.Gone = append(c.Gone, Change{Kind: "test", ID: old.ID, Was: reports.Worst(old.Status)})
			continue
		}
		c.add("test", old.ID, reports.Worst(old.Status), status(now.Status, ok), why(now))
		if ok {
			c.slower("test", old.ID, perAttempt(old), perAttempt(now))
		}
	}
	for _, t := range after.Tests {
		if is := reports.Worst(t.Status); !known[t.ID] && is != reports.Skip {
			c.Added = append(c.Added, Change{Kind: "test", ID: t.ID, Is: is, Why: why(t)})
		}
	}
	ran := workloads(after)
	for _, name := range slices.Sorted(maps.Keys(workloads(before))) {
		if !ran[name] {
			c.Lost = append(c.Lost, Change{Kind: "workload", ID: name, Was: reports.Pass})
		}
	}
	later := phases(after)
	for _, p := range before.Phases {
		if seconds, ok := later[p.Name]; ok {
			c.slower("phase", p.Name, phases(before)[p.Name], seconds)
			delete(later, p.Name) // a name that is there twice is summed up
		}
	}
	return c
}

// add puts a change where it belongs; no change is none.
func (c *Comparison) add(kind, id string, was, is reports.Status, why string) {
	change := Change{Kind: kind, ID: id, Was: was, Is: is, Why: why}
	switch {
	case was == reports.Skip: // the later record has more to say, which Added tells
	case is == "":
		c.Lost = append(c.Lost, change)
	case is == reports.Skip:
		c.Skipped = append(c.Skipped, change)
	case is == was:
	case reports.Worst(was, is) == is:
		c.Regressions = append(c.Regressions, change)
	default:
		c.Fixed = append(c.Fixed, change)
	}
}

func (c *Comparison) slower(kind, id string, was, is float64) {
	if is > was*noiseFactor && is > was+noiseSeconds {
		c.Slower = append(c.Slower, Slowdown{Kind: kind, ID: id, Was: was, Is: is})
	}
}

func status(s reports.Status, there bool) reports.Status {
	if !there {
		return ""
	}
	return reports.Worst(s)
}

// why is the first word of a test on why it is not a pass.
func why(t reports.Test) string {
	if t.Skip != nil {
		return t.Skip.Reason
	}
	if found := t.Found(reports.Worst(t.Status)); len(found) > 0 {
		line, _, _ := strings.Cut(found[0].Message, "\n")
		return line
	}
	return ""
}

// perAttempt is how long the test takes once.
func perAttempt(t reports.Test) float64 { return t.Seconds / float64(max(1, len(t.Attempts))) }

func phases(r *reports.Record) map[string]float64 {
	seconds := map[string]float64{}
	for _, p := range r.Phases {
		seconds[p.Name] += p.Seconds
	}
	return seconds
}

// workloads are the programs that read the secret in the run, each with its operating system.
func workloads(r *reports.Record) map[string]bool {
	ran := map[string]bool{}
	for _, t := range r.Tests {
		for _, c := range t.Cases {
			for _, w := range c.Workloads {
				if w.SecretSHA256 != "" {
					ran[strings.TrimSpace(w.Name+" "+w.OS)] = true
				}
			}
		}
	}
	return ran
}

// Write tells a person what changed; sections without content are left out.
func (c Comparison) Write(w io.Writer) error {
	var b strings.Builder
	section := func(title string, changes []Change) {
		if len(changes) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s\n", title)
		for _, change := range changes {
			fmt.Fprintf(&b, "  %s %s: %s → %s", change.Kind, change.ID, orAbsent(change.Was), orAbsent(change.Is))
			if change.Why != "" {
				fmt.Fprintf(&b, " (%s)", reports.Visible(change.Why))
			}
			b.WriteString("\n")
		}
	}
	section("Regressions", c.Regressions)
	section("Newly skipped", c.Skipped)
	section("Coverage lost", c.Lost)
	section("Fixed", c.Fixed)
	section("Not in this version of wi-e2e", c.Gone)
	section("Added", c.Added)
	if len(c.Slower) > 0 {
		fmt.Fprintf(&b, "Slower by more than %.0f%% and %.0f s\n", 100*(noiseFactor-1), noiseSeconds)
		for _, s := range c.Slower {
			fmt.Fprintf(&b, "  %s %s: %.1f s → %.1f s\n", s.Kind, s.ID, s.Was, s.Is)
		}
	}
	if b.Len() == 0 {
		b.WriteString("nothing changed\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	return nil
}

func orAbsent(s reports.Status) string {
	if s == "" {
		return "not there"
	}
	return string(s)
}
