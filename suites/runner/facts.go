package runner

import (
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/admission"
	"github.com/wi-e2e/wi-e2e/suites/exchange"
	"github.com/wi-e2e/wi-e2e/suites/issuer"
	"github.com/wi-e2e/wi-e2e/suites/operations"
	"github.com/wi-e2e/wi-e2e/suites/proxy"
	"github.com/wi-e2e/wi-e2e/suites/soak"
	"github.com/wi-e2e/wi-e2e/suites/windows"
)

// Tests are the tests of all tiers.
func Tests() []suites.Test {
	return slices.Concat(admission.Tests(), exchange.Tests(), proxy.Tests(), windows.Tests(), operations.Tests(), issuer.Tests(), soak.Tests())
}

// needs says whether one of the tests does.
func needs(tests []suites.Test, c suites.Capability) bool {
	return slices.ContainsFunc(tests, func(t suites.Test) bool { return slices.Contains(t.Needs, c) })
}

// planNeeds says whether one of the tests that will run does.
func planNeeds(plan *suites.Plan, c suites.Capability) bool {
	return slices.ContainsFunc(plan.Tests, func(p suites.Planned) bool { return p.Skip == nil && slices.Contains(p.Test.Needs, c) })
}

// factsOf says what cluster and subject can do, but for ProxyImage, which takes a question to the subject.
func factsOf(config Config, c cluster.Cluster, in *subject.Installed, seen reports.Cluster) suites.Facts {
	facts := suites.Facts{Profile: in.Profile}
	add := func(ok bool, capability suites.Capability) {
		if ok {
			facts.Capabilities = append(facts.Capabilities, capability)
		}
	}
	_, rotates := c.(cluster.SigningKeyRotator)
	add(len(in.Images) > 0, suites.SubjectPods)
	add(config.Subject.kind(&config) != "preinstalled", suites.OwnInstallation)
	add(config.previous() != nil, suites.PreviousVersion)
	add(c.Issuer() != "", suites.KnownIssuer)
	add(config.Azure.Mode == realAzure || config.publishesIssuer(), suites.PublicIssuer)
	add(rotates, suites.ControlPlaneAccess)
	add(in.CustomTokenEndpoint != nil, suites.CustomTokenEndpoint)
	add(in.CustomTokenEndpoint == nil, suites.NoCustomTokenEndpoint)
	add(seen.Nodes > 0, suites.Nodes)
	add(nativeSidecar(seen.Kubernetes, in.Profile), suites.NativeSidecar)
	add(seen.Nodes > 0 && config.ownNodes(), suites.EmulatedIMDS)
	config.addImages(&facts)
	return facts
}

// nativeSidecar says whether the proxy is a native sidecar (PRX-06). A version that cannot be read is no reason to skip.
func nativeSidecar(kubernetes string, profile subject.Profile) bool {
	server, err := version.ParseGeneric(kubernetes)
	return profile.AtLeast("1.5.0") && (err != nil || server.AtLeast(version.MustParseGeneric("1.32")))
}

// addImages adds the images that can be put on the cluster, and the Azure, whose emulator is one of them.
func (c *Config) addImages(facts *suites.Facts) {
	placed := c.ownNodes() || c.Workloads.Repository != ""
	self := placed || c.Image != ""
	if self {
		facts.Capabilities = append(facts.Capabilities, suites.SelfImage)
	}
	if self || c.Azure.Mode == realAzure {
		facts.Capabilities = append(facts.Capabilities, suites.AzureAvailable)
	}
	if self && c.Azure.Mode != realAzure {
		facts.Capabilities = append(facts.Capabilities, suites.ShortTokens)
	}
	if c.Soak.Duration.Duration >= soak.RenewalTakes {
		facts.Capabilities = append(facts.Capabilities, suites.RenewalTime)
	}
	facts.Missing = map[suites.Capability]reports.Skipped{}
	for _, w := range workloads.All() {
		image := suites.WorkloadImage(w.Name)
		reason, why := suites.ImageUnavailable, ""
		switch err := w.Available(c.Workloads.versions()); {
		case !placed:
			why = "images cannot be put on a cluster that is not ours: name a repository to push them to (--image-repository)"
		case errors.Is(err, workloads.ErrNoMinimum):
			reason, why = suites.NoMinimumVersion, err.Error()
		case w.ForWindowsNodes() && c.Azure.Mode != realAzure:
			why = "programs on Windows trust what their machine does, which an image cannot add the emulator to: use --azure real"
		case err != nil:
			why = err.Error()
		default:
			facts.Capabilities = append(facts.Capabilities, image)
			continue
		}
		facts.Missing[image] = reports.Skipped{Reason: string(reason), Text: why}
	}
}

// ExpectedFacts is what factsOf is going to say of the cluster and subject that the configuration asks
// for, as far as that can be known before there are any.
func (c *Config) ExpectedFacts() suites.Facts {
	facts := suites.Facts{Capabilities: []suites.Capability{suites.SubjectPods}, Profile: subject.Latest}
	if c.Subject.kind(c) != "preinstalled" {
		facts.Capabilities = append(facts.Capabilities, suites.OwnInstallation)
	}
	if c.previous() != nil {
		facts.Capabilities = append(facts.Capabilities, suites.PreviousVersion)
	}
	if !c.usesExisting() {
		facts.Capabilities = append(facts.Capabilities, suites.KnownIssuer)
	}
	if !c.usesExisting() && !c.usesAKS() {
		facts.Capabilities = append(facts.Capabilities, suites.ControlPlaneAccess)
	}
	if c.Azure.Mode == realAzure || c.publishesIssuer() {
		facts.Capabilities = append(facts.Capabilities, suites.PublicIssuer)
	}
	if c.Subject.kind(c) == "reference" || c.Subject.CustomTokenEndpoint != nil {
		facts.Capabilities = append(facts.Capabilities, suites.CustomTokenEndpoint)
	} else {
		facts.Capabilities = append(facts.Capabilities, suites.NoCustomTokenEndpoint)
	}
	facts.Capabilities = append(facts.Capabilities, suites.Nodes)
	if c.ownNodes() {
		facts.Capabilities = append(facts.Capabilities, suites.EmulatedIMDS)
	}
	if c.ownNodes() || c.Azure.Mode == realAzure {
		facts.Capabilities = append(facts.Capabilities, suites.ProxyImage)
	}
	c.addImages(&facts)
	if p, err := subject.ParseProfile(c.Subject.Profile); err == nil {
		facts.Profile = p
	}
	if nativeSidecar(c.Cluster.KubernetesVersion, facts.Profile) {
		facts.Capabilities = append(facts.Capabilities, suites.NativeSidecar)
	}
	return facts
}

// Plan is what a run with the configuration is expected to do. An unknown name in the selection is a UsageError.
func Plan(config Config) (*suites.Plan, error) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return nil, err
	}
	selected, part, err := config.selectTests(catalogue)
	if err != nil {
		return nil, err
	}
	plan, err := suites.NewPlan(selected, catalogue, config.ExpectedFacts(), config.Seed)
	return plan.Of(part), err
}
