package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites/incluster"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// shardCommand is what the pods of 'run --in-cluster' run. Nobody else has a use for it.
func shardCommand() *cobra.Command {
	var assignment string
	cmd := &cobra.Command{
		Use:    incluster.Verb,
		Short:  "Execute one shard of 'wi-e2e run --in-cluster', in a pod of its Job",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			number, err := incluster.ShardOf(os.Getenv(incluster.IndexVariable))
			if err != nil {
				return fmt.Errorf("this is for the pods of 'wi-e2e run --in-cluster': $%s: %w (%w)", incluster.IndexVariable, err, errUsage)
			}
			return runner.RunShard(cmd.Context(), runner.ShardOptions{
				Assignment: assignment, Version: version(), Number: number, Pod: os.Getenv(incluster.PodVariable), Log: cmd.ErrOrStderr(),
			})
		},
	}
	cmd.Flags().StringVar(&assignment, incluster.AssignmentFlag, "", "`DIR` with what the shards are told")
	return cmd
}
