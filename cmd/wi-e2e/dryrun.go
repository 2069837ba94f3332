package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// printDryRun prints what a run would make in Azure.
func printDryRun(config runner.Config) error {
	resources, cost, err := runner.Resources(config)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tDETAILS")
	for _, r := range resources {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Kind, r.Name, r.Details)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the resources: %w", err)
	}
	fmt.Println(cost)
	return nil
}
