package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/admission"
	"github.com/wi-e2e/wi-e2e/suites/runner"
	"github.com/wi-e2e/wi-e2e/suites/selftest"
)

// matrixFile is the kill matrix, in the folder of the reports.
const matrixFile = "kill-matrix.json"

// selftestCleanUp bounds the removal of the cluster.
const selftestCleanUp = time.Minute

func selftestCommand() *cobra.Command {
	var tier, output string
	var ids []string
	var everyTest bool
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Run the suites against deliberate faults and print which test notices which",
		Long: `Run the suites against deliberate faults and print which test notices which.

Each mutant is the reference webhook with one fault. A test of the rule that it breaks has to fail because of it; the
conformant reference has to pass all tests, and each test has to notice a mutant. The mutants are registered side by
side on a local cluster that is made for them and removed.

On each mutant the tests of its rule are run, and all others if none of them notices it. Exit code 1: a mutant
survived or was noticed by tests of other rules only, a test noticed none, or the reference failed one.`,
		Example: `  wi-e2e selftest
  wi-e2e selftest --mutant expiration-clamped,fails-open
  wi-e2e selftest --every-test        # the whole matrix: all tests on every mutant`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tier != string(suites.Admission) {
				return fmt.Errorf("there are no mutants for the tier %q, only for admission (%w)", tier, errUsage)
			}
			options := selftest.Options{Tests: admission.Tests(), EveryTest: everyTest}
			var err error
			if options.Mutants, err = chosenMutants(ids); err != nil {
				return err
			}
			if options.Catalogue, err = suites.Catalogue(); err != nil {
				return err
			}
			matrix, err := runSelftest(cmd.Context(), options)
			if err != nil {
				return err
			}
			return reportMatrix(matrix, output)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&tier, "tier", string(suites.Admission), "tier to prove")
	flags.StringSliceVar(&ids, "mutant", nil, "only the mutants of these `ID`s (repeatable)")
	flags.BoolVar(&everyTest, "every-test", false, "run all tests on every mutant, which takes minutes")
	flags.StringVar(&output, "output", defaultOutput, "`DIR` for "+matrixFile)
	return cmd
}

// chosenMutants are the mutants of these IDs, in the order of the registry; all of them if none is named.
func chosenMutants(ids []string) ([]mutants.Mutant, error) {
	all := mutants.All()
	if len(ids) == 0 {
		return all, nil
	}
	for _, id := range ids {
		if _, err := mutants.Find(id); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(m mutants.Mutant) bool { return !slices.Contains(ids, m.ID) }), nil
}

// runSelftest runs it on a cluster of its own.
func runSelftest(ctx context.Context, options selftest.Options) (matrix *selftest.Matrix, err error) {
	provider, err := local.New()
	if err != nil {
		return nil, err
	}
	if err := provider.Available(ctx); err != nil {
		return nil, err
	}
	log.SetLogger(logr.Discard()) // each refusal would be a line
	console := newConsole()
	defer console.Close()
	options.Progress = console.PhaseNote

	id, err := runner.NewID()
	if err != nil {
		return nil, err
	}
	name := "selftest-" + id
	var c cluster.Cluster
	err = shown(console, "cluster", func() (err error) {
		c, err = provider.Create(ctx, cluster.Spec{Name: name, Progress: console.PhaseNote})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, shown(console, "clean-up", func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), selftestCleanUp)
			defer cancel()
			return provider.Delete(ctx, name)
		}))
	}()
	err = shown(console, fmt.Sprintf("selftest: %d mutants", len(options.Mutants)), func() error {
		lab, err := selftest.NewLab(ctx, c)
		if err != nil {
			return err
		}
		matrix, err = selftest.Run(ctx, lab, options)
		return errors.Join(err, lab.Close())
	})
	return matrix, err
}

func reportMatrix(matrix *selftest.Matrix, output string) error {
	if err := os.MkdirAll(output, 0o755); err != nil {
		return fmt.Errorf("make the folder of the kill matrix: %w", err)
	}
	path := filepath.Join(output, matrixFile)
	var text strings.Builder
	if err := errors.Join(matrix.Save(path), matrix.Print(&text)); err != nil {
		return err
	}
	if _, err := fmt.Printf("%s%s\n", text.String(), path); err != nil {
		return err
	}
	if code := matrix.ExitCode(); code != reports.ExitPass {
		return exitError(code)
	}
	return nil
}
