package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func runCommand() *cobra.Command {
	var flags configFlags
	var dryRun bool
	var resume, doneFile string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the suites and write the reports",
		Long: `Run the suites and write the reports.

Without flags: a local cluster is made, the reference webhook installed, every tier run, and the
cluster removed. Flags win over environment variables (--tier is WI_E2E_TIER), these over the
configuration file, and that over the defaults.`,
		Example: `  wi-e2e run
  wi-e2e run --tier admission --test 'select-exact-label,skip-names'
  wi-e2e run --requirement EXP-03 --seed 42
  wi-e2e run --repeat 20 --waivers waivers.yaml
  wi-e2e run --kubeconfig ~/.kube/config --context staging
  wi-e2e run --subject manifest --manifest azure-wi-webhook.yaml --image-archive webhook.tar
  wi-e2e run --subject helm --chart ./workload-identity-webhook --set replicaCount=1 --image-archive webhook.tar
  wi-e2e cluster create dev && wi-e2e run --cluster dev
  wi-e2e run --in-cluster --shards 3
  wi-e2e run --resume 3f2a91c0
  wi-e2e run --provider aks --azure real --region westeurope --region northeurope --image-repository registry.example/wi-e2e --dry-run`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var config runner.Config
			var record *reports.Record
			if doneFile != "" {
				defer func() {
					err = errors.Join(err, tellDone(doneFile, cmp.Or(config.Output, flags.given.Output, defaultOutput), record != nil, err))
				}()
			}
			config, err = flags.config(cmd)
			if err != nil {
				return err
			}
			if dryRun {
				return printDryRun(config)
			}
			console := newConsole()
			defer console.Close()
			options := runner.Options{Version: version(), Command: commandLine(os.Args), Observer: console, Rerun: rerun(os.Args)}
			if resume != "" {
				if err := only(cmd, "resume", "done-file"); err != nil {
					return err
				}
				record, config, err = runner.Resume(cmd.Context(), resume, options)
			} else {
				record, err = runner.Run(cmd.Context(), config, options)
			}
			if err != nil {
				return err
			}
			console.Close()
			return conclude(record, config)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be made in Azure, and make nothing, for --provider aks")
	cmd.Flags().StringVar(&resume, "resume", "", "go on with the run `ID`, of --in-cluster, whose process was killed; its configuration is that of the run")
	cmd.Flags().StringVar(&doneFile, "done-file", "", "`FILE` that tells, last of all, the path of the JUnit report, as plugins of Sonobuoy do")
	return cmd
}

// only refuses other flags than those.
func only(cmd *cobra.Command, names ...string) (err error) {
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if !slices.Contains(names, flag.Name) {
			err = fmt.Errorf("--%s does not go with --%s: the run has its configuration (%w)", flag.Name, names[0], errUsage)
		}
	})
	return err
}

// conclude prints how a run went, and is its exit code.
func conclude(record *reports.Record, config runner.Config) error {
	if err := printSummary(record, config); err != nil {
		return err
	}
	if err := stepSummary(record); err != nil {
		return err
	}
	if record.Verdict.ExitCode != reports.ExitPass {
		return exitError(record.Verdict.ExitCode)
	}
	return nil
}

// newConsole shows progress on stderr, live where that is a terminal.
func newConsole() *reports.Console {
	// client-go logs to stderr too, in the middle of live lines. What matters of it comes back as errors.
	klog.SetLogger(logr.Discard())
	return reports.NewConsole(os.Stderr, reports.ConsoleOptions{
		Terminal: isTerminal(os.Stderr) && os.Getenv("TERM") != "dumb",
		Color:    inColor(os.Stderr),
		Secrets:  redact.FromEnvironment(),
	})
}

// inColor says whether what is printed there is coloured.
func inColor(f *os.File) bool { return isTerminal(f) && os.Getenv("NO_COLOR") == "" }

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func printSummary(record *reports.Record, config runner.Config) error {
	var files []string
	for _, name := range []string{runner.RecordFile, runner.HTMLFile, runner.JUnitFile, runner.LogsDir, runner.BundleDir} {
		path := filepath.Join(config.Output, name)
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		}
	}
	err := reports.WriteSummary(os.Stdout, record, reports.SummaryOptions{
		Color: inColor(os.Stdout), Files: files,
	})
	if err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	return nil
}

// stepSummary shows the run on the page of a GitHub Actions job. Several steps of it may write to the same file.
func stepSummary(record *reports.Record) error {
	path := os.Getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write the step summary: %w", err)
	}
	_, err = f.Write(reports.Markdown(record))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the step summary %s: %w", path, err)
	}
	return nil
}

// commandLine is how the user called the program, without its folder.
func commandLine(args []string) []string {
	line := slices.Clone(args)
	line[0] = filepath.Base(line[0])
	return line
}

// rerun makes the command that repeats one test: the same command with another selection.
func rerun(args []string) func(string) string {
	// Neither is one test divided among shards.
	selecting := []string{"--tier", "--test", "--requirement", "--language", "--shard", "--shards", "--durations", "--seed"}
	var kept []string
	line := commandLine(args)
	for i := 0; i < len(line); i++ {
		name, _, joined := strings.Cut(line[i], "=")
		if name == "--in-cluster" {
			continue
		}
		if !slices.Contains(selecting, name) {
			kept = append(kept, quote(line[i]))
		} else if !joined {
			i++ // the value is an argument of its own
		}
	}
	return func(test string) string { return strings.Join(append(slices.Clone(kept), "--test", test), " ") }
}

// quote makes a shell take a word as one.
func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
