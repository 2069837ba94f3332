package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/aks"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/existing"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/images/registry"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/kindconfig"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// ConfigKind is the kind of a configuration file.
const ConfigKind = "RunConfig"

// Providers and Subjects are the values that Config knows.
var (
	Providers = []string{"local", kind.Name, aks.Name, existing.Name}
	Subjects  = []string{"reference", "manifest", "helm", "preinstalled"}
	// AzureModes are the values of AzureConfig.Mode.
	AzureModes = []string{emulatedAzure, realAzure}
)

const (
	emulatedAzure = "emulated"
	realAzure     = "real"
)

// Config is what a run is asked to do (RunConfig of wi-e2e.dev/v1alpha1).
type Config struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Cluster    ClusterConfig `json:"cluster,omitempty"`
	Azure      AzureConfig   `json:"azure,omitempty"`
	Subject    SubjectConfig `json:"subject,omitempty"`
	// Image is one of wi-e2e that the cluster can pull, for the Azure emulator and for probes, where images cannot be loaded.
	Image     string           `json:"image,omitempty"`
	Workloads WorkloadsConfig  `json:"workloads,omitempty"`
	Select    suites.Selection `json:"select,omitempty"`
	// Shard is "i/n": the i-th of n parts of the selected tests, balanced by what the tests of a record took (file Durations). All shards
	// of a run need the same Seed and Durations.
	Shard     string `json:"shard,omitempty"`
	Durations string `json:"durations,omitempty"`
	// Seed orders the tests, and makes the random pods; 0 draws one, which the record tells.
	Seed int64 `json:"seed,omitempty"`
	// InCluster has the tests executed by so many Shards, which are pods of the cluster (package incluster).
	InCluster bool `json:"inCluster,omitempty"`
	Shards    int  `json:"shards,omitempty"`
	// Strict makes a violated SHOULD fail the run.
	Strict bool `json:"strict,omitempty"`
	// Repeat is how many times every test is executed; 0 means once.
	Repeat  int           `json:"repeat,omitempty"`
	Waivers WaiversConfig `json:"waivers,omitzero"`
	Soak    SoakConfig    `json:"soak,omitzero"`
	// FuzzPods is the number of random pods; 0 means suites.DefaultFuzzPods.
	FuzzPods int `json:"fuzzPods,omitempty"`
	// Output is the directory that the reports are written to.
	Output string `json:"output,omitempty"`
}

// WaiversConfig says which deviations of the subject are known.
type WaiversConfig struct {
	// File holds them (package waivers).
	File string `json:"file,omitempty"`
	// Strict makes a waiver that does not hold fail the run; false makes it a warning. Nil means true.
	Strict *bool `json:"strict,omitempty"`
}

func (w WaiversConfig) strict() bool { return w.Strict == nil || *w.Strict }

// ClusterConfig says where to run.
type ClusterConfig struct {
	// Provider is one of Providers; empty takes the best that is available.
	Provider string `json:"provider,omitempty"`
	// Name is a cluster that the provider made before and that is used and kept; empty makes a new one.
	Name              string `json:"name,omitempty"`
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	Kubeconfig        string `json:"kubeconfig,omitempty"`
	Context           string `json:"context,omitempty"`
	// Keep leaves the cluster and what the run put on it as they are.
	Keep bool `json:"keep,omitempty"`

	// Topology is one of kindconfig.Topologies, NodeImage an image of kind's; both are for the provider kind.
	Topology  kindconfig.Topology `json:"topology,omitempty"`
	NodeImage string              `json:"nodeImage,omitempty"`
	// Reuse takes a cluster of kind's that an earlier run made with the same configuration, or leaves one for the next.
	Reuse bool `json:"reuse,omitempty"`
	// PublishIssuer has the documents of a new cluster's issuer published on a static website, where Entra ID finds them. The real
	// Azure needs it.
	PublishIssuer bool `json:"publishIssuer,omitempty"`

	AKS AKSConfig `json:"aks,omitzero"`
}

