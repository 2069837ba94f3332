package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/compare"
	"github.com/wi-e2e/wi-e2e/reports/merge"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell what changed from one record to another",
		Long: `Tell what changed from one record to another: regressions, what is fixed, newly skipped or not covered any more, and
phases and tests that are slower by more than noise.

Exit codes: 0 nothing is worse, 1 there is a regression or a loss of coverage. Being slower is told, and is no reason: machines differ.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%s takes two arguments, OLD and NEW (%w)", cmd.CommandPath(), errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			before, _, err := oneRecord(args[0])
			if err != nil {
				return err
			}
			after, _, err := oneRecord(args[1])
			if err != nil {
				return err
			}
			comparison := compare.Compare(before, after)
			if err := comparison.Write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if comparison.Worse() {
				return exitError(reports.ExitFailed)
			}
			return nil
		},
	}
}

func historyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "history DIR",
		Short: "Tell how steady tests are over the runs whose records are below a folder",
		Long: `Tell how steady tests are over the runs whose records (` + runner.RecordFile + `, in whichever folder below DIR) are there.

The flake rate of a test is the share of runs in which it was a flake, or did not pass although it passed in another run of the
same subject, on the same kind of cluster, by the same wi-e2e.`,
		Args: oneArgument("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := recordsBelow(args[0])
			if err != nil {
				return err
			}
			records, err := loadRecords(paths)
			if err != nil {
				return err
			}
			return compare.HistoryOf(records).Write(cmd.OutOrStdout())
		},
	}
}

// recordsBelow finds the records of runs in a folder, in the order of their paths.
func recordsBelow(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() == runner.RecordFile {
			paths = append(paths, path)
		}
		return err
	})
	if err == nil && len(paths) == 0 {
		err = errors.New("there is no " + runner.RecordFile + " in " + dir)
	}
	if err != nil {
		return nil, fmt.Errorf("look for records: %w (%w)", err, errUsage)
	}
	return paths, nil
}

func mergeCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge --output FILE RECORD...",
		Short: "Put the shards of a run together, or the runs of a matrix into one file",
		Long: `Put the shards of a run together, or the runs of a matrix into one file.

Shards become the record that one run of the whole plan would have saved. They are refused unless they are of one plan and one
subject, complete and disjoint. Other records are kept as they are, in a list.`,
		Args: someRecords,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return fmt.Errorf("where is it to be written? --output FILE (%w)", errUsage)
			}
			records, err := loadRecords(args)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(records, func(r *reports.Record) bool { return r.Run.Shard != nil }) {
				return (&reports.List{Items: records}).Save(output)
			}
			merged, err := merge.Shards(records)
			if err != nil {
				return fmt.Errorf("merge the shards: %w (%w)", err, errUsage)
			}
			if err := merged.Save(output); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d shards have each of the %d tests of the plan once\n", len(records), len(merged.Tests))
			return err
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "`FILE` to write to")
	return cmd
}
