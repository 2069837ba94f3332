package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/existing"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
)

func azureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "azure",
		Short: "Run the Azure emulator next to a cluster, for your own development",
		Long: `Run the Azure emulator next to a cluster, for your own development.

It has Entra ID, Key Vault and Resource Manager, a vault with a secret, and an identity that may read it. Pods take it for
Azure under Azure's own host names. It keeps its state in memory.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(azureUpCommand(), azureDownCommand(), azureShowCommand())
	return cmd
}

// clusterFlags name the cluster that the emulator is next to.
type clusterFlags struct{ name, kubeconfig, context string }

func (f *clusterFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "cluster", "", "cluster `NAME` that 'wi-e2e cluster create' made")
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` that names another cluster")
	cmd.Flags().StringVar(&f.context, "context", "", "context of the kubeconfig")
}

func (f *clusterFlags) other() bool { return f.kubeconfig != "" || f.context != "" }

func (f *clusterFlags) validate() error {
	switch {
	case f.name != "" && f.other():
		return fmt.Errorf("--cluster names a local cluster, --kubeconfig and --context another one: leave one of them out (%w)", errUsage)
	case f.name == "" && !f.other():
		return fmt.Errorf("which cluster? --cluster NAME or --kubeconfig FILE (%w)", errUsage)
	}
	return nil
}

func (f *clusterFlags) find(ctx context.Context) (cluster.Cluster, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	if f.other() {
		return existing.New(f.kubeconfig, f.context).Get(ctx, "")
	}
	all, err := providers(kind.Options{})
	if err != nil {
		return nil, err
	}
	var missing error
	for _, provider := range all {
		c, err := provider.Get(ctx, f.name)
		if !errors.Is(err, cluster.ErrNotFound) {
			return c, err
		}
		missing = errors.Join(missing, err)
	}
	return nil, missing
}

func azureUpCommand() *cobra.Command {
	var (
		where    clusterFlags
		options  emulated.Options
		cloud    string
		accounts []string
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the emulator, or start it anew, and print what pods need to use it",
		Example: `  wi-e2e azure up --cluster dev --federate default/my-app
  wi-e2e azure up --kubeconfig ~/.kube/config --image registry.example/wi-e2e:1 --federate shop/cart`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := where.validate(); err != nil {
				return err
			}
			federate, err := parseAccounts(accounts)
			if err != nil {
				return err
			}
			if options.Cloud, err = clouds.ByName(cloud); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			if where.other() && options.Image == "" {
				return fmt.Errorf("the emulator's image cannot be loaded into a cluster that is not wi-e2e's: push it to a registry and name it (--image) (%w)", errUsage)
			}
			console := newConsole()
			defer console.Close()
			var d *emulated.Development
			err = shown(console, "azure up", func() (err error) {
				d, err = azureUp(cmd.Context(), where, options, federate, console.PhaseNote)
				return err
			})
			console.Close()
			if err != nil {
				return err
			}
			return printDevelopment(os.Stdout, d)
		},
	}
	where.register(cmd)
	options.Namespace, options.Audience = emulated.DevelopmentNamespace, subject.DefaultAudience
	cmd.Flags().StringVar(&options.Image, "image", "", "wi-e2e `IMAGE` that the cluster can pull (default: this binary's, loaded into the local cluster)")
	cmd.Flags().StringVar(&options.TenantID, "tenant-id", subject.DefaultTenantID, "home tenant `ID`: that of the webhook's installation")
	cmd.Flags().StringVar(&cloud, "cloud", clouds.Public.Name, "cloud `NAME` to emulate")
	cmd.Flags().StringArrayVar(&accounts, "federate", nil, "service account `NAMESPACE/NAME` that the identity trusts (repeatable)")
	return cmd
}

