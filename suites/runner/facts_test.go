package runner

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
			for _, w := range workloads.Catalogue() {
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
			if workload, ok := strings.CutPrefix(p.Test.ID, "read-secret-"); ok && !strings.HasPrefix(workload, "upstream-") {
				reasons[workload] = ""
				if p.Skip != nil {
					reasons[workload] = p.Skip.Reason
				}
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
