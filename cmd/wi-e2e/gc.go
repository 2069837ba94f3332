package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/fixtures/leftover"
)

func gcCommand() *cobra.Command {
	var dryRun bool
	var cloud, subscription string
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete what dead runs left behind",
		Long: `Delete what dead runs left behind.

On this machine that is what their ledgers tell: clusters that they made, and what they put on clusters that stay, those of
'wi-e2e cluster create' and those of a kubeconfig whose context still leads to them. What a run kept with --keep is among it. With
a subscription it is also every resource group in it that is tagged jobName=wi-e2e, whoever made it, and whose time is over by its
tag autoShutdown. A group without such a tag is never touched, nor is a cluster that a living run of this machine uses, nor an
object that another run has applied since. What cannot be reached is named, and stays in the ledger.`,
		Example: `  wi-e2e gc --dry-run
  wi-e2e gc
  wi-e2e gc --azure-subscription $AZURE_SUBSCRIPTION_ID`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := leftoverOptions(cmd.Context(), cloud, subscription)
			if err != nil {
				return err
			}
			items, err := leftover.Find(cmd.Context(), options)
			return errors.Join(err, collect(cmd.Context(), items, dryRun))
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only list it")
	cmd.Flags().StringVar(&cloud, "azure-cloud", clouds.Public.Name, "cloud `NAME`")
	cmd.Flags().StringVar(&subscription, "azure-subscription", "", "subscription `ID` to look in (default: $AZURE_SUBSCRIPTION_ID; without one Azure is not asked)")
	return cmd
}

func leftoverOptions(ctx context.Context, cloudName, subscription string) (leftover.Options, error) {
	cloud, err := clouds.ByName(cloudName)
	if err != nil {
		return leftover.Options{}, fmt.Errorf("%w (%w)", err, errUsage)
	}
	options := leftover.Options{Now: time.Now()}
	if options.Ledgers, err = ledger.Dir(); err != nil {
		return options, err
	}
	if options.Providers, err = providers(kind.Options{}); err != nil {
		return options, err
	}
	if subscription == "" {
		subscription = os.Getenv("AZURE_SUBSCRIPTION_ID")
	}
	if subscription == "" {
		return options, nil
	}
	credential, err := azure.NewCredential(cloud, nil)
	if err != nil {
		return options, err
	}
	if err := credential.Check(ctx); err != nil {
		return options, err
	}
	options.Azure = &azure.Options{
		Cloud: cloud, SubscriptionID: subscription, Credential: credential, Progress: func(note string) { fmt.Fprintln(os.Stderr, note) },
	}
	return options, nil
}

// collect deletes what can be deleted, and tells of each.
func collect(ctx context.Context, items []leftover.Item, dryRun bool) error {
	if len(items) == 0 {
		fmt.Println("nothing is left behind")
	}
	var errs []error
	for _, item := range items {
		switch {
		case item.Remove == nil:
			fmt.Println("left alone:", item)
		case dryRun:
			fmt.Println("would delete:", item)
		default:
			if err := item.Remove(ctx); err != nil {
				errs = append(errs, fmt.Errorf("delete %s %s: %w", item.Kind, item.Name, err))
				continue
			}
			fmt.Println("deleted:", item)
		}
	}
	return errors.Join(errs...)
}