// WorkloadsConfig says which workloads to run, and how their images get to the cluster.
type WorkloadsConfig struct {
	// SDKVersions is one of workloads.AllVersions; empty means the newest.
	SDKVersions workloads.Versions `json:"sdkVersions,omitempty"`
	// Repository is one that images are pushed to, and that the cluster can pull from, where images cannot be loaded.
	Repository string `json:"repository,omitempty"`
}

// AzureConfig says which Azure to use.
type AzureConfig struct {
	// Mode is one of AzureModes; empty means emulated.
	Mode string `json:"mode,omitempty"`
	// Cloud is the name of a known cloud, for the real Azure; empty is that of subject.environment. Custom is a cloud of one's own instead.
	Cloud          string       `json:"cloud,omitempty"`
	Custom         *CustomCloud `json:"custom,omitempty"`
	SubscriptionID string       `json:"subscriptionID,omitempty"`
	Location       string       `json:"location,omitempty"`
	// Tags are put on the resource group, beside those of the run.
	Tags map[string]string `json:"tags,omitempty"`
	// PropagationBudget bounds the wait until a new federated credential is known, such as "5m".
	PropagationBudget metav1.Duration `json:"propagationBudget,omitzero"`
}

// CustomCloud is an Azure of one's own, such as Azure Stack Hub.
type CustomCloud struct {
	Authority       string `json:"authority"`
	ResourceManager string `json:"resourceManager"`
	// Audience of tokens for Resource Manager.
	Audience    string `json:"audience"`
	VaultSuffix string `json:"vaultSuffix"`
}

// SubjectConfig says what to test.
type SubjectConfig struct {
	// Kind is one of Subjects; empty means reference on a cluster of ours and preinstalled on an existing one.
	Kind string `json:"kind,omitempty"`
	// Manifest is a file or URL, for kind manifest.
	Manifest string     `json:"manifest,omitempty"`
	Helm     HelmConfig `json:"helm,omitempty"`
	// UpgradeFrom is the version before, which the tests of upgrades begin with: a manifest or chart, as Manifest and Helm.Chart are.
	// The reference has its own.
	UpgradeFrom string `json:"upgradeFrom,omitempty"`
	// Namespace of the installation, for kind preinstalled and helm; empty finds or takes the usual one.
	Namespace     string   `json:"namespace,omitempty"`
	ImageArchives []string `json:"imageArchives,omitempty"`
	// Profile is the version whose contract holds; empty detects it.
	Profile     string `json:"profile,omitempty"`
	TenantID    string `json:"tenantID,omitempty"`
	Environment string `json:"environment,omitempty"`
	// CustomTokenEndpoint tells how the installation is configured, where that cannot be seen from outside.
	CustomTokenEndpoint *subject.CustomTokenEndpoint `json:"customTokenEndpoint,omitempty"`
}

// HelmConfig is the chart, for kind helm.
type HelmConfig struct {
	Chart   string   `json:"chart,omitempty"`
	Version string   `json:"version,omitempty"`
	Values  []string `json:"values,omitempty"` // files
	Set     []string `json:"set,omitempty"`    // key=value
}

// UsageError is a mistake in flags, arguments or configuration (exit code 2).
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usage(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// LoadConfig reads a configuration file strictly: an unknown key is an error.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, &UsageError{fmt.Errorf("read the configuration: %w", err)}
	}
	return parseConfig(path, data)
}

func parseConfig(path string, data []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return Config{}, usage("read the configuration %s: %w", path, err)
	}
	if c.APIVersion != reports.APIVersion || c.Kind != ConfigKind {
		return Config{}, usage("read the configuration %s: it is apiVersion %q, kind %q, want %q, %q", path, c.APIVersion, c.Kind, reports.APIVersion, ConfigKind)
	}
	return c, nil
}

