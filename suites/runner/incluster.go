package runner

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
)

// shardSlack is added to the longest that a shard's tests may take: pods are started and replaced.
const shardSlack = 30 * time.Minute

func (c *Config) validateInCluster() error {
	switch {
	case !c.InCluster && c.Shards != 0:
		return usage("shards are pods of the cluster: --shards N goes with --in-cluster")
	case !c.InCluster:
		return nil
	case c.Shards < 1:
		return usage("a run in the cluster takes a number of shards: --in-cluster --shards 3")
	case c.Shard != "":
		return usage("a run in the cluster has all shards, and --shard is one of them: leave one of them out")
	case c.Azure.Mode == realAzure:
		return usage("a run in the cluster takes the emulated Azure: pods have no credential of yours for the real one")
	case !c.ownNodes() && c.Image == "" && c.Workloads.Repository == "":
		return usage("the shards are pods of the wi-e2e image, which cannot be put on a cluster that is not ours: name one that it can pull (--image), " +
			"or a repository to push it to (--image-repository)")
	}
	return nil
}

// inCluster has shards execute those tests of the plan that can run beside others, and returns the plan of the rest.
func (s *stage) inCluster(ctx context.Context, plan *suites.Plan) (rest *suites.Plan, err error) {
	r := s.run
	if r.resumed == nil {
		if err := s.beginInCluster(ctx, plan); err != nil {
			return nil, err
		}
	}
	if err := s.followShards(ctx); err != nil {
		return nil, err
	}
	// The skipped tests are the controller's to tell.
	var mine []suites.Test
	for _, p := range plan.Tests {
		if !slices.ContainsFunc(slices.Concat(s.divided...), func(t suites.Test) bool { return t.ID == p.Test.ID }) {
			mine = append(mine, p.Test)
		}
	}
	return plan.Of(mine), nil
}

// beginInCluster divides the plan, and has the shards begin.
func (s *stage) beginInCluster(ctx context.Context, plan *suites.Plan) error {
	r := s.run
	err := r.phase(ctx, "divide", func(context.Context) error {
		if r.record.Cluster.Nodes == 0 {
			return fmt.Errorf("the shards are pods, and cluster %s has no node for them", s.cluster.Name())
		}
		durations, err := r.config.durations()
		if err != nil {
			return err
		}
		var left []suites.Test
		s.divided, left, err = incluster.Divide(plan, r.config.Shards, durations)
		if err == nil {
			r.note(fmt.Sprintf("%d tests in %d shards, %d in this process", len(slices.Concat(s.divided...)), len(s.divided), len(left)))
		}
		return err
	})
	if err != nil {
		return err
	}
	var theirs []suites.Planned
	for _, t := range slices.Concat(s.divided...) {
		theirs = append(theirs, suites.Planned{Test: t})
	}
	if slices.ContainsFunc(theirs, func(p suites.Planned) bool { return len(p.Test.Trust) > 0 }) {
		if err := r.phase(ctx, "propagation", func(ctx context.Context) error { return s.awaitPropagation(ctx, theirs) }); err != nil {
			return err
		}
	}
	return r.phase(ctx, "start shards", func(ctx context.Context) error { return s.startShards(ctx, s.divided) })
}

func (s *stage) startShards(ctx context.Context, divided [][]suites.Test) error {
	r := s.run
	image, err := s.provideSelf(ctx)
	if err != nil {
		return err
	}
	assignment, err := s.assignment(divided)
	if err != nil {
		return err
	}
	if s.shards, err = s.shardsApplier(); err != nil {
		return err
	}
	for _, t := range slices.Concat(divided...) {
		s.env.Adopt(t.ID)
	}
	if !r.config.publishesIssuer() && !r.config.usesAKS() { // whose emulated Resource Manager, or publication, ends with this process
		if err := s.keepInTheCluster(assignment); err != nil {
			return err
		}
	}
	r.note(fmt.Sprintf("namespace %s, image %s", assignment.Namespace, image))
	return incluster.Start(ctx, s.shards, assignment, image)
}

