package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
	"github.com/wi-e2e/wi-e2e/suites/waivers"
)

// maxEnded is how many pods may end during a test until it is taken for the cause.
const maxEnded = 2

// ShardOptions say which shard a pod is.
type ShardOptions struct {
	// Assignment is the directory with it.
	Assignment string
	Version    string
	// Number of the shard, from 1, and the name of the pod.
	Number int
	Pod    string
	// Log gets a line for each test.
	Log io.Writer
}

// RunShard executes those tests of a shard that have no result yet, in a pod of the cluster, and keeps what they come to where the
// controller finds it. An error means that some have none; what the tests came to is none.
func RunShard(ctx context.Context, options ShardOptions) error {
	a, err := incluster.LoadAssignment(options.Assignment)
	switch {
	case err != nil:
		return err
	case a.Version != options.Version:
		return fmt.Errorf("this is wi-e2e %s, and %s made the assignment, whose tests may be others", options.Version, a.Version)
	case options.Number > len(a.Tests):
		return fmt.Errorf("shard %d: there are %d", options.Number, len(a.Tests))
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("connect to the cluster of this pod: %w", err)
	}
	config.QPS = -1 // the API server's priority and fairness is the only limit
	p, err := newShardPod(ctx, a, options, config)
	if err != nil {
		return err
	}
	defer p.close()
	return p.execute(ctx)
}

// shardPod is a run without a road: what a controller has prepared is its stage.
type shardPod struct {
	*stage
	options    ShardOptions
	assignment *incluster.Assignment
	results    incluster.Results
	asked      *incluster.Asked

	mu      sync.Mutex
	looking map[string]string // by test, the namespace of the first attempt that did not pass
}

func newShardPod(ctx context.Context, a *incluster.Assignment, options ShardOptions, config *rest.Config) (*shardPod, error) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return nil, err
	}
	r := &run{
		config: Config{Repeat: a.Repeat, Strict: a.Strict, Seed: a.Run.Seed}, options: Options{Version: options.Version}, catalogue: catalogue,
		record: &reports.Record{Run: a.Run, Subject: a.Reported}, secrets: redact.FromEnvironment(),
	}
	if a.Waivers != nil {
		known := waivers.Known{Catalogue: catalogue, Tests: Tests(), Subjects: Subjects}
		if r.waivers, err = waivers.Parse(a.Waivers.Path, []byte(a.Waivers.Content), known); err != nil {
			return nil, err
		}
	}
	p := &shardPod{options: options, assignment: a, looking: map[string]string{}, asked: &incluster.Asked{}}
	config.Wrap(p.asked.Wrap)
	c := aroundPod{of: a.Cluster, config: config}
	p.stage = &stage{run: r, installed: &a.Subject, cluster: c}
	if len(a.Cluster.SigningKey) > 0 {
		p.cluster = withSigningKey{c}
	}
	p.env = &suites.Env{
		Cluster: p.cluster, Subject: &a.Subject, RunID: a.Run.ID, UserAgent: "wi-e2e/" + options.Version, Strict: a.Strict, Fuzz: a.Fuzz,
		MinimumSDKs: a.MinimumSDKs, Images: a.Images,
		// The controller removes them, when it has looked into those whose test did not pass. Their owner is in its ledger.
		KeepNamespaces: true, NamespaceOwner: &a.Owner, NotPassed: p.lookInto,
		Record: func(string, string, string) error { return nil },
	}
	if err := p.env.Connect(); err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(p.env.RESTConfig("shard"))
	if err != nil {
		return nil, err
	}
	p.results = incluster.Results{Kube: kube, Namespace: a.Namespace, Run: a.Run.ID}
	if err := p.standOn(ctx, a, config); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *shardPod) close() error {
	var errs []error
	if p.imds != nil {
		errs = append(errs, p.imds.Close())
	}
	if p.azure.emulator != nil {
		errs = append(errs, p.azure.emulator.Close())
	}
	return errors.Join(errs...)
}