// Validate reports the first contradiction or unknown value.
func (c *Config) Validate() error {
	cl, s := c.Cluster, c.Subject
	switch {
	case cl.Provider != "" && !slices.Contains(Providers, cl.Provider):
		return usage("unknown provider %q (there are: %s)", cl.Provider, strings.Join(Providers, ", "))
	case s.Kind != "" && !slices.Contains(Subjects, s.Kind):
		return usage("unknown subject %q (there are: %s)", s.Kind, strings.Join(Subjects, ", "))
	case (cl.Provider == "local" || cl.Provider == kind.Name) && (cl.Kubeconfig != "" || cl.Context != ""):
		return usage("a kubeconfig or context names an existing cluster, but the provider is %s: leave one of them out", cl.Provider)
	case cl.Provider != kind.Name && (cl.Topology != "" || cl.NodeImage != "" || cl.Reuse):
		return usage("topology, node image and reuse go with --provider kind")
	case cl.Topology != "" && !slices.Contains(kindconfig.Topologies, cl.Topology):
		return usage("unknown topology %q (there are: %s)", cl.Topology, kindconfig.JoinTopologies())
	case cl.Name != "" && (cl.Topology != "" || cl.NodeImage != "" || cl.Reuse):
		return usage("topology, node image and reuse are for clusters without a name")
	case cl.NodeImage != "" && cl.KubernetesVersion != "":
		return usage("a node image has its Kubernetes version: leave one of them out")
	case cl.KubernetesVersion != "" && (c.usesExisting() || cl.Name != ""):
		return usage("a Kubernetes version can be chosen only for a cluster that the run makes")
	case cl.PublishIssuer && (c.usesExisting() || cl.Name != "" || cl.Reuse):
		return usage("the issuer is published for a cluster that the run makes for itself, which has to be made with it")
	case cl.Name != "" && c.usesExisting():
		return usage("a cluster name goes with a provider that makes clusters; an existing one is named by kubeconfig and context")
	case s.Manifest != "" && s.Kind != "manifest", s.Kind == "manifest" && s.Manifest == "":
		return usage("subject manifest and a manifest file or URL go together: --subject manifest --manifest FILE")
	case s.Helm.Chart != "" && s.Kind != "helm", s.Kind == "helm" && s.Helm.Chart == "":
		return usage("subject helm and a chart go together: --subject helm --chart DIR|ARCHIVE|URL")
	case s.Kind != "helm" && (s.Helm.Version != "" || len(s.Helm.Values)+len(s.Helm.Set) > 0):
		return usage("chart version and values go with subject helm")
	case s.UpgradeFrom != "" && s.Kind != "manifest" && s.Kind != "helm":
		return usage("a version to upgrade from goes with subject manifest or helm, as what is named as the one under test")
	case s.Namespace != "" && s.kind(c) != "preinstalled" && s.Kind != "helm":
		return usage("a namespace goes with subject preinstalled or helm")
	case s.CustomTokenEndpoint != nil && (s.CustomTokenEndpoint.AnnotationSuffix == "" || s.CustomTokenEndpoint.Audience == ""):
		return usage("customTokenEndpoint needs annotationSuffix and audience")
	case s.CustomTokenEndpoint != nil && s.kind(c) == "reference":
		return usage("customTokenEndpoint tells about an installation that cannot tell itself; the reference can")
	case !c.ownNodes() && s.kind(c) == "reference":
		return usage("the reference webhook's image cannot be put on a cluster that is not ours: choose --subject preinstalled, manifest or helm")
	case !c.ownNodes() && len(s.ImageArchives) > 0:
		return usage("image archives cannot be loaded into a cluster that is not ours: push the images to a registry that it can pull from")
	case c.Image != "" && c.ownNodes():
		return usage("this binary's image is loaded into the cluster: naming another goes with a cluster that is not ours")
	case c.Workloads.Repository != "" && c.ownNodes():
		return usage("images are loaded into the cluster: a repository for them goes with a cluster that is not ours")
	case c.Workloads.SDKVersions != "" && !slices.Contains(workloads.AllVersions, c.Workloads.SDKVersions):
		return usage("unknown SDK versions %q (there are: %s)", c.Workloads.SDKVersions, joinVersions())
	case len(s.ImageArchives) > 0 && s.kind(c) == "preinstalled":
		return usage("image archives go with a subject that the run installs")
	case c.Repeat < 0:
		return usage("tests cannot be repeated %d times", c.Repeat)
	case c.FuzzPods < 0:
		return usage("there cannot be %d random pods", c.FuzzPods)
	case c.Durations != "" && c.Shard == "" && !c.InCluster:
		return usage("durations balance shards: they go with --shard i/n or --in-cluster")
	case c.Waivers.Strict != nil && c.Waivers.File == "":
		return usage("strictness about waivers goes with a file of them: --waivers FILE")
	}
	if err := c.validateAKS(); err != nil {
		return err
	}
	if err := c.validateSoak(); err != nil {
		return err
	}
	if err := c.validateInCluster(); err != nil {
		return err
	}
	if _, err := c.shard(); err != nil {
		return &UsageError{err}
	}
	if err := c.Azure.validate(); err != nil {
		return err
	}
	if c.Workloads.Repository != "" {
		if err := registry.CheckRepository(c.Workloads.Repository); err != nil {
			return usage("the repository for images: %w", err)
		}
	}
	if s.Profile != "" {
		if _, err := subject.ParseProfile(s.Profile); err != nil {
			return &UsageError{err}
		}
	}
	return nil
}

