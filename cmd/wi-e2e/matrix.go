package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites/matrix"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// matrixFormats are what a matrix can be printed as.
var matrixFormats = map[string]func(io.Writer, []matrix.Job) error{
	"azure-pipelines": matrix.AzurePipelines,
	"github":          matrix.GitHub,
	"table":           matrix.Table,
}

func matrixCommand() *cobra.Command {
	var format string
	names := strings.Join(slices.Sorted(maps.Keys(matrixFormats)), ", ")
	cmd := &cobra.Command{
		Use:   "matrix FILE",
		Short: "Print the jobs of a pipeline from a file of axes",
		Long: `Print the jobs of a pipeline from a file of axes: providers, Kubernetes versions, subjects, languages, systems, Azure.

Each job has a name and the arguments of 'wi-e2e run', which are checked as run would check them. With shards, the jobs of a
combination share a group, whose records 'wi-e2e report merge' puts together.

github           the matrix of a job, on one line: {"include": [{"name": ..., "args": ...}]}
azure-pipelines  the matrix of a job, on one line: {"name": {"args": ...}}
table            for people: what each job takes and costs`,
		Example: `  wi-e2e matrix matrix.yaml
  echo "matrix=$(wi-e2e matrix --format github matrix.yaml)" >> "$GITHUB_OUTPUT"
  echo "##vso[task.setvariable variable=matrix;isOutput=true]$(wi-e2e matrix --format azure-pipelines matrix.yaml)"`,
		Args: oneArgument("the FILE of axes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := matrixFormats[format]
			if !ok {
				return fmt.Errorf("unknown format %q: there are %s (%w)", format, names, errUsage)
			}
			jobs, err := loadMatrix(args[0])
			if err != nil {
				return fmt.Errorf("read the matrix %s: %w (%w)", args[0], err, errUsage)
			}
			if err := write(cmd.OutOrStdout(), jobs); err != nil {
				return fmt.Errorf("print the matrix %s: %w (%w)", args[0], err, errUsage)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "`FORMAT`: "+names)
	return cmd
}

// loadMatrix reads the jobs of a file, each of which run has to take.
func loadMatrix(path string) ([]matrix.Job, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := matrix.Parse(data)
	if err != nil {
		return nil, err
	}
	jobs, err := m.Jobs()
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if err := checkRun(strings.Fields(j.Args)); err != nil {
			return nil, fmt.Errorf("job %s (wi-e2e run %s): %w", j.Name, j.Args, err)
		}
	}
	return jobs, nil
}

// checkRun finds the mistakes in arguments of run that it would find before it begins.
func checkRun(args []string) error {
	var flags configFlags
	cmd := &cobra.Command{}
	flags.register(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	config, err := flags.config(cmd)
	if err != nil {
		return err
	}
	return runner.CheckSelection(config)
}
