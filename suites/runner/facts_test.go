package runner

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

func TestExpectedFactsSayWhichImagesThereAreAndWhyNotOthers(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // with nothing kept
	existing := ClusterConfig{Kubeconfig: "x"}
	const there = ""
	for _, c := range []struct {
		name        string
		config      Config
		self, azure bool
		images      map[string]string // the reason why there is none, by workload
	}{
		{
			"on a cluster of ours", Config{}, true, true,
			map[string]string{"go-msal": there, "java-azidentity": there, "upstream-msal-go": "image-unavailable"},
		},
		{
			"with minimum versions", Config{Workloads: WorkloadsConfig{SDKVersions: workloads.Minimum}}, true, true,
			map[string]string{
				"go-msal": "no-minimum-version", "java-azidentity": there, "dotnet-azidentity": "image-unavailable",
				"dotnet-azure-mcp": "no-minimum-version", "upstream-msal-go": "no-minimum-version",
			},
		},
		{
			"on a cluster that is not", Config{Cluster: existing}, false, false,
			map[string]string{"go-msal": "image-unavailable", "upstream-msal-go": "image-unavailable"},
		},
		{
			"on one that can pull this binary's image", Config{Cluster: existing, Image: "registry.example/wi-e2e:1"}, true, true,
			map[string]string{"go-msal": "image-unavailable"},
		},
		{
			"on one with the real Azure", Config{Cluster: existing, Azure: AzureConfig{Mode: realAzure}}, false, true,
			map[string]string{"go-msal": "image-unavailable"},
		},
		{
			"on one that pulls from a repository of ours", Config{Cluster: existing, Workloads: WorkloadsConfig{Repository: "registry.example/x"}}, true, true,
			map[string]string{"go-msal": there, "upstream-msal-go": "image-unavailable"},
		},
		{
			"on one that pulls minimum versions", Config{Cluster: existing, Workloads: WorkloadsConfig{Repository: "registry.example/x", SDKVersions: workloads.Minimum}}, true, true,
			map[string]string{"go-msal": "no-minimum-version", "go-azidentity": there},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := c.config.ExpectedFacts()
			has := func(need suites.Capability) bool { return slices.Contains(facts.Capabilities, need) }
			if has(suites.SelfImage) != c.self || has(suites.AzureAvailable) != c.azure {
				t.Errorf("wi-e2e's own image %t, want %t; an Azure %t, want %t", has(suites.SelfImage), c.self, has(suites.AzureAvailable), c.azure)
			}
			got := map[string]string{}
			for workload := range c.images {
				got[workload] = facts.Missing[suites.WorkloadImage(workload)].Reason
			}
			if diff := cmp.Diff(c.images, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			for _, w := range workloads.All() {
				image := suites.WorkloadImage(w.Name)
				if why, missing := facts.Missing[image]; missing == has(image) || missing && (why.Reason == "" || why.Text == "") {
					t.Errorf("%s: there %t, missing %t: %+v", w.Name, has(image), missing, why)
				}
			}
		})
	}
}

func TestExpectedFactsNameTheWayOut(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, c := range []struct {
		name, workload string
		config         Config
		says           string
	}{
		{"of a cluster that is not ours", "go-msal", Config{Cluster: ClusterConfig{Kubeconfig: "x"}}, "--image-repository"},
		{"of an image that is not kept", "upstream-msal-go", Config{}, "wi-e2e images list"},
		{"of an image for Windows, which trusts no emulator", "go-azidentity-ltsc2022", Config{}, "--azure real"},
		{"of one that is not kept", "go-azidentity-ltsc2022", Config{Azure: AzureConfig{Mode: realAzure}}, "wi-e2e images list"},
		{"of versions that are nowhere", "dotnet-azidentity", Config{Workloads: WorkloadsConfig{SDKVersions: workloads.Minimum}}, "NuGet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := c.config.ExpectedFacts()
			if text := facts.Missing[suites.WorkloadImage(c.workload)].Text; !strings.Contains(text, c.says) {
				t.Errorf("it does not say %q: %s", c.says, text)
			}
		})
	}
}

