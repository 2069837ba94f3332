package suites

import (
	"context"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Tier is a group of tests with the same needs (design, section 4).
type Tier string

// The tiers.
const (
	Admission  Tier = "admission"
	Exchange   Tier = "exchange"
	Proxy      Tier = "proxy"
	Windows    Tier = "windows"
	Operations Tier = "operations"
	Issuer     Tier = "issuer"
	// Soak lasts as long as a run is asked for, and is left out where it is not.
	Soak Tier = "soak"
)

// Tiers are all tiers in the order in which they run. The issuer comes last: its tests restart the API server, which leaves
// scheduler and kubelet, as they back off, slow to run pods for a while.
var Tiers = []Tier{Admission, Exchange, Proxy, Windows, Operations, Issuer, Soak}

// Capability is something that a cluster or subject can or cannot do. A test that needs a missing one is not run: its
// planned skip has the capability's reason.
type Capability string

const (
	// SubjectPods: the webhook runs as pods that can be reached through a port-forward. A managed
	// control plane may run it out of sight.
	SubjectPods Capability = "subject-pods"
	// OwnInstallation: the run installed the webhook, so that it may disturb it. Nobody's own workloads are to be refused for a test.
	OwnInstallation Capability = "own-installation"
	// PreviousVersion: there is a version of the webhook before the one under test, to upgrade from.
	PreviousVersion Capability = "previous-version"
	// RenewalTime: the soak lasts long enough to see the kubelet renew a token.
	RenewalTime Capability = "renewal-time"
	// KnownIssuer: the issuer that was asked for is known, so that it can be compared with what is served.
	KnownIssuer Capability = "known-issuer"
	// PublicIssuer: relying parties on the internet, or the emulated one, find the documents of the cluster's issuer.
	PublicIssuer Capability = "public-issuer"
	// ControlPlaneAccess: signing keys and flags of the API server are ours to change.
	ControlPlaneAccess Capability = "control-plane-access"
	// CustomTokenEndpoint: the installation has section 8 (identity binding) configured.
	CustomTokenEndpoint Capability = "custom-token-endpoint"
	// NoCustomTokenEndpoint: it has not, so that "off" can be observed.
	NoCustomTokenEndpoint Capability = "no-custom-token-endpoint"
	// Nodes: pods can run.
	Nodes Capability = "nodes"
	// WindowsNodes: pods for Windows can run.
	WindowsNodes Capability = "windows-nodes"
	// AzureAvailable: there is an Azure, emulated or real, that can see the cluster's issuer.
	AzureAvailable Capability = "azure"
	// ShortTokens: Azure gives tokens that end so soon that programs exchange at each reading, for those who ask (Azure.ShortenTokens).
	ShortTokens Capability = "short-tokens"
	// ProxyImage: the proxy's image trusts the Azure that there is.
	ProxyImage Capability = "proxy-image"
	// NativeSidecar: the proxy is a native sidecar (PRX-06).
	NativeSidecar Capability = "native-sidecar"
	// EmulatedIMDS: the nodes have our metadata service at 169.254.169.254.
	EmulatedIMDS Capability = "emulated-imds"
	// SelfImage: the cluster has the image of wi-e2e itself, whose verbs token-probe and ask look at a pod from inside.
	SelfImage Capability = "image:wi-e2e"
)

// WorkloadImage is the capability that the cluster has the image of a workload of the catalogue.
func WorkloadImage(name string) Capability { return Capability(imagePrefix + name) }

const imagePrefix = "image:"

// WindowsNodesOf is the capability that pods of that build of Windows can run, such as 10.0.20348.
func WindowsNodesOf(build string) Capability { return WindowsNodes + Capability(":"+build) }

// ImageName is the name that T.Image knows an image by, and whether the capability is one of an image.
func (c Capability) ImageName() (name string, ok bool) {
	return strings.CutPrefix(string(c), imagePrefix)
}

// SkipReason is why a planned test is not run. There are no other skips: a test cannot skip itself.
type SkipReason string

// NotInVersion: the subject's profile does not have the rule yet.
const NotInVersion SkipReason = "not-in-version"

// missing gives the skip of a test whose capability is missing.
var missing = map[Capability]struct {
	Reason SkipReason
	Text   string
}{
	SubjectPods:           {"no-subject-pods", "the webhook's pods are out of reach: no pod behind its Service that a port-forward could go to"},
	OwnInstallation:       {"not-ours-to-disturb", "the webhook was there before the run, which does not disturb what others rely on"},
	PreviousVersion:       {"no-previous-version", "no version to upgrade from is named: give the manifest or chart of the one before (--upgrade-from)"},
	RenewalTime:           {"soak-too-short", "the kubelet renews a token after 80 per cent of its life, and the shortest lives 10 minutes: soak for 12 minutes at least"},
	KnownIssuer:           {"no-known-issuer", "the cluster is not ours: which issuer was asked for is not known"},
	PublicIssuer:          {"no-public-issuer", "nobody on the internet looks for the cluster's issuer: that takes the real Azure, or a run that publishes it"},
	ControlPlaneAccess:    {"no-control-plane-access", "the control plane is not ours: signing keys cannot be rotated"},
	CustomTokenEndpoint:   {"not-configured", "the installation has no custom token endpoint configured"},
	NoCustomTokenEndpoint: {"configured", "the installation has a custom token endpoint configured, so its absence cannot be observed"},
	Nodes:                 {"no-nodes", "the cluster has no node that pods can be scheduled on"},
	WindowsNodes:          {noWindowsNodes, "the cluster has no ready node with Windows"},
	AzureAvailable:        {"no-azure", "there is no Azure: the emulator's image cannot be loaded into this cluster: name one that it can pull (--image), or use --azure real"},
	ShortTokens:           {"no-short-tokens", "the tokens of the real Azure live an hour and longer, so that programs do not exchange in the time of a test"},
	ProxyImage:            {"no-proxy-image", "the image of the installed proxy cannot be made to trust the emulator: use --azure real, or have the run install the subject"},
	NativeSidecar:         {"no-native-sidecar", "the proxy is an ordinary container: native sidecars take Kubernetes 1.32 and profile 1.5"},
	EmulatedIMDS:          {"no-emulated-imds", "the nodes are not ours: a metadata service of our own would hide theirs"},
}

// Reasons why there is no image of a workload.
const (
	// ImageUnavailable: it cannot be made here, or not be put on the cluster.
	ImageUnavailable SkipReason = "image-unavailable"
	// NoMinimumVersion: EXC-01 names no minimum version of its library, or it is not ours to choose.
	NoMinimumVersion SkipReason = "no-minimum-version"
)

const noWindowsNodes SkipReason = "no-windows-nodes"

// skipWithout is the skip of a test whose capability is missing.
func (f Facts) skipWithout(c Capability) *reports.Skipped {
	if why, ok := f.Missing[c]; ok {
		return &why
	}
	if image, ok := c.ImageName(); ok {
		return &reports.Skipped{Reason: string(ImageUnavailable), Text: "the cluster has no image " + image + ", and images cannot be put on it"}
	}
	if build, ok := strings.CutPrefix(string(c), string(WindowsNodesOf(""))); ok {
		return &reports.Skipped{Reason: string(noWindowsNodes), Text: "the cluster has no ready node with Windows " + build}
	}
	return &reports.Skipped{Reason: string(missing[c].Reason), Text: missing[c].Text}
}

// DefaultTimeout bounds a test that does not set its own.
const DefaultTimeout = 60 * time.Second

// Test is one test of one or more requirements.
type Test struct {
	// ID is unique over all tiers: lower-case words joined by dashes. It selects the test (--test).
	ID string
	// Title is a sentence that is true of a conformant subject.
	Title string
	Tier  Tier
	// Requirements are ids of the catalogue. If none of them is a MUST, a violation is a warning.
	Requirements []string
	Needs        []Capability
	// Trust are the federated credentials that the body relies on.
	Trust []Trust
	// Serial tests run alone, after all the others: they disturb the cluster.
	Serial bool
	// Timeout is DefaultTimeout if zero. Running into it is an error, not a failure of the subject.
	Timeout time.Duration
	Body    func(ctx context.Context, t *T)
}
