package runner

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/aks"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/aks/standin"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// AKSConfig is for the provider aks.
type AKSConfig struct {
	// Regions are tried in this order, while one has no room; empty is the location of the Azure.
	Regions []string `json:"regions,omitempty"`
	// NodeSize is the size of all nodes; empty is aks.DefaultNodeSize.
	NodeSize string `json:"nodeSize,omitempty"`
	// WindowsNodes adds a pool of them.
	WindowsNodes bool `json:"windowsNodes,omitempty"`
	// Upgrade brings the cluster to the next minor version after the tests.
	Upgrade bool `json:"upgrade,omitempty"`
	// BudgetMinutes is how long a run may take until it cleans up; 0 is aks.DefaultLifetime.
	BudgetMinutes int `json:"budgetMinutes,omitempty"`
}

func (a AKSConfig) zero() bool {
	return len(a.Regions) == 0 && a.NodeSize == "" && !a.WindowsNodes && !a.Upgrade && a.BudgetMinutes == 0
}

// usesAKS says whether the run makes a cluster of AKS, a real or an emulated one.
func (c *Config) usesAKS() bool { return c.Cluster.Provider == aks.Name }

// ownNodes says whether images can be loaded into the nodes: they are on this machine.
func (c *Config) ownNodes() bool {
	return !c.usesExisting() && (!c.usesAKS() || c.Azure.Mode != realAzure)
}

func (c *Config) validateAKS() error {
	cl := c.Cluster
	switch {
	case !c.usesAKS() && !cl.AKS.zero():
		return usage("regions, node size, Windows nodes, upgrade and budget go with --provider aks")
	case !c.usesAKS():
		return nil
	case cl.Kubeconfig != "" || cl.Context != "":
		return usage("a kubeconfig or context names an existing cluster, but the provider is %s: leave one of them out", cl.Provider)
	case cl.Name != "":
		return usage("a run makes its AKS cluster itself; one that is there is named by --kubeconfig FILE")
	case cl.PublishIssuer:
		return usage("AKS publishes the issuer of its clusters by itself")
	case cl.Keep && c.Azure.Mode != realAzure:
		return usage("an emulated Azure ends with the run, and its cluster with it: it cannot be kept")
	case cl.AKS.BudgetMinutes < 0:
		return usage("the budget of %d minutes is negative", cl.AKS.BudgetMinutes)
	}
	return nil
}

// budget of a run on AKS, but for its clean-up.
func (a AKSConfig) budget() time.Duration {
	return cmp.Or(time.Duration(a.BudgetMinutes)*time.Minute, aks.DefaultLifetime)
}

// options are those of the provider, but for where Azure is.
func (a AKSConfig) options(kind string) aks.Options {
	return aks.Options{
		Regions: a.Regions, NodeSize: a.NodeSize, Windows: a.WindowsNodes, NoAddOn: kind != "preinstalled",
		Lifetime: a.budget() + realCleanUpBudget,
	}
}

// cost is told before anything is made.
func (a AKSConfig) cost() string { return a.options("").Cost(a.budget()) }

// withinBudget bounds what costs money by the minute.
func (c *Config) withinBudget(ctx context.Context) (context.Context, context.CancelFunc) {
	if !c.usesAKS() {
		return context.WithCancel(ctx)
	}
	budget := c.Cluster.AKS.budget()
	return context.WithTimeoutCause(ctx, budget, fmt.Errorf("the run's budget of %.0f minutes is used up", budget.Minutes()))
}

// openAKS is the provider of AKS in the real Azure, or in an emulated one of this process.
func (s *stage) openAKS(ctx context.Context) (cluster.Provider, string, error) {
	r := s.run
	options := r.config.Cluster.AKS.options(s.subject.Kind())
	var err error
	if options.Azure, err = s.azureOfAKS(ctx); err != nil {
		return nil, "", err
	}
	options.Azure.Tags, options.Azure.Progress = r.azureTags(), r.observer.PhaseNote
	maps.Copy(options.Azure.Tags, r.config.Azure.Tags)
	if s.aksEmulator != nil {
		options.Behind = s.standsOn
	}
	provider, err := aks.New(options)
	if err != nil {
		return nil, "", err
	}
	return provider, "asked for, in " + s.mode() + " Azure", provider.Available(ctx)
}

