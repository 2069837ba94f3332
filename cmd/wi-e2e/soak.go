package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func soakCommand() *cobra.Command {
	var flags configFlags
	var duration time.Duration
	var resume bool
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Have workloads exchange and read for hours, and look for failures and leaks",
		Long: `Have workloads exchange and read for hours, and look for failures and leaks.

Programs of every language exchange their token and read a secret every second, through renewals of the
token, restarts of the webhook and, where the control plane is ours, rotations of the signing key. A read
that fails, a container that is started again, a labelled pod that is refused, and memory or open files
that grow are failures, with their time. Tokens are renewed after 8 minutes at the earliest: a soak of
less than 12 minutes leaves that out, and says so. Leaks are looked for in the processes of pods on this
machine, as those of local and kind clusters are.

What was found so far is in soak.json in the output directory. A soak that was interrupted goes on from
there (--resume), if its cluster is still there: name one (--cluster), or keep that of the soak (--keep).
Otherwise it takes the flags of 'wi-e2e run', and makes the same reports.`,
		Example: `  wi-e2e soak --duration 8h
  wi-e2e cluster create dev && wi-e2e soak --cluster dev --duration 30m --output soak
  wi-e2e soak --output soak --resume`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if duration == 0 && !resume {
				return fmt.Errorf("a soak needs a duration: --duration 8h (%w)", errUsage)
			}
			config, err := flags.config(cmd)
			if err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			record, err := runner.Run(cmd.Context(), config, runner.Options{
				Version: version(), Command: commandLine(os.Args), Observer: console, Rerun: rerun(os.Args),
			})
			if err != nil {
				return err
			}
			console.Close()
			return conclude(record, config)
		},
	}
	flags.register(cmd)
	cmd.Flags().DurationVar(&duration, "duration", 0, "how long the soak lasts, such as 90m or 8h")
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with the interrupted soak whose checkpoint is in --output")
	flags.apply["duration"] = func(c *runner.Config) { c.Soak.Duration.Duration = duration }
	flags.apply["resume"] = func(c *runner.Config) { c.Soak.Resume = resume }
	return cmd
}
