package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

//go:generate sh -c "go run -trimpath . list requirements --output markdown > ../../docs/requirements.md"

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tests or the requirements",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "tests", Short: "List the tests", Example: "  wi-e2e list tests", Args: noArguments,
			RunE: func(*cobra.Command, []string) error { return listTests() },
		},
		listRequirementsCommand(),
	)
	return cmd
}

func listTests() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIER\tTEST\tREQUIREMENTS\tTITLE")
	for _, t := range runner.Tests() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Tier, t.ID, strings.Join(t.Requirements, ","), t.Title)
	}
	return w.Flush()
}

// Outputs of list requirements.
const (
	textOutput     = "text"
	markdownOutput = "markdown"
)

func listRequirementsCommand() *cobra.Command {
	var output string
	var tiers []string
	var coverage bool
	cmd := &cobra.Command{
		Use:   "requirements",
		Short: "List the requirements, the tests that decide them and the mutants that prove the tests",
		Long: `List the requirements and the tests that decide them.

With --coverage, also the mutants that prove the tests, both ways: requirement, tests, mutants, and mutant,
requirement, tests. A MUST that a tier decides without a test or without a mutant is a gap: the gaps are named, and the
exit code is 1. Rules that no tier decides yet are listed with the issue that brings their tests.`,
		Example: `  wi-e2e list requirements
  wi-e2e list requirements --coverage --tier admission
  wi-e2e list requirements --output markdown > docs/requirements.md`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			catalogue, err := suites.Catalogue()
			if err != nil {
				return err
			}
			tests := runner.Tests()
			if len(tiers) > 0 {
				if tests, err = suites.Select(suites.Selection{Tiers: tiers}, catalogue, tests); err != nil {
					return &runner.UsageError{Err: err}
				}
				catalogue = slices.DeleteFunc(catalogue, func(r suites.Requirement) bool { return len(suites.TestsOf(r.ID, tests)) == 0 })
			}
			switch {
			case output != textOutput && output != markdownOutput:
				return fmt.Errorf("unknown output %q (there are: %s, %s) (%w)", output, textOutput, markdownOutput, errUsage)
			case coverage && output == markdownOutput:
				return fmt.Errorf("coverage is printed as %s (%w)", textOutput, errUsage)
			case coverage:
				return printCoverage(os.Stdout, catalogue, tests, registeredMutants(catalogue, len(tiers) > 0))
			case output == markdownOutput:
				return writeRequirements(os.Stdout, catalogue, tests)
			}
			return printRequirements(os.Stdout, catalogue, tests)
		},
	}
	cmd.Flags().StringVar(&output, "output", textOutput, "`FORMAT`: "+textOutput+", "+markdownOutput)
	cmd.Flags().StringSliceVar(&tiers, "tier", nil, "only requirements that these tiers decide (repeatable)")
	cmd.Flags().BoolVar(&coverage, "coverage", false, "list the mutants too, and exit with 1 if something is missing")
	return cmd
}

func printRequirements(out io.Writer, catalogue []suites.Requirement, tests []suites.Test) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tLEVEL\tSINCE\tTESTS\tSTATEMENT")
	for _, r := range catalogue {
		decided := testIDs(suites.TestsOf(r.ID, tests))
		switch {
		case r.PendingPart != "":
			decided += " (" + r.PendingPart + ": issue " + r.Pending + ")"
		case r.Pending != "":
			decided = "none yet (issue " + r.Pending + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, r.Level, cmp.Or(r.Since, "all"), decided, r.Statement)
	}
	return w.Flush()
}

// registeredMutants are those that selftest knows; only those of the catalogue where that is a part.
func registeredMutants(catalogue []suites.Requirement, part bool) []suites.Mutant {
	var all []suites.Mutant
	for _, m := range mutants.All() {
		if !part || slices.ContainsFunc(catalogue, func(r suites.Requirement) bool { return r.ID == m.Requirement }) {
			all = append(all, suites.Mutant{ID: m.ID, Requirement: m.Requirement})
		}
	}
	return all
}

// printCoverage prints requirements, tests and mutants both ways. Gaps are an exitError.
func printCoverage(out io.Writer, catalogue []suites.Requirement, tests []suites.Test, mutants []suites.Mutant) error {
	covered, gaps := suites.Coverage(catalogue, tests, mutants)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REQUIREMENT\tLEVEL\tTESTS\tMUTANTS")
	for _, c := range covered {
		if c.Pending == "" || c.PendingPart != "" {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.ID, c.Level, cmp.Or(testIDs(c.Tests), "none"), cmp.Or(strings.Join(c.Mutants, ","), "none"))
		}
	}
	fmt.Fprintln(w, "\nMUTANT\tREQUIREMENT\tTESTS")
	for _, m := range mutants {
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.ID, m.Requirement, cmp.Or(testIDs(suites.TestsOf(m.Requirement, tests)), "none"))
	}
	pending := 0
	for _, c := range covered {
		if c.Pending == "" {
			continue
		}
		if pending++; pending == 1 {
			fmt.Fprintln(w, "\nPENDING\tISSUE\tPART")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.ID, c.Pending, cmp.Or(c.PendingPart, "all of it"))
	}
	fmt.Fprintf(w, "\n%d requirements, %d tests, %d mutants, %d gaps\n", len(covered), len(tests), len(mutants), len(gaps))
	for _, g := range gaps {
		fmt.Fprintln(w, "gap: "+g)
	}
	err := w.Flush()
	if len(gaps) > 0 {
		err = errors.Join(err, exitError(reports.ExitFailed))
	}
	return err
}

func testIDs(tests []suites.Test) string {
	var ids []string
	for _, t := range tests {
		ids = append(ids, t.ID)
	}
	return strings.Join(ids, ",")
}
