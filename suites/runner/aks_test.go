package runner

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v3"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/aks"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/reports"
)

func TestConfigurationsForAKS(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		err    string
	}{
		"an emulated one":           {func(*Config) {}, ""},
		"a real one":                {func(c *Config) { c.Azure.Mode = realAzure }, ""},
		"all that goes with it":     {func(c *Config) { c.Cluster.AKS = AKSConfig{[]string{"a", "b"}, "s", true, true, 60} }, ""},
		"regions of another":        {func(c *Config) { c.Cluster.Provider, c.Cluster.AKS.Regions = "local", []string{"a"} }, "go with --provider aks"},
		"an upgrade of another":     {func(c *Config) { c.Cluster.Provider, c.Cluster.AKS.Upgrade = "kind", true }, "go with --provider aks"},
		"a kubeconfig":              {func(c *Config) { c.Cluster.Kubeconfig = "f" }, "leave one of them out"},
		"a name":                    {func(c *Config) { c.Cluster.Name = "n" }, "makes its AKS cluster itself"},
		"a published issuer":        {func(c *Config) { c.Cluster.PublishIssuer = true }, "by itself"},
		"an emulated one to keep":   {func(c *Config) { c.Cluster.Keep = true }, "cannot be kept"},
		"a real one to keep":        {func(c *Config) { c.Cluster.Keep, c.Azure.Mode = true, realAzure }, ""},
		"a negative budget":         {func(c *Config) { c.Cluster.AKS.BudgetMinutes = -1 }, "negative"},
		"the reference on a real":   {func(c *Config) { c.Subject.Kind, c.Azure.Mode = "reference", realAzure }, "cannot be put"},
		"the reference on emulated": {func(c *Config) { c.Subject.Kind = "reference" }, ""},
		"a repository for a real":   {func(c *Config) { c.Workloads.Repository, c.Azure.Mode = "registry.example/r", realAzure }, ""},
		"a repository for emulated": {func(c *Config) { c.Workloads.Repository = "registry.example/r" }, "images are loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Cluster: ClusterConfig{Provider: aks.Name}}
			c.change(&config)
			expectUsage(t, config.Validate(), c.err)
		})
	}
}

// TestAnAKSClusterThatCannotBeMadeIsTheEnvironmentsFault: exit code 3, and nothing is left, neither in Azure nor in the ledger.
func TestAnAKSClusterThatCannotBeMadeIsTheEnvironmentsFault(t *testing.T) {
	const clusters = "/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerService/managedClusters/*"
	for name, c := range map[string]struct {
		fault emulator.Fault
		says  string
	}{
		"no quota":                  {emulator.Fault{Method: "PUT", Path: clusters, Status: 400, Code: "QuotaExceeded"}, "QuotaExceeded (HTTP 400)"},
		"no capacity":               {emulator.Fault{Method: "PUT", Path: clusters, Code: "AKSCapacityHeavyUsage"}, "AKSCapacityHeavyUsage"},
		"throttled without end":     {emulator.Fault{Method: "PUT", Path: clusters, Status: 429, RetryAfter: 1}, "TooManyRequests (HTTP 429)"},
		"a failed state":            {emulator.Fault{Method: "PUT", Path: clusters, Code: "InternalOperationError"}, "InternalOperationError"},
		"a group that is not given": {emulator.Fault{Method: "PUT", Path: "/subscriptions/*/resourcegroups/*", Status: 403, Code: "AuthorizationFailed"}, "AuthorizationFailed (HTTP 403)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			s := newAKSStage(t)
			r := s.run
			c.fault.Service, c.fault.Count = "arm", 20
			if err := s.aksEmulator.SetFaults(t.Context(), c.fault); err != nil {
				t.Fatal(err)
			}
			err := r.phase(t.Context(), "cluster", s.bringUp)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one with %q", err, c.says)
			}
			if v := r.record.Judge(false, nil); v.ExitCode != reports.ExitEnvironment || !strings.Contains(v.Reason, `phase "cluster" broke`) {
				t.Errorf("verdict %+v", v)
			}
			if left := groupsOf(t, s); len(left) > 0 {
				t.Errorf("left in Azure: %q", left)
			}
			if left := r.ledger.Outstanding(); len(left) > 0 {
				t.Errorf("left in the ledger: %v", left)
			}
		})
	}
}

// newAKSStage is a stage with an emulated AKS that is open.
func newAKSStage(t *testing.T) *stage {
	t.Helper()
	l, err := ledger.Open(t.TempDir(), "0a1b2c3d")
	if err != nil {
		t.Fatal(err)
	}
	r := &run{
		config: Config{Cluster: ClusterConfig{Provider: aks.Name}}, observer: silent{}, output: t.TempDir(), ledger: l,
		record: &reports.Record{Run: reports.Run{ID: "0a1b2c3d", Started: time.Now().UTC()}},
	}
	s := &stage{run: r, subject: r.config.subject(nil)}
	if s.provider, _, err = s.openAKS(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.closeAKS(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func groupsOf(t *testing.T, s *stage) (names []string) {
	t.Helper()
	e := s.aksEmulator
	client, err := armresources.NewResourceGroupsClient(e.SubscriptionID(), e.Credential(), azure.Options{Cloud: e.Cloud, Transport: e.Transport()}.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	pager := client.NewListPager(nil)
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range page.Value {
			names = append(names, *group.Name)
		}
	}
	return names
}

func TestARunOnAKSEndsWithItsBudget(t *testing.T) {
	config := Config{Cluster: ClusterConfig{Provider: aks.Name, AKS: AKSConfig{BudgetMinutes: 7}}}
	ctx, stop := config.withinBudget(t.Context())
	defer stop()
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 7*time.Minute || time.Until(deadline) < 6*time.Minute {
		t.Errorf("it ends at %s", deadline)
	}
	if got := config.Cluster.AKS.cost(); !strings.Contains(got, "7 minutes with 2 nodes") || !strings.Contains(got, "0.2 node-hours") {
		t.Errorf("it is said to cost %q", got)
	}
	local := Config{}
	ctx, stop = local.withinBudget(context.Background())
	defer stop()
	if _, ok := ctx.Deadline(); ok {
		t.Error("a run that costs nothing ends, too")
	}
}

func TestADryRunNamesWhatWouldBeMade(t *testing.T) {
	config := Config{Cluster: ClusterConfig{Provider: aks.Name, AKS: AKSConfig{WindowsNodes: true}}, Seed: 1}
	list, cost, err := Resources(config)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, r := range list {
		kinds[r.Kind]++
	}
	if kinds["resource group"] != 3 || kinds["managed cluster"] != 1 || kinds["node pool"] != 2 || kinds["key vault"] != 1 || kinds["managed identity"] < 3 {
		t.Errorf("it names %v", kinds)
	}
	if !strings.Contains(cost, "3 nodes") {
		t.Errorf("it costs %q", cost)
	}
	_, _, err = Resources(Config{})
	expectUsage(t, err, "--provider aks")
}

func TestWindowsNodesArePlannedForBeforeTheyAreThere(t *testing.T) {
	config := Config{Cluster: ClusterConfig{Provider: aks.Name, AKS: AKSConfig{WindowsNodes: true}}}
	s := &stage{run: &run{config: config}}
	if got := s.windowsToCome(); len(got) != 2 {
		t.Errorf("on a real cluster: %v", got)
	}
	s.aksEmulator = &emulated.Emulator{}
	if got := s.windowsToCome(); len(got) != 0 {
		t.Errorf("on an emulated one, behind which there is no Windows: %v", got)
	}
}
