package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func planCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print which tests a run would execute, which it would skip and why",
		Long: `Print which tests a run would execute, in which order, which it would skip and why.

Nothing is made and no cluster is asked: what cluster and subject can do is what the configuration lets expect. The
plan that a run really had is in its record.`,
		Example: `  wi-e2e plan
  wi-e2e plan --tier admission --seed 42
  wi-e2e plan --provider existing --profile 1.5`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := flags.config(cmd)
			if err != nil {
				return err
			}
			plan, err := runner.Plan(config)
			if err != nil && !errors.Is(err, suites.ErrEmptyPlan) {
				return err
			}
			if err := printPlan(plan); err != nil {
				return err
			}
			return err
		},
	}
	flags.register(cmd)
	return cmd
}

func printPlan(plan *suites.Plan) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIER\tTEST\tREQUIREMENTS\tDECISION")
	run := 0
	for _, p := range plan.Tests {
		decision := "run"
		if p.Test.Serial {
			decision = "run alone"
		}
		if p.Skip != nil {
			decision = "skip (" + p.Skip.Reason + "): " + p.Skip.Text
		} else {
			run++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Test.Tier, p.Test.ID, strings.Join(p.Test.Requirements, ","), decision)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Printf("\n%d tests: %d to run, %d to skip; seed %d\n", len(plan.Tests), run, len(plan.Tests)-run, plan.Seed)
	return err
}
