// Command wi-e2e proves that Azure Workload Identity works on a Kubernetes cluster.
//
// Each verb is a file: it parses, calls and prints. Results go to stdout, progress to stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/redirect"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func main() {
	// The init process of a local cluster's node is this binary too; it must be itself before anything else happens.
	if len(os.Args) > 1 && os.Args[1] == local.NodeVerb {
		os.Exit(local.NodeMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:]))
}

// exitError carries an exit code that has been explained already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		// The first signal ends the run in good order, the second one at once.
		<-ctx.Done()
		stop()
	}()
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitError
	var usage *runner.UsageError
	var mutant *mutants.UsageError
	switch {
	case err == nil:
		return reports.ExitPass
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage), errors.As(err, &mutant), errors.Is(err, errUsage):
		complain(os.Stderr, err)
		return reports.ExitUsage
	case ctx.Err() != nil:
		complain(os.Stderr, fmt.Errorf("interrupted: %w", err))
		return reports.ExitInterrupted
	default:
		complain(os.Stderr, err)
		return reports.ExitEnvironment
	}
}

// complain prints an error, without secrets: what a server or the user said may be in it.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "wi-e2e: %s\n", redact.FromEnvironment().String(err.Error()))
}

// errUsage marks mistakes in flags and arguments that cobra found.
var errUsage = errors.New("see --help")

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "wi-e2e",
		Short: "Conformance and end-to-end tests for Azure Workload Identity on Kubernetes",
		Long: `wi-e2e proves that Azure Workload Identity works on a Kubernetes cluster.

It brings up a cluster or takes yours, installs the mutating webhook under test or takes the installed
one, checks every rule of the specification, and writes reports that a release can be gated on.

Exit codes: 0 pass, 1 the subject failed, 2 usage or configuration, 3 environment or set-up,
4 the gate refused, 5 the clean-up left something behind, 130 interrupted.`,
		Example: `  wi-e2e run                                # everything, on a cluster made for it
  wi-e2e run --kubeconfig ~/.kube/config    # the webhook that is installed on your cluster
  wi-e2e list requirements                  # what is checked`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w (%w)", err, errUsage) })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), soakCommand(), shardCommand(), planCommand(), listCommand(), clusterCommand(), azureCommand(), diagnoseCommand(), doctorCommand(), imagesCommand(), selftestCommand(), matrixCommand(), reportCommand(), gateCommand(), gcCommand(), versionCommand(),
		ask.Command(), reference.Command(mutants.WebhookFault), issuer.Command(mutants.IssuerFault), proxy.Command(mutants.ProxyFault), redirect.Command(mutants.InitFault), emulator.Command(), imds.Command(), probe.Command())
	return root
}

// noArguments refuses arguments with exit code 2.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument %q (%w)", cmd.CommandPath(), args[0], errUsage)
	}
	return nil
}

// oneArgument wants exactly one argument, called name.
func oneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes one argument, %s (%w)", cmd.CommandPath(), name, errUsage)
		}
		return nil
	}
}
