package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
	"github.com/wi-e2e/wi-e2e/suites/selftest"
	"github.com/wi-e2e/wi-e2e/suites/soak"
)

// matrixFile is the kill matrix, in the folder of the reports.
const matrixFile = "kill-matrix.json"

// parallelInstallations are few: each has a cluster of its own, and its streams of pods take half a processor.
const parallelInstallations = 2

// selftestCleanUp bounds the removal of the clusters.
const selftestCleanUp = time.Minute

func selftestCommand() *cobra.Command {
	var tiers, ids []string
	var output string
	var everyTest bool
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Run the suites against deliberate faults and print which test notices which",
		Long: `Run the suites against deliberate faults and print which test notices which.

Each mutant is the reference installation, or the emulated Azure, with one fault. A test of the rule that it breaks has
to fail because of it; the conformant reference has to pass all tests, and each test has to notice a mutant. For the
tier admission, the mutants are registered side by side on a local cluster that is made for them and removed. Tests that
disturb an installation run on whole ones, on two such clusters. The other tests are run in simulated worlds, which
need no cluster. What shows only in what lasts is left out, unless it is named: --tier soak takes a quarter of an hour.

On each mutant the tests of its rule are run, and all others if none of them notices it. Exit code 1: a mutant
survived or was noticed for another reason only, a test noticed none, or the reference failed one.`,
		Example: `  wi-e2e selftest
  wi-e2e selftest --tier proxy,issuer
  wi-e2e selftest --mutant expiration-clamped,fails-open
  wi-e2e selftest --tier soak         # leaks, and tokens that are never renewed
  wi-e2e selftest --every-test        # the whole matrix: all tests on every mutant`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := selftestOptions(tiers, ids)
			if err != nil {
				return err
			}
			options.EveryTest = everyTest
			matrix, err := runSelftest(cmd.Context(), options)
			if err != nil {
				return err
			}
			return reportMatrix(matrix, output)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&tiers, "tier", nil, "only the rules that these tiers decide (repeatable)")
	flags.StringSliceVar(&ids, "mutant", nil, "only the mutants of these `ID`s (repeatable)")
	flags.BoolVar(&everyTest, "every-test", false, "run all tests on every mutant, which takes minutes")
	flags.StringVar(&output, "output", defaultOutput, "`DIR` for "+matrixFile)
	return cmd
}

// selftestOptions are the tests of the tiers' rules, whichever tier decides them too, and the mutants of these IDs that break such a rule;
// all of them if none is named.
func selftestOptions(tiers, ids []string) (selftest.Options, error) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return selftest.Options{}, err
	}
	ofTiers, err := suites.Select(suites.Selection{Tiers: tiers}, catalogue, runner.Tests())
	if err != nil {
		return selftest.Options{}, &runner.UsageError{Err: err}
	}
	decided := func(requirement string) bool { return len(suites.TestsOf(requirement, ofTiers)) > 0 }
	soaks := slices.Contains(tiers, string(suites.Soak))
	if soaks && len(tiers) > 1 {
		return selftest.Options{}, fmt.Errorf("the tier %s is tested by itself: leave the others out (%w)", suites.Soak, errUsage)
	}
	tests := slices.DeleteFunc(runner.Tests(), func(t suites.Test) bool {
		return (t.Tier == suites.Soak) != soaks || !slices.ContainsFunc(t.Requirements, decided)
	})
	chosen, err := chosenMutants(ids)
	if err != nil {
		return selftest.Options{}, err
	}
	chosen = slices.DeleteFunc(chosen, func(m mutants.Mutant) bool { return m.Soak != soaks || !decided(m.Requirement) })
	if soaks { // that programs and keys get on is also tested by tiers that are quicker, with faults of its own
		tests = slices.DeleteFunc(tests, func(t suites.Test) bool {
			return !slices.ContainsFunc(chosen, func(m mutants.Mutant) bool { return slices.Contains(t.Requirements, m.Requirement) })
		})
	}
	if len(chosen) == 0 {
		return selftest.Options{}, fmt.Errorf("no test of the tiers %s is of a rule that these mutants break (%w)", strings.Join(tiers, ", "), errUsage)
	}
	return selftest.Options{Tests: tests, Catalogue: catalogue, Mutants: chosen, Complete: len(ids) == 0}, nil
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