func TestThePlanOfMinimumVersionsRunsWhatThereIsAndListsWhatThereIsNot(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("some images are for amd64 only")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	skips := func(versions workloads.Versions) map[string]string {
		plan, err := Plan(Config{Seed: 1, Workloads: WorkloadsConfig{SDKVersions: versions}})
		if err != nil {
			t.Fatal(err)
		}
		reasons := map[string]string{}
		for _, p := range plan.Tests {
			workload := strings.TrimPrefix(strings.TrimPrefix(p.Test.ID, "sdk-"), "read-secret-")
			if workload == p.Test.ID || strings.HasPrefix(workload, "upstream-") {
				continue
			}
			reasons[workload] = ""
			if p.Skip != nil {
				reasons[workload] = p.Skip.Reason
			}
		}
		return reasons
	}
	newest, minimum := map[string]string{}, map[string]string{"dotnet-azure-mcp": "no-minimum-version"}
	for _, language := range []string{"dotnet", "go", "java", "node", "python"} {
		newest[language+"-azidentity"], newest[language+"-msal"] = "", ""
		minimum[language+"-azidentity"], minimum[language+"-msal"] = "", "no-minimum-version"
	}
	newest["dotnet-azure-mcp"] = ""
	minimum["dotnet-azidentity"] = "image-unavailable"
	if diff := cmp.Diff(newest, skips(workloads.Newest)); diff != "" {
		t.Errorf("newest versions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(minimum, skips(workloads.Minimum)); diff != "" {
		t.Errorf("minimum versions (-want +got):\n%s", diff)
	}
}

func TestExpectedFactsOfTheProxy(t *testing.T) {
	existing := ClusterConfig{Kubeconfig: "config"}
	for title, c := range map[string]struct {
		config Config
		want   []suites.Capability
	}{
		"a cluster that the run makes has all":              {Config{}, []suites.Capability{suites.ProxyImage, suites.NativeSidecar, suites.EmulatedIMDS}},
		"one before native sidecars":                        {Config{Cluster: ClusterConfig{KubernetesVersion: "1.31"}}, []suites.Capability{suites.ProxyImage, suites.EmulatedIMDS}},
		"a webhook before native sidecars":                  {Config{Subject: SubjectConfig{Profile: "1.4.0"}}, []suites.Capability{suites.ProxyImage, suites.EmulatedIMDS}},
		"a proxy that is not ours cannot trust an emulator": {Config{Cluster: existing}, []suites.Capability{suites.NativeSidecar}},
		"and needs not trust the real Azure, but nodes that are not ours keep their IMDS": {
			Config{Cluster: existing, Azure: AzureConfig{Mode: realAzure}}, []suites.Capability{suites.ProxyImage, suites.NativeSidecar},
		},
	} {
		t.Run(title, func(t *testing.T) {
			facts := c.config.ExpectedFacts()
			for _, capability := range []suites.Capability{suites.ProxyImage, suites.NativeSidecar, suites.EmulatedIMDS} {
				want, got := slices.Contains(c.want, capability), slices.Contains(facts.Capabilities, capability)
				if got != want {
					t.Errorf("%s: %t, want %t", capability, got, want)
				}
			}
		})
	}
}

func TestNativeSidecar(t *testing.T) {
	profile := func(text string) subject.Profile {
		p, err := subject.ParseProfile(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		kubernetes, profile string
		want                bool
	}{
		{"v1.36.3", "latest", true}, {"v1.32.0", "1.5.0", true}, {"v1.32.0-rc.1+k3s1", "1.6.0", true}, {"v1.31.9", "latest", false}, {"v1.36.3", "1.4.1", false},
		{"unknown", "latest", true},
	} {
		if got := nativeSidecar(c.kubernetes, profile(c.profile)); got != c.want {
			t.Errorf("Kubernetes %s, profile %s: %t, want %t", c.kubernetes, c.profile, got, c.want)
		}
	}
}

func TestThereIsAVersionToUpgradeFromWhereOneIsNamedAndOfTheReference(t *testing.T) {
	chart, manifest := HelmConfig{Chart: "new"}, "new"
	for name, c := range map[string]struct {
		subject SubjectConfig
		want    bool
	}{
		"the reference":                           {SubjectConfig{}, true},
		"a manifest":                              {SubjectConfig{Kind: "manifest", Manifest: manifest}, false},
		"a manifest with the one before":          {SubjectConfig{Kind: "manifest", Manifest: manifest, UpgradeFrom: "old"}, true},
		"a chart":                                 {SubjectConfig{Kind: "helm", Helm: chart}, false},
		"a chart with the one before":             {SubjectConfig{Kind: "helm", Helm: chart, UpgradeFrom: "old"}, true},
		"what is installed, which stays as it is": {SubjectConfig{Kind: "preinstalled"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			facts := (&Config{Subject: c.subject}).ExpectedFacts()
			if got := slices.Contains(facts.Capabilities, suites.PreviousVersion); got != c.want {
				t.Errorf("previous version %t, want %t", got, c.want)
			}
		})
	}
}

func TestOnlyTheEmulatedAzureGivesShortTokens(t *testing.T) {
	for mode, want := range map[string]bool{"": true, emulatedAzure: true, realAzure: false} {
		facts := (&Config{Azure: AzureConfig{Mode: mode}}).ExpectedFacts()
		if got := slices.Contains(facts.Capabilities, suites.ShortTokens); got != want {
			t.Errorf("azure %q: short tokens %t, want %t", mode, got, want)
		}
	}
}
