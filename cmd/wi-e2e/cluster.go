package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local/binaries"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/kindconfig"
)

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Create, delete and list clusters",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(clusterCreateCommand(), clusterDeleteCommand(), clusterListCommand())
	return cmd
}

// providers are those that make clusters, the default one first.
func providers(options kind.Options) ([]cluster.Provider, error) {
	embedded, err := local.New()
	if err != nil {
		return nil, err
	}
	inContainers, err := kind.New(options)
	if err != nil {
		return nil, err
	}
	return []cluster.Provider{embedded, inContainers}, nil
}

func clusterCreateCommand() *cobra.Command {
	var name, kubernetes string
	var options kind.Options
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a cluster and print its kubeconfig's path",
		Example: `  export KUBECONFIG=$(wi-e2e cluster create dev)
  wi-e2e cluster create old --kubernetes-version 1.34
  wi-e2e cluster create two --provider kind --topology workers`,
		Args: oneArgument("the cluster's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name != kind.Name && options != (kind.Options{}) {
				return fmt.Errorf("--topology and --node-image go with --provider kind (%w)", errUsage)
			}
			if options.Topology != "" && !slices.Contains(kindconfig.Topologies, options.Topology) {
				return fmt.Errorf("unknown topology %q: there are %s (%w)", options.Topology, kindconfig.JoinTopologies(), errUsage)
			}
			all, err := providers(options)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(p cluster.Provider) bool { return p.Name() == name })
			if i < 0 {
				return fmt.Errorf("unknown provider %q: there are local and kind (%w)", name, errUsage)
			}
			provider := all[i]
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
	cmd.Flags().StringVar(&name, "provider", "local", "cluster `PROVIDER`: local or kind")
	cmd.Flags().StringVar((*string)(&options.Topology), "topology", "", "nodes, for --provider kind: "+kindconfig.JoinTopologies()+" (default: single)")
	cmd.Flags().StringVar(&options.NodeImage, "node-image", "", "node `IMAGE`, for --provider kind (default: found, pulled or made)")
	cmd.Flags().StringVar(&kubernetes, "kubernetes-version", "", "Kubernetes `VERSION`, such as 1.36 or v1.34.4 (default "+binaries.DefaultKubernetesVersion+")")
	return cmd
}

func clusterDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME",
		Short:   "Delete a cluster, also one that a dead process left behind",
		Example: "  wi-e2e cluster delete dev",
		Args:    oneArgument("the cluster's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := providers(kind.Options{})
			if err != nil {
				return err
			}
			dir, err := ledger.Dir()
			if err != nil {
				return err
			}
			// The first that knows the name.
			var missing error
			for _, provider := range all {
				switch err := provider.Delete(cmd.Context(), args[0]); {
				case err == nil:
					return ledger.ClusterGone(dir, provider.Name()+"/"+args[0])
				case !errors.Is(err, cluster.ErrNotFound):
					return err
				default:
					missing = errors.Join(missing, err)
				}
			}
			return missing
		},
	}
}

func clusterListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the clusters that were made here, what dead processes left behind included",
		Example: "  wi-e2e cluster list",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := providers(kind.Options{})
			if err != nil {
				return err
			}
			var clusters []cluster.Info
			for _, provider := range all {
				infos, err := provider.List(cmd.Context())
				if err != nil {
					return err
				}
				clusters = append(clusters, infos...)
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
