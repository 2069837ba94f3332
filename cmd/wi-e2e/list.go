package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

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
		&cobra.Command{
			Use: "requirements", Short: "List the requirements and the tests that decide them", Example: "  wi-e2e list requirements", Args: noArguments,
			RunE: func(*cobra.Command, []string) error { return listRequirements() },
		},
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

func listRequirements() error {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return err
	}
	tests := runner.Tests()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tLEVEL\tSINCE\tTESTS\tSTATEMENT")
	for _, r := range catalogue {
		var ids []string
		for _, t := range tests {
			if slices.Contains(t.Requirements, r.ID) {
				ids = append(ids, t.ID)
			}
		}
		decided := strings.Join(ids, ",")
		switch {
		case r.PendingPart != "":
			decided += " (" + r.PendingPart + ": issue " + r.Pending + ")"
		case r.Pending != "":
			decided = "none yet (issue " + r.Pending + ")"
		}
		since := r.Since
		if since == "" {
			since = "all"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, r.Level, since, decided, r.Statement)
	}
	return w.Flush()
}