func azureUp(ctx context.Context, where clusterFlags, options emulated.Options, accounts []types.NamespacedName, progress func(string)) (*emulated.Development, error) {
	c, err := where.find(ctx)
	if err != nil {
		return nil, err
	}
	clients, err := objects.New(c, "azure")
	if err != nil {
		return nil, err
	}
	if options.Issuer, err = cluster.DiscoverIssuer(ctx, clients.Kube.Discovery().RESTClient()); err != nil {
		return nil, err
	}
	if options.Image == "" {
		progress("loading the emulator's image")
		options.Image, err = images.LoadSelf(ctx, func(ctx context.Context, _, archive string) error { return c.LoadImageArchive(ctx, archive) })
		if err != nil {
			return nil, err
		}
	}
	return emulated.Up(ctx, clients, options, accounts, progress)
}

func azureDownCommand() *cobra.Command {
	var where clusterFlags
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Remove the emulator",
		Example: "  wi-e2e azure down --cluster dev",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clients, err := where.clients(cmd.Context())
			if err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			return shown(console, "azure down", func() error {
				there, err := emulated.Down(cmd.Context(), clients.Kube)
				if err == nil && !there {
					console.PhaseNote("there was none")
				}
				return err
			})
		},
	}
	where.register(cmd)
	return cmd
}

func azureShowCommand() *cobra.Command {
	var where clusterFlags
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Print what pods need to use the emulator",
		Example: "  wi-e2e azure show --cluster dev",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clients, err := where.clients(cmd.Context())
			if err != nil {
				return err
			}
			d, err := emulated.Show(cmd.Context(), clients.Kube)
			if err != nil {
				return err
			}
			return printDevelopment(os.Stdout, d)
		},
	}
	where.register(cmd)
	return cmd
}

func (f *clusterFlags) clients(ctx context.Context) (*objects.Clients, error) {
	c, err := f.find(ctx)
	if err != nil {
		return nil, err
	}
	return objects.New(c, "azure")
}

// parseAccounts reads NAMESPACE/NAME.
func parseAccounts(given []string) ([]types.NamespacedName, error) {
	var accounts []types.NamespacedName
	for _, text := range given {
		namespace, name, ok := strings.Cut(text, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("--federate %q is not NAMESPACE/NAME (%w)", text, errUsage)
		}
		accounts = append(accounts, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return accounts, nil
}

// shown runs something as a phase on the console.
func shown(console *reports.Console, name string, body func() error) error {
	phase := reports.Phase{Name: name, Status: reports.Pass, Started: time.Now()}
	console.PhaseStarted(name)
	err := body()
	phase.Seconds = time.Since(phase.Started).Seconds()
	if err != nil {
		phase.Status, phase.Message = reports.Error, err.Error()
	}
	console.PhaseFinished(phase)
	return err
}

// printDevelopment prints shell variables and the part of a pod's specification that go with them.
func printDevelopment(w io.Writer, d *emulated.Development) error {
	aliases, err := yaml.Marshal(map[string]any{"hostAliases": d.HostAliases})
	if err != nil {
		return fmt.Errorf("print the host aliases: %w", err)
	}
	federated := "nobody (name service accounts with --federate)"
	if len(d.Federated) > 0 {
		federated = strings.Join(d.Federated, ", ")
	}
	_, err = fmt.Fprintf(w, `# Azure emulator (%s). The identity trusts: %s
AZURE_TENANT_ID=%s
AZURE_SUBSCRIPTION_ID=%s
AZURE_AUTHORITY_HOST=%s
AZURE_CLIENT_ID=%s
KEYVAULT_URL=%s
SECRET_NAME=%s

# In a pod's spec:
%s
# Pods have to trust the certificate authority in ConfigMap %s, by SSL_CERT_FILE (Go, .NET),
# NODE_EXTRA_CA_CERTS (Node) or REQUESTS_CA_BUNDLE (Python).
`, d.Cloud, federated, d.TenantID, d.SubscriptionID, d.AuthorityHost, d.ClientID, d.VaultURL, d.Secret, aliases, d.CA)
	return err
}
