package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/suites"
)

// diagnosed is what a diagnosis is of: a pod or a cluster.
type diagnosed struct {
	Pod     string `json:"pod,omitempty"` // namespace/name
	Cluster string `json:"cluster,omitempty"`
}

func (d diagnosed) String() string {
	if d.Pod != "" {
		return "pod " + d.Pod
	}
	return "cluster " + d.Cluster
}

// headings of the first finding and of the others.
func (d diagnosed) headings() (first, others string) {
	if d.Pod != "" {
		return "Cause", "Also" // of one thing that does not work
	}
	return "Findings", ""
}

// diagnosisDocument is the diagnosis for programs.
type diagnosisDocument struct {
	diagnosed
	Broken     bool              `json:"broken"`
	Findings   []citedFinding    `json:"findings"`
	InOrder    []diagnosis.Check `json:"inOrder"`
	NotChecked []string          `json:"notChecked"`
}

// citedFinding is a finding with the text and the level of its requirement.
type citedFinding struct {
	diagnosis.Finding
	Level     suites.Level `json:"level"`
	Statement string       `json:"statement"`
}

func cite(findings []diagnosis.Finding, catalogue []suites.Requirement) []citedFinding {
	cited := []citedFinding{}
	for _, f := range findings {
		c := citedFinding{Finding: f}
		for _, r := range catalogue {
			if r.ID == f.Requirement {
				c.Level, c.Statement = r.Level, r.Statement
			}
		}
		cited = append(cited, c)
	}
	return cited
}

func writeDiagnosisJSON(w io.Writer, of diagnosed, d diagnosis.Diagnosis, catalogue []suites.Requirement) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(diagnosisDocument{of, d.Broken(), cite(d.Findings, catalogue), d.InOrder, d.NotChecked})
}

// Colours of a terminal.
const (
	ansiBold   = "1"
	ansiRed    = "31"
	ansiGreen  = "32"
	ansiYellow = "33"
	ansiFaint  = "2"
)

// writeDiagnosis tells people: the cause, the others, what was not looked at and what is in order.
func writeDiagnosis(w io.Writer, of diagnosed, d diagnosis.Diagnosis, catalogue []suites.Requirement, color bool) error {
	paint := func(code, text string) string {
		if !color {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	out := bufio.NewWriter(w)
	line := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	switch {
	case d.Broken():
		line("%s  %s", paint(ansiRed, "BROKEN"), paint(ansiBold, of.String()))
	case len(d.Findings) > 0:
		line("%s  %s", paint(ansiYellow, "WARNINGS"), paint(ansiBold, of.String()))
	default:
		line("%s  %s", paint(ansiGreen, "IN ORDER"), paint(ansiBold, of.String()))
	}
	first, others := of.headings()
	for i, f := range cite(d.Findings, catalogue) {
		switch {
		case i == 0:
			line("\n%s", paint(ansiBold, first))
		case i == 1 && others != "":
			line("\n%s", paint(ansiBold, others))
		}
		mark := paint(ansiRed, "✗")
		if f.Severity == diagnosis.Warning {
			mark = paint(ansiYellow, "!")
		}
		line("  %s %s: %s", mark, printable(f.Object), printable(f.Problem))
		line("    → %s", printable(f.Remedy))
		about := f.ID
		if f.Requirement != "" {
			about += fmt.Sprintf(" (%s, %s): %s", f.Requirement, f.Level, f.Statement)
		}
		line("    %s", paint(ansiFaint, about))
	}
	if len(d.NotChecked) > 0 {
		line("\n%s", paint(ansiBold, "Not checked"))
	}
	for _, what := range d.NotChecked {
		line("  - %s", printable(what))
	}
	if len(d.InOrder) > 0 {
		line("\n%s", paint(ansiBold, "In order"))
	}
	for _, c := range d.InOrder {
		about := ""
		if len(c.Requirements) > 0 {
			about = paint(ansiFaint, " ("+strings.Join(c.Requirements, ", ")+")")
		}
		line("  %s %s%s", paint(ansiGreen, "✓"), c.Statement, about)
	}
	return out.Flush()
}

// printable is a text in one line, without what a terminal would take for a command.
func printable(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)), " ")
}