// execute runs the tests tier by tier, as a run without shards does.
func (p *shardPod) execute(ctx context.Context) error {
	var tests []suites.Test
	all := Tests()
	for _, id := range p.assignment.Tests[p.options.Number-1] {
		i := slices.IndexFunc(all, func(t suites.Test) bool { return t.ID == id })
		if i < 0 {
			return fmt.Errorf("there is no test %s", id)
		}
		tests = append(tests, all[i])
	}
	slots := make(chan struct{}, p.assignment.ParallelCases)
	for _, tier := range suites.Tiers {
		group, together := errgroup.WithContext(ctx)
		group.SetLimit(p.assignment.Parallel[tier])
		for _, test := range tests {
			if test.Tier == tier {
				group.Go(func() error { return p.one(together, test, slots) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return p.results.KeepAsked(ctx, p.options.Number, p.options.Pod, p.asked)
}

// one executes a test unless it has its result, and keeps that.
func (p *shardPod) one(ctx context.Context, test suites.Test, slots chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	begun, err := p.results.Begin(ctx, p.options.Number, test.ID, p.options.Pod)
	if err != nil || begun.Done() {
		return err
	}
	outcome := incluster.Outcome{}
	if len(begun.Ended) < maxEnded {
		// Each beginning has attempts of its own: namespaces and identities of an earlier one are in an unknown state.
		before := len(begun.Ended) * int(attemptsOfBeginning(p.run.config))
		outcome.Test = suites.Repeat(ctx, max(1, p.assignment.Repeat), func(ctx context.Context, n int) reports.Test {
			return p.attempt(ctx, test, before+n, slots)
		})
		p.mu.Lock()
		outcome.Namespace = p.looking[test.ID]
		p.mu.Unlock()
	} else {
		outcome.Test = broken(test, fmt.Sprintf("%d pods ended while it ran (%s): it may be what ends them", len(begun.Ended), strings.Join(begun.Ended, ", ")))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // what the interruption broke in the test is no result of it
	}
	outcome.Test = redact.Copy(p.run.secrets, outcome.Test) // whoever may read the namespace is told no token
	err = p.results.Finish(ctx, begun, outcome)
	if errors.Is(err, incluster.ErrTooLarge) {
		outcome.Test = broken(test, fmt.Sprintf("it came to %s, but %v", outcome.Test.Status, err))
		err = p.results.Finish(ctx, begun, outcome)
	}
	fmt.Fprintf(p.options.Log, "%s %s\n", outcome.Test.Status, test.ID)
	return err
}

// broken is the result of a test that could not be executed, or whose result is lost.
func broken(test suites.Test, why string) reports.Test {
	return reports.Test{
		ID: test.ID, Title: test.Title, Tier: string(test.Tier), Requirements: test.Requirements, Status: reports.Error, Started: time.Now().UTC(),
		Findings: []reports.Finding{{Status: reports.Error, Message: why}},
	}
}

// lookInto notes the namespace of an attempt that did not pass. The controller collects what is there.
func (p *shardPod) lookInto(_ context.Context, result *reports.Test, namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	test, _, _ := strings.Cut(result.ID, attemptInfix)
	if p.looking[test] == "" {
		p.looking[test] = namespace
	}
}

// aroundPod is the cluster that this pod is one of.
type aroundPod struct {
	of     incluster.Cluster
	config *rest.Config
}

var _ cluster.Cluster = aroundPod{}

func (c aroundPod) Name() string                      { return c.of.Name }
func (c aroundPod) Provider() string                  { return c.of.Provider }
func (c aroundPod) Kubeconfig() string                { return "" } // a pod has none
func (c aroundPod) RESTConfig() (*rest.Config, error) { return rest.CopyConfig(c.config), nil }
func (c aroundPod) Issuer() string                    { return c.of.Issuer }

var errNotAPods = errors.New("that takes the nodes, which a pod has no access to")

func (c aroundPod) LoadImages(context.Context, map[string]v1.Image) error { return errNotAPods }
func (c aroundPod) LoadImageArchive(context.Context, string) error        { return errNotAPods }
func (c aroundPod) ExportLogs(context.Context, string) error              { return errNotAPods }
func (c aroundPod) Health(context.Context) error                          { return nil } // the controller asks

// withSigningKey is a cluster whose signing key tests may forge tokens with. It changes only in tests that run alone, which are not a shard's.
type withSigningKey struct{ aroundPod }

var _ cluster.SigningKeyRotator = withSigningKey{}

func (c withSigningKey) ServiceAccountKey() ([]byte, error) { return c.of.SigningKey, nil }

func (c withSigningKey) SetServiceAccountKeys(context.Context, []byte, ...[]byte) error {
	return errors.New("signing keys are changed by tests that run alone, and not in a shard")
}