func (s *stage) shardsApplier() (*objects.Applier, error) {
	clients, err := objects.New(s.cluster, "shards")
	if err != nil {
		return nil, err
	}
	r := s.run
	return &objects.Applier{Clients: clients, Record: r.recordCreate, Removed: r.recordRemoved, Progress: r.observer.PhaseNote}, nil
}

// assignment is what the shards have to know of the stage.
func (s *stage) assignment(divided [][]suites.Test) (*incluster.Assignment, error) {
	r := s.run
	a := &incluster.Assignment{
		Version: r.options.Version, Run: r.record.Run, Repeat: r.config.Repeat, Strict: r.config.Strict, Fuzz: s.env.Fuzz, MinimumSDKs: s.env.MinimumSDKs,
		Images: s.env.Images, Subject: *s.installed, Reported: r.record.Subject, Namespace: incluster.NamespaceOf(r.record.Run.ID),
		Cluster:  incluster.Cluster{Name: s.cluster.Name(), Provider: s.cluster.Provider(), Issuer: s.cluster.Issuer()},
		Parallel: map[suites.Tier]int{},
	}
	a.Subject.Archives = nil // they are on the cluster
	for _, tier := range suites.Tiers {
		a.Parallel[tier] = share(parallel(tier), len(divided), r.record.Cluster.Nodes)
	}
	a.ParallelCases = share(parallelCases, len(divided), r.record.Cluster.Nodes)
	for _, tests := range divided {
		var ids []string
		longest := shardSlack
		for _, t := range tests {
			ids = append(ids, t.ID)
			longest += attemptsOfBeginning(r.config) * cmp.Or(t.Timeout, suites.DefaultTimeout)
		}
		a.Tests = append(a.Tests, ids)
		a.Limit = max(a.Limit, longest)
	}
	if rotator, ok := s.cluster.(cluster.SigningKeyRotator); ok {
		var err error
		if a.Cluster.SigningKey, err = rotator.ServiceAccountKey(); err != nil {
			return nil, err
		}
	}
	if file := r.config.Waivers.File; file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the waivers: %w", err)
		}
		a.Waivers = &incluster.Waivers{Path: file, Content: string(content)}
	}
	if az := s.env.Azure; az != nil {
		a.Azure = &incluster.Azure{
			Emulator: emulated.RunNamespace, Vault: az.Vault, Secret: az.Secret, SecretSHA256: az.SecretSHA256, Budget: az.Propagation.Budget,
			Trusted: trustedOf(az), PublishedIssuer: s.env.RelyingParty != nil,
		}
	}
	if s.imds != nil {
		a.IMDS = s.imds.Nodes()
	}
	return a, nil
}

// share is what one of the shards may run at a time of what one process may on one machine.
func share(atATime, shards, nodes int) int {
	return max(1, (atATime*min(nodes, shards)+shards-1)/shards)
}

// attemptsOfBeginning is how often a test is executed at most each time it begins: what broke is tried once more.
func attemptsOfBeginning(c Config) time.Duration { return time.Duration(2 * max(1, c.Repeat)) }

// trustedOf are all identities: a controller that goes on with the run has tests to execute as well.
func trustedOf(a *suites.Azure) []incluster.Trusted {
	var all []incluster.Trusted
	for trust, identity := range a.Trusted {
		all = append(all, incluster.Trusted{Trust: trust, Identity: identity})
	}
	return all
}

// followShards returns when the shards have ended, with what their tests came to in the record.
func (s *stage) followShards(ctx context.Context) error {
	r := s.run
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("shards"))
	if err != nil {
		return err
	}
	c := &collection{stage: s, kube: kube, divided: s.divided}
	for i, tests := range s.divided {
		r.observer.TierStarted(c.line(i+1), len(tests))
		defer r.observer.TierFinished(c.line(i + 1))
	}
	return r.phase(ctx, "shards", func(ctx context.Context) error {
		results := incluster.Results{Kube: kube, Namespace: incluster.NamespaceOf(r.record.Run.ID), Run: r.record.Run.ID}
		if err := results.Follow(ctx, c); err != nil {
			return err
		}
		unused, of, err := results.Unused(ctx)
		if err == nil {
			r.note(fmt.Sprintf("the shards made use of %d of the %d rights of their cluster role%s", of-len(unused), of, butNot(unused)))
		}
		return err
	})
}