func (s *stage) azureOfAKS(ctx context.Context) (azure.Options, error) {
	r := s.run
	options := azure.Options{SubscriptionID: r.config.Azure.SubscriptionID, Location: r.config.Azure.Location}
	var err error
	if options.Cloud, err = r.config.Azure.cloud(r.config.Subject.Environment); err != nil {
		return options, err
	}
	if s.mode() == realAzure {
		if s.azure.credential, err = checkedCredential(ctx, options.Cloud); err != nil {
			return options, err
		}
		options.Credential = s.azure.credential
		entry := func(kind, name string) ledger.Entry {
			return ledger.Entry{Kind: kind, Cluster: ledgerAzure(options.Cloud), Name: name}
		}
		options.Record = func(kind, name string) error { return r.ledger.Create(entry(kind, name)) }
		options.Removed = func(kind, name string) error { return r.ledger.Removed(entry(kind, name)) }
		return options, nil
	}
	backend, err := s.standins()
	if err != nil {
		return options, err
	}
	e, err := emulated.StartHere(options.Cloud, cmp.Or(r.config.Subject.TenantID, subject.DefaultTenantID), backend)
	if err != nil {
		return options, err
	}
	s.aksEmulator = e
	options.TenantID, options.SubscriptionID, options.Credential, options.Transport = e.TenantID, e.SubscriptionID(), e.Credential(), e.Transport()
	ignore := func(string, string) error { return nil } // what is made in an emulator goes with it
	options.Record, options.Removed = ignore, ignore
	return options, nil
}

// standins makes the clusters behind those of an emulated AKS. They outlive this process, and so are in the ledger.
func (s *stage) standins() (*standin.Backend, error) {
	r := s.run
	provider, err := local.New()
	if err != nil {
		return nil, err
	}
	entry := func(name string) ledger.Entry {
		return ledger.Entry{Kind: "Cluster", Cluster: provider.Name() + "/" + name, Name: name}
	}
	return &standin.Backend{
		Provider: provider, TenantID: cmp.Or(r.config.Subject.TenantID, subject.DefaultTenantID), Environment: r.config.Subject.Environment,
		Logs:     r.rawLogs(),
		Record:   func(name string) error { return r.ledger.Create(entry(name)) },
		Removed:  func(name string) error { return r.ledger.Removed(entry(name)) },
		Progress: r.observer.PhaseNote,
	}, nil
}

func (s *stage) standsOn(ctx context.Context, name string) (cluster.Cluster, error) {
	provider, err := local.New()
	if err != nil {
		return nil, err
	}
	return provider.Get(ctx, name)
}

// closeAKS ends an emulated Azure, whose clusters have been deleted.
func (s *stage) closeAKS() error {
	if s.aksEmulator == nil {
		return nil
	}
	return s.aksEmulator.Close()
}

// windowsToCome are what the nodes will be that AKS is adding meanwhile. Behind an emulated pool there are none.
func (s *stage) windowsToCome() []suites.Capability {
	if !s.run.config.Cluster.AKS.WindowsNodes || s.aksEmulator != nil {
		return nil
	}
	return []suites.Capability{suites.WindowsNodes, suites.WindowsNodesOf(aks.WindowsBuild)}
}

// awaitWindows returns when AKS has added them.
func (s *stage) awaitWindows(ctx context.Context) error {
	c, err := s.aksCluster()
	if err != nil {
		return err
	}
	return c.AwaitWindows(ctx)
}

func (s *stage) aksCluster() (*aks.Cluster, error) {
	c, ok := s.cluster.(*aks.Cluster)
	if !ok {
		return nil, fmt.Errorf("cluster %s is none of AKS", s.cluster.Name())
	}
	return c, nil
}

// upgrade brings the cluster to its next minor version, on which the subject has to answer.
func (s *stage) upgrade(ctx context.Context) error {
	c, err := s.aksCluster()
	if err != nil {
		return err
	}
	from, to, err := c.Upgrade(ctx)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("upgraded from Kubernetes %s to %s", from, to)
	if s.aksEmulator != nil {
		note += ", as far as Resource Manager says: the cluster behind it is the one of before"
	}
	s.run.note(note)
	if err := c.Health(ctx); err != nil {
		return err
	}
	_, err = subject.Preinstalled(s.installed.Namespace, subject.Options{}).Install(ctx, subject.Target{
		Cluster: s.cluster, Record: s.run.recordCreate, Removed: s.run.recordRemoved, Progress: s.run.observer.PhaseNote,
	})
	if err != nil {
		return fmt.Errorf("the subject after the upgrade: %w", err)
	}
	return nil
}
