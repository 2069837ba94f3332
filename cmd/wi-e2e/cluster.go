package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local/binaries"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
)

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Create, delete and list local clusters",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(clusterCreateCommand(), clusterDeleteCommand(), clusterListCommand())
	return cmd
}

func clusterCreateCommand() *cobra.Command {
	var kubernetes string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a local cluster and print its kubeconfig's path",
		Example: `  export KUBECONFIG=$(wi-e2e cluster create dev)
  wi-e2e cluster create old --kubernetes-version 1.34`,
		Args: oneArgument("the cluster's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			provider, err := local.New()
			if err != nil {
				return err
			}
			if err := provider.Available(cmd.Context()); err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			var c cluster.Cluster
			err = shown(console, "cluster "+args[0], func() (err error) {
				c, err = provider.Create(cmd.Context(), cluster.Spec{Name: args[0], KubernetesVersion: kubernetes, Progress: console.PhaseNote})
				return err
			})
			console.Close()
			if err != nil {
				return err
			}
			_, err = fmt.Println(c.Kubeconfig())
			return err
		},
	}
	cmd.Flags().StringVar(&kubernetes, "kubernetes-version", "", "Kubernetes `VERSION`, such as 1.36 or v1.34.4 (default "+binaries.DefaultKubernetesVersion+")")
	return cmd
}

func clusterDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME",
		Short:   "Delete a local cluster, also one that a dead process left behind",
		Example: "  wi-e2e cluster delete dev",
		Args:    oneArgument("the cluster's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			provider, err := local.New()
			if err != nil {
				return err
			}
			if err := provider.Delete(cmd.Context(), args[0]); err != nil {
				return err
			}
			dir, err := ledger.Dir()
			if err != nil {
				return err
			}
			return ledger.ClusterGone(dir, provider.Name()+"/"+args[0])
		},
	}
}

func clusterListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the local clusters, what dead processes left behind included",
		Example: "  wi-e2e cluster list",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			provider, err := local.New()
			if err != nil {
				return err
			}
			clusters, err := provider.List(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tPROVIDER\tKUBERNETES\tSTATUS\tAGE\tKUBECONFIG")
			for _, c := range clusters {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Provider, c.Version, c.Status, time.Since(c.Created).Round(time.Second), c.Kubeconfig)
			}
			return w.Flush()
		},
	}
}
