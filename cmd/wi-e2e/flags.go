package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wi-e2e/wi-e2e/kindconfig"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// defaultOutput is where reports go when nobody says otherwise.
const defaultOutput = "wi-e2e-results"

// configFlags are the flags of run and plan: each sets one field of the configuration.
type configFlags struct {
	file  string
	given runner.Config
	apply map[string]func(*runner.Config)
}

func (f *configFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.apply = map[string]func(*runner.Config){}
	flags.StringVar(&f.file, "config", "", "configuration `FILE` (RunConfig of "+reports.APIVersion+")")

	text := func(field func(*runner.Config) *string, name, help string) {
		flags.StringVar(field(&f.given), name, "", help)
		f.apply[name] = func(c *runner.Config) { *field(c) = *field(&f.given) }
	}
	list := func(field func(*runner.Config) *[]string, name, help string) {
		flags.StringSliceVar(field(&f.given), name, nil, help)
		f.apply[name] = func(c *runner.Config) { *field(c) = *field(&f.given) }
	}
	// paths and key=value pairs may hold commas
	each := func(field func(*runner.Config) *[]string, name, help string) {
		flags.StringArrayVar(field(&f.given), name, nil, help)
		f.apply[name] = func(c *runner.Config) { *field(c) = *field(&f.given) }
	}
	yes := func(field func(*runner.Config) *bool, name, help string) {
		flags.BoolVar(field(&f.given), name, false, help)
		f.apply[name] = func(c *runner.Config) { *field(c) = *field(&f.given) }
	}

	text(func(c *runner.Config) *string { return &c.Cluster.Provider }, "provider", "cluster provider: "+strings.Join(runner.Providers, ", ")+" (default: the best available)")
	text(func(c *runner.Config) *string { return &c.Cluster.Name }, "cluster", "use and keep the cluster `NAME` that 'wi-e2e cluster create' made")
	text(func(c *runner.Config) *string { return &c.Cluster.KubernetesVersion }, "kubernetes-version", "Kubernetes `VERSION` of a new cluster, such as 1.36 or v1.34.4; for --provider aks also latest and latest-1")
	text(func(c *runner.Config) *string { return &c.Cluster.Kubeconfig }, "kubeconfig", "`FILE` that names an existing cluster")
	text(func(c *runner.Config) *string { return &c.Cluster.Context }, "context", "context of the kubeconfig")
	yes(func(c *runner.Config) *bool { return &c.Cluster.Keep }, "keep", "keep the cluster and what the run put on it")
	text(func(c *runner.Config) *string { return (*string)(&c.Cluster.Topology) }, "topology", "nodes of a new cluster, for --provider kind: "+kindconfig.JoinTopologies()+" (default: single)")
	text(func(c *runner.Config) *string { return &c.Cluster.NodeImage }, "node-image", "node `IMAGE`, for --provider kind (default: found, pulled or made)")
	yes(func(c *runner.Config) *bool { return &c.Cluster.Reuse }, "reuse", "use a cluster that an earlier run left, if it is configured alike, and leave it for the next, for --provider kind")
	yes(func(c *runner.Config) *bool { return &c.Cluster.PublishIssuer }, "publish-issuer", "publish a new cluster's issuer on a static website of a storage account; --azure real does so")

	list(func(c *runner.Config) *[]string { return &c.Cluster.AKS.Regions }, "region", "`REGION` of a new cluster, for --provider aks; if it has no room, the next one (repeatable; default: --azure-location)")
	yes(func(c *runner.Config) *bool { return &c.Cluster.AKS.WindowsNodes }, "windows-nodes", "add a pool of Windows nodes, for --provider aks")
	yes(func(c *runner.Config) *bool { return &c.Cluster.AKS.Upgrade }, "upgrade", "upgrade to the next minor version after the tests, for --provider aks")
	flags.IntVar(&f.given.Cluster.AKS.BudgetMinutes, "budget-minutes", 0, "clean up after `N` minutes at the latest, for --provider aks (default: 90)")
	f.apply["budget-minutes"] = func(c *runner.Config) { c.Cluster.AKS.BudgetMinutes = f.given.Cluster.AKS.BudgetMinutes }

	text(func(c *runner.Config) *string { return &c.Image }, "image", "wi-e2e `IMAGE` that an existing cluster can pull, for the Azure emulator and for probes")
	text(func(c *runner.Config) *string { return &c.Workloads.Repository }, "image-repository", "`REPOSITORY` that images are pushed to, and that an existing cluster can pull from")
	text(func(c *runner.Config) *string { return (*string)(&c.Workloads.SDKVersions) }, "sdk-versions", "SDK versions of the workloads: newest, minimum (default: newest)")

	text(func(c *runner.Config) *string { return &c.Subject.Kind }, "subject", "webhook under test: "+strings.Join(runner.Subjects, ", ")+" (default: reference, on an existing cluster preinstalled)")
	text(func(c *runner.Config) *string { return &c.Subject.Manifest }, "manifest", "`FILE` or URL, for --subject manifest; ${AZURE_TENANT_ID} and the like are expanded")
	text(func(c *runner.Config) *string { return &c.Subject.Helm.Chart }, "chart", "chart directory, archive or URL, for --subject helm")
	text(func(c *runner.Config) *string { return &c.Subject.Helm.Version }, "chart-version", "`VERSION` of the chart")
	each(func(c *runner.Config) *[]string { return &c.Subject.Helm.Values }, "values", "values `FILE` of the chart (repeatable)")
	each(func(c *runner.Config) *[]string { return &c.Subject.Helm.Set }, "set", "`KEY=VALUE` of the chart (repeatable)")
	text(func(c *runner.Config) *string { return &c.Subject.UpgradeFrom }, "upgrade-from", "manifest or chart (`FILE`, directory or URL) of the version before, for tests of upgrades, with --subject manifest and helm")
	text(func(c *runner.Config) *string { return &c.Subject.Namespace }, "namespace", "namespace of the installation, for --subject preinstalled and helm (default: found)")
	each(func(c *runner.Config) *[]string { return &c.Subject.ImageArchives }, "image-archive", "docker-archive or OCI layout `FILE` to load into the cluster first (repeatable)")
	text(func(c *runner.Config) *string { return &c.Subject.Profile }, "profile", "webhook `VERSION` whose contract holds, or latest (default: detected)")

	text(func(c *runner.Config) *string { return &c.Azure.Mode }, "azure", "Azure to use: "+strings.Join(runner.AzureModes, ", ")+" (default: emulated)")
	text(func(c *runner.Config) *string { return &c.Azure.Cloud }, "azure-cloud", "cloud `NAME` of the real Azure, such as AzureUSGovernmentCloud (default: AzurePublicCloud)")
	text(func(c *runner.Config) *string { return &c.Azure.SubscriptionID }, "azure-subscription", "subscription `ID` (default: $AZURE_SUBSCRIPTION_ID)")
	text(func(c *runner.Config) *string { return &c.Azure.Location }, "azure-location", "`LOCATION` of what is made in the real Azure (default: westeurope)")

	list(func(c *runner.Config) *[]string { return &c.Select.Tiers }, "tier", "only these tiers (repeatable)")
	list(func(c *runner.Config) *[]string { return &c.Select.Tests }, "test", "only these tests, or all but those that begin with '!': 'a,b,!c'")
	list(func(c *runner.Config) *[]string { return &c.Select.Requirements }, "requirement", "only tests of these requirements, such as EXP-03 (repeatable)")
	list(func(c *runner.Config) *[]string { return &c.Select.Languages }, "language", "no tests of programs in other languages, such as go (repeatable)")
	text(func(c *runner.Config) *string { return &c.Shard }, "shard", "the I-th of N parts of the selected tests: `I/N`; all shards need the same --seed")
	text(func(c *runner.Config) *string { return &c.Durations }, "durations", "record `FILE` of an earlier run, by whose durations shards are balanced")
	yes(func(c *runner.Config) *bool { return &c.InCluster }, "in-cluster", "have pods of the cluster execute the tests, but for those that run alone")
	flags.IntVar(&f.given.Shards, "shards", 0, "`N` pods to divide the tests among, for --in-cluster")
	f.apply["shards"] = func(c *runner.Config) { c.Shards = f.given.Shards }
	flags.Int64Var(&f.given.Seed, "seed", 0, "seed of the tests' order and of the random pods (default: drawn)")
	f.apply["seed"] = func(c *runner.Config) { c.Seed = f.given.Seed }
	flags.IntVar(&f.given.FuzzPods, "fuzz-pods", suites.DefaultFuzzPods, "`N` random pods, in the test fuzzed-pods")
	f.apply["fuzz-pods"] = func(c *runner.Config) { c.FuzzPods = f.given.FuzzPods }
	yes(func(c *runner.Config) *bool { return &c.Strict }, "strict", "a violated SHOULD fails the run")
	flags.IntVar(&f.given.Repeat, "repeat", 1, "execute every test `N` times; one that does not pass every time is a flake")
	f.apply["repeat"] = func(c *runner.Config) { c.Repeat = f.given.Repeat }
	text(func(c *runner.Config) *string { return &c.Waivers.File }, "waivers", "`FILE` of the subject's known deviations (Waivers of "+reports.APIVersion+")")
	f.given.Waivers.Strict = new(bool)
	flags.BoolVar(f.given.Waivers.Strict, "waivers-strict", true, "a waiver that expired or is not needed fails the run")
	f.apply["waivers-strict"] = func(c *runner.Config) { c.Waivers.Strict = f.given.Waivers.Strict }
	text(func(c *runner.Config) *string { return &c.Output }, "output", "`DIR` for the reports (default: "+defaultOutput+")")
}

// config is the configuration of the file, overridden by environment variables, overridden by flags.
func (f *configFlags) config(cmd *cobra.Command) (runner.Config, error) {
	if value, ok := os.LookupEnv(envName("config")); ok && f.file == "" {
		f.file = value
	}
	config := runner.Config{}
	if f.file != "" {
		var err error
		if config, err = runner.LoadConfig(f.file); err != nil {
			return config, err
		}
	}
	var failure error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		apply, ours := f.apply[flag.Name]
		if !ours || failure != nil {
			return
		}
		value, inEnv := os.LookupEnv(envName(flag.Name))
		if !flag.Changed && inEnv {
			if err := flag.Value.Set(value); err != nil {
				failure = fmt.Errorf("environment variable %s: %w (%w)", envName(flag.Name), err, errUsage)
				return
			}
		}
		if flag.Changed || inEnv {
			apply(&config)
		}
	})
	if config.Output == "" {
		config.Output = defaultOutput
	}
	if failure == nil {
		failure = config.Validate()
	}
	return config, failure
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "WI_E2E_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