func (a AzureConfig) validate() error {
	switch {
	case a.Mode != "" && !slices.Contains(AzureModes, a.Mode):
		return usage("unknown azure %q (there are: %s)", a.Mode, strings.Join(AzureModes, ", "))
	case a.Mode != realAzure && (a.Cloud != "" || a.Custom != nil || a.SubscriptionID != "" || a.Location != "" || len(a.Tags) > 0):
		return usage("cloud, subscription, location and tags go with the real Azure: --azure real (the emulated one is the subject's)")
	case a.Cloud != "" && a.Custom != nil:
		return usage("a cloud is known by its name, or a custom one: leave one of them out")
	case a.PropagationBudget.Duration < 0:
		return usage("the propagation budget is negative")
	}
	if _, err := a.cloud(""); err != nil {
		return &UsageError{err}
	}
	return nil
}

// cloud is the one that was asked for, or else the known one of that name.
func (a AzureConfig) cloud(environment string) (clouds.Cloud, error) {
	if c := a.Custom; c != nil {
		return clouds.Custom(c.Authority, c.ResourceManager, c.Audience, c.VaultSuffix)
	}
	return clouds.ByName(cmp.Or(a.Cloud, environment))
}

func (c *Config) usesExisting() bool {
	return c.Cluster.Provider == existing.Name || c.Cluster.Provider == "" && (c.Cluster.Kubeconfig != "" || c.Cluster.Context != "")
}

// publishesIssuer says whether the cluster is made with an issuer that the run publishes.
func (c *Config) publishesIssuer() bool {
	return c.Cluster.PublishIssuer || c.Azure.Mode == realAzure && !c.usesExisting() && !c.usesAKS() && c.Cluster.Name == "" && !c.Cluster.Reuse
}

// kind is the subject's kind, chosen where the user did not.
func (s SubjectConfig) kind(c *Config) string {
	switch {
	case s.Kind != "":
		return s.Kind
	case c.usesExisting(), c.usesAKS():
		return "preinstalled"
	default:
		return "reference"
	}
}

// subject makes the subject that the configuration asks for. change puts a fault into the reference; it may be nil.
func (c *Config) subject(change func([]*unstructured.Unstructured) error) subject.Subject {
	s, options := c.Subject, c.subjectOptions()
	options.Change = change
	switch s.kind(c) {
	case "manifest":
		return subject.Manifest(s.Manifest, options)
	case "helm":
		return subject.Helm(subject.HelmOptions{
			Options: options, Chart: s.Helm.Chart, Version: s.Helm.Version, ValuesFiles: s.Helm.Values, Values: s.Helm.Set, Namespace: s.Namespace,
		})
	case "preinstalled":
		return subject.Preinstalled(s.Namespace, options)
	default:
		return subject.Reference("", options)
	}
}