// butNot names rights that were not used.
func butNot(unused []string) string {
	if len(unused) == 0 {
		return ""
	}
	return ", and not of: " + strings.Join(unused, ", ")
}

// collection takes the results of the shards over into the record.
type collection struct {
	stage   *stage
	kube    kubernetes.Interface
	divided [][]suites.Test
}

var _ incluster.Observer = (*collection)(nil)

// line is the progress of a shard.
func (c *collection) line(shard int) string { return fmt.Sprintf("shard %d/%d", shard, len(c.divided)) }

// Note implements incluster.Observer.
func (c *collection) Note(text string) { c.stage.run.note(text) }

// Result implements incluster.Observer. A result counts if the test is the shard's; the record has one for each.
func (c *collection) Result(ctx context.Context, begun incluster.Begun, outcome incluster.Outcome) error {
	r, result := c.stage.run, outcome.Test
	of := func(t suites.Test) bool { return t.ID == result.ID }
	if begun.Shard < 1 || begun.Shard > len(c.divided) || !slices.ContainsFunc(c.divided[begun.Shard-1], of) {
		return fmt.Errorf("shard %d has a result of test %s, which is not one of its tests", begun.Shard, result.ID)
	}
	if slices.ContainsFunc(r.record.Tests, func(t reports.Test) bool { return t.ID == result.ID }) {
		return fmt.Errorf("test %s has two results", result.ID)
	}
	if len(begun.Ended) > 0 {
		result.Notes = append(result.Notes, "begun anew: it had no result when these pods ended: "+strings.Join(begun.Ended, ", "))
	}
	result.Rerun = r.options.Rerun(result.ID)
	if outcome.Namespace != "" {
		c.stage.keepBundle(ctx, &result, outcome.Namespace)
	}
	r.record.Tests = append(r.record.Tests, result)
	shown := result
	shown.Tier = c.line(begun.Shard)
	r.observer.TestFinished(shown)
	return c.removeNamespaces(ctx, result.ID)
}

// removeNamespaces asks for the deletion of what the attempts of a test were made in: what many tests made would fill the nodes.
func (c *collection) removeNamespaces(ctx context.Context, test string) error {
	r := c.stage.run
	if r.keepNamespaces() {
		return nil
	}
	namespaces := c.kube.CoreV1().Namespaces()
	list, err := namespaces.List(ctx, metav1.ListOptions{LabelSelector: suites.RunLabel + "=" + r.record.Run.ID})
	if err != nil {
		return fmt.Errorf("list the namespaces of test %s: %w", test, err)
	}
	for _, ns := range list.Items {
		if of := ns.Labels[suites.TestLabel]; of == test || strings.HasPrefix(of, test+attemptInfix) {
			// An error is not lost: the clean-up deletes and waits for every namespace that is still there.
			_ = namespaces.Delete(ctx, ns.Name, metav1.DeleteOptions{})
		}
	}
	return nil
}

// removeShards removes the shards, and with them all that they made and did not remove.
func (s *stage) removeShards(ctx context.Context) error {
	if s.shards == nil || s.run.ownCluster {
		return nil
	}
	return s.shards.Remove(ctx)
}

// inPlansOrder puts the results into the order that a run without shards has them in.
func inPlansOrder(tests []reports.Test, plan *suites.Plan) {
	place := map[string]int{}
	for i, p := range plan.Tests {
		place[p.Test.ID] = i
	}
	slices.SortStableFunc(tests, func(a, b reports.Test) int { return cmp.Compare(place[a.ID], place[b.ID]) })
}
