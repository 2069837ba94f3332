package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/html"
)

func reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Make reports from the records of runs, compare, merge and sign them",
		Long: `Make reports from the records of runs, compare, merge and sign them.

A record (record.json) is all that is read: no cluster, no network. A RECORD is a file of one, or of several that
'wi-e2e report merge' put together.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(renderCommand(), showCommand(), diffCommand(), historyCommand(), mergeCommand(), attestCommand(), verifyCommand())
	return cmd
}

// formats are what one record can be rendered as.
var formats = map[string]func(*reports.Record) ([]byte, error){
	"badge":       func(r *reports.Record) ([]byte, error) { return reports.Badge(r), nil },
	"conformance": reports.Conformance,
	"ctrf":        reports.CTRF,
	"html":        nil, // of one or more records
	"junit":       reports.JUnit,
	"markdown":    func(r *reports.Record) ([]byte, error) { return reports.Markdown(r), nil },
}

func renderCommand() *cobra.Command {
	var format, output string
	names := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
	cmd := &cobra.Command{
		Use:   "render RECORD...",
		Short: "Render records in a format",
		Long: `Render a record in a format; html takes several.

markdown   a pull request comment or step summary: at most 65 536 characters, the verdict first
html       one self-contained page
junit      JUnit XML, as Jenkins' schema has it
ctrf       Common Test Report Format (JSON)
conformance  an API object (YAML) with a profile per tier, in the manner of the Gateway API's
badge      an SVG for a README`,
		Example: `  wi-e2e report render --format markdown wi-e2e-results/record.json > comment.md
  wi-e2e report render --format html --output report.html linux.json windows.json`,
		Args: someRecords,
		RunE: func(cmd *cobra.Command, args []string) error {
			render, ok := formats[format]
			if !ok {
				return fmt.Errorf("unknown format %q: there are %s (%w)", format, names, errUsage)
			}
			records, err := loadRecords(args)
			if err != nil {
				return err
			}
			var data []byte
			switch {
			case render == nil:
				var page bytes.Buffer
				err = html.Render(&page, records...)
				data = page.Bytes()
			case len(records) != 1:
				return fmt.Errorf("format %s is of one record, and there are %d (%w)", format, len(records), errUsage)
			default:
				data, err = render(records[0])
			}
			if err != nil {
				return err
			}
			return writeOutput(cmd.OutOrStdout(), output, data)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "`FORMAT`: "+names)
	cmd.Flags().StringVar(&output, "output", "", "`FILE` to write to (default: stdout)")
	return cmd
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show RECORD...",
		Short: "Print the summary of records, as run does at its end",
		Args:  someRecords,
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := loadRecords(args)
			if err != nil {
				return err
			}
			for i, r := range records {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err := reports.WriteSummary(cmd.OutOrStdout(), r, reports.SummaryOptions{Color: inColor(os.Stdout), Files: args})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// someRecords wants at least one argument.
func someRecords(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s takes records: name the record.json of a run (%w)", cmd.CommandPath(), errUsage)
	}
	return nil
}

// loadRecords reads records; one that cannot be read is a mistake of the user.
func loadRecords(paths []string) ([]*reports.Record, error) {
	records, err := reports.LoadAll(paths...)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	}
	return records, nil
}

// writeOutput writes to a file, or to stdout where none is named.
func writeOutput(stdout io.Writer, path string, data []byte) error {
	if path == "" {
		_, err := stdout.Write(data)
		return err
	}
	return reports.WriteFile(path, data)
}