func (c *Config) subjectOptions() subject.Options {
	s := c.Subject
	options := subject.Options{ImageArchives: s.ImageArchives, Profile: s.Profile, TenantID: s.TenantID, Environment: s.Environment}
	if c.Azure.Mode == realAzure && options.TenantID == "" {
		options.TenantID = os.Getenv("AZURE_TENANT_ID") // a tenant that exists
	}
	return options
}

// previous is the version before the subject, nil if there is none. Its images are among the subject's.
func (c *Config) previous() subject.Subject {
	before := *c
	before.Subject.Profile, before.Subject.ImageArchives = "", nil
	switch from := c.Subject.UpgradeFrom; {
	case c.Subject.kind(c) == "reference":
		return subject.ReferenceBefore("", before.subjectOptions())
	case from == "":
		return nil
	case c.Subject.Kind == "manifest":
		before.Subject.Manifest = from
	default:
		before.Subject.Helm.Chart, before.Subject.Helm.Version = from, ""
	}
	return before.subject(nil)
}

// provider chooses the provider and says why. An error means that none can be used, and names what is missing.
func (c *Config) provider(ctx context.Context) (chosen cluster.Provider, why string, err error) {
	if c.usesExisting() {
		p := existing.New(c.Cluster.Kubeconfig, c.Cluster.Context)
		return p, "asked for", p.Available(ctx)
	}
	embedded, err := local.New()
	if err != nil {
		return nil, "", err
	}
	inContainers, err := kind.New(kind.Options{Topology: c.Cluster.Topology, NodeImage: c.Cluster.NodeImage})
	if err != nil {
		return nil, "", err
	}
	switch c.Cluster.Provider {
	case embedded.Name():
		return embedded, "asked for", embedded.Available(ctx)
	case inContainers.Name():
		return inContainers, "asked for", inContainers.Available(ctx)
	}
	if name := c.Cluster.Name; name != "" {
		if _, err := embedded.Get(ctx, name); !errors.Is(err, cluster.ErrNotFound) {
			return embedded, "it has the cluster " + name, nil
		}
		if _, err := inContainers.Get(ctx, name); !errors.Is(err, cluster.ErrNotFound) {
			return inContainers, "it has the cluster " + name, nil
		}
	}
	localErr := embedded.Available(ctx)
	if localErr == nil {
		return embedded, "the embedded one: no kubeconfig was named, and this machine can run it", nil
	}
	kindErr := inContainers.Available(ctx)
	if kindErr == nil {
		return inContainers, "no kubeconfig was named, and this machine can run no local cluster", nil
	}
	return nil, "", fmt.Errorf("no cluster to run on: %w\n%w\n(or name an existing cluster: --kubeconfig FILE)", localErr, kindErr)
}

// prepareOutput makes the output directory and finds out whether it can be written to, before anything else is made.
func (c *Config) prepareOutput() (string, error) {
	dir, err := filepath.Abs(c.Output)
	if err != nil {
		return "", usage("output directory %q: %w", c.Output, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", usage("make the output directory: %w", err)
	}
	// Before the reports of an earlier run are gone.
	if err := takeRoom(dir); err != nil {
		return "", err
	}
	// They must not be taken for this one's.
	for _, name := range []string{RecordFile, JUnitFile, HTMLFile, LogsDir, BundleDir} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return "", usage("clear the output directory: %w", err)
		}
	}
	return dir, nil
}

func (w WorkloadsConfig) versions() workloads.Versions {
	return cmp.Or(w.SDKVersions, workloads.Newest)
}

func joinVersions() string {
	var all []string
	for _, v := range workloads.AllVersions {
		all = append(all, string(v))
	}
	return strings.Join(all, ", ")
}
