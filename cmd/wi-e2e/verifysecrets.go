package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/reports/redact/search"
)

// verifySecrets looks for secrets in what is about to be published.
func verifySecrets(cmd *cobra.Command, paths []string) error {
	console := newConsole()
	defer console.Close()
	var result search.Result
	err := shown(console, "looking for secrets", func() error {
		result = search.Search{Secrets: redact.FromEnvironment(), Progress: console.PhaseNote}.Paths(cmd.Context(), paths...)
		return errors.Join(result.Problems...)
	})
	console.Close()
	for _, f := range result.Found {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), f); err != nil {
			return fmt.Errorf("print what was found: %w", err)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("not everything could be looked at, so that it must not be published:\n%w", err)
	case len(result.Found) > 0:
		complain(cmd.ErrOrStderr(), fmt.Errorf("%d secrets were found: do not publish this, and have those that are still valid withdrawn", len(result.Found)))
		return exitError(reports.ExitFailed)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "no secret in %d files\n", result.Files)
	return err
}