// runSelftest runs it, with the clusters that are needed.
func runSelftest(ctx context.Context, options selftest.Options) (matrix *selftest.Matrix, err error) {
	log.SetLogger(logr.Discard()) // each refusal would be a line
	console := newConsole()
	defer console.Close()
	options.Progress = console.PhaseNote
	clusters := 0
	if options.NeedsLab() {
		clusters++
	}
	if options.NeedsInstallations() {
		clusters += parallelInstallations
	}
	made, remove, err := makeClusters(ctx, console, clusters)
	defer func() { err = errors.Join(err, remove()) }()
	if err != nil {
		return nil, err
	}
	var lab *selftest.Lab
	if options.NeedsLab() {
		if lab, err = selftest.NewLab(ctx, made[0]); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, lab.Close()) }()
		made = made[1:]
	}
	var names []string
	for _, c := range made {
		names = append(names, c.Name())
	}
	options.Installations = selftest.NewInstallations(names, runInstalled)
	err = shown(console, fmt.Sprintf("selftest: %d mutants", len(options.Mutants)), func() error {
		matrix, err = selftest.Run(ctx, lab, options)
		return err
	})
	return matrix, err
}

// runInstalled is a run of one test on a mutant, whose reports nobody wants.
func runInstalled(ctx context.Context, cluster string, m mutants.Mutant, test suites.Test) (record *reports.Record, err error) {
	output, err := os.MkdirTemp("", "wi-e2e-selftest-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(output)) }()
	config := runner.Config{Output: output, Seed: 1, Cluster: runner.ClusterConfig{Name: cluster}, Select: suites.Selection{Tests: []string{test.ID}}}
	if test.Tier == suites.Soak {
		config.Soak.Duration.Duration = soakedFor(test)
	}
	options := runner.Options{
		Version: version(), Observer: reports.NewConsole(io.Discard, reports.ConsoleOptions{}), Rerun: func(string) string { return "" },
	}
	if m.ID != "" {
		options.Change = m.Change
	}
	return runner.Run(ctx, config, options)
}

// soakedFor is long enough for a mutant's fault to show.
func soakedFor(test suites.Test) time.Duration {
	if slices.Contains(test.Needs, suites.RenewalTime) {
		return soak.RenewalTakes
	}
	return 3 * time.Minute
}

// makeClusters makes local ones, side by side. remove removes them, also when there is an error.
func makeClusters(ctx context.Context, console *reports.Console, n int) (made []cluster.Cluster, remove func() error, err error) {
	nothing := func() error { return nil }
	if n == 0 {
		return nil, nothing, nil
	}
	provider, err := local.New()
	if err != nil {
		return nil, nothing, err
	}
	if err := provider.Available(ctx); err != nil {
		return nil, nothing, err
	}
	id, err := runner.NewID()
	if err != nil {
		return nil, nothing, err
	}
	made = make([]cluster.Cluster, n)
	err = shown(console, fmt.Sprintf("clusters: %d", n), func() error {
		group, ctx := errgroup.WithContext(ctx)
		for i := range n {
			group.Go(func() (err error) {
				made[i], err = provider.Create(ctx, cluster.Spec{Name: fmt.Sprintf("selftest-%s-%d", id, i), Progress: console.PhaseNote})
				return err
			})
		}
		return group.Wait()
	})
	return made, func() error {
		return shown(console, "clean-up", func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), selftestCleanUp)
			defer cancel()
			var errs []error
			for _, c := range made {
				if c != nil { // Create has removed what it did not finish
					errs = append(errs, provider.Delete(ctx, c.Name()))
				}
			}
			return errors.Join(errs...)
		})
	}, err
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
