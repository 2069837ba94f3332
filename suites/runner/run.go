package runner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/html"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/bundle"
	"github.com/wi-e2e/wi-e2e/suites/waivers"
)

// Names of the reports in the output directory.
const (
	RecordFile = "record.json"
	JUnitFile  = "junit.xml"
	HTMLFile   = "report.html"
	LogsDir    = "cluster-logs"
	BundleDir  = "bundle"
)

// Bounds of the removal of what a run made, also of an interrupted one. Azure takes minutes to delete a resource group.
const (
	cleanUpBudget     = 2 * time.Minute
	realCleanUpBudget = 15 * time.Minute
)

// Options are what a run needs beside its configuration.
type Options struct {
	Version  string
	Command  []string
	Observer reports.Observer
	// Rerun is the command that repeats one test of this run.
	Rerun func(test string) string
	// Change puts a fault into the manifests of the reference, for the proof of the tests; nil leaves them alone.
	Change func(manifests []*unstructured.Unstructured) error
	// Build makes the images of workloads; nil means workloads.Build.
	Build func(ctx context.Context, name string, versions workloads.Versions, progress func(note string)) (img v1.Image, ref string, err error)
}

// run is a run on its road.
type run struct {
	config    Config
	options   Options
	observer  reports.Observer
	catalogue []suites.Requirement
	output    string
	waivers   *waivers.Waivers // nil without
	record    *reports.Record
	secrets   *redact.Redactor // withholds the run's from all that it writes
	scratch   string           // see makeScratch
	ledger    *ledger.Ledger
	current   *reports.Phase

	where       string // names the cluster in the ledger: provider/name, or kubeconfig and context
	interrupted bool
	leaked      []string // what the clean-up left behind
	ownCluster  bool     // the run made the cluster, so everything on it goes with it
	// interruptedSoak is the one that goes on; nil for a new one.
	interruptedSoak *checkpoint
	resumed         *inTheCluster // what a killed process left of the run; nil for a new one
}

// Run does what the configuration asks for and returns its record, which is also written to the
// output directory. An error is a UsageError, or says that the disk has no room for the reports: nothing was begun and there is no record. Everything else that goes wrong is in the
// record and its verdict. When ctx ends the run cleans up and returns.
func Run(ctx context.Context, config Config, options Options) (*reports.Record, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	catalogue, err := suites.Catalogue()
	if err != nil {
		return nil, err
	}
	selected, part, err := config.selectTests(catalogue)
	if err != nil {
		return nil, err
	}
	interrupted, err := config.prepareSoak()
	if err != nil {
		return nil, err
	}
	var known *waivers.Waivers
	if file := config.Waivers.File; file != "" {
		if known, err = waivers.Load(file, waivers.Known{Catalogue: catalogue, Tests: Tests(), Subjects: Subjects}); err != nil {
			return nil, &UsageError{err}
		}
	}
	output, err := config.prepareOutput()
	if err != nil {
		return nil, err
	}
	id, err := NewID()
	if err != nil {
		return nil, err
	}
	if config.Seed == 0 {
		if config.Seed, err = newSeed(); err != nil {
			return nil, err
		}
	}
	r := &run{
		config: config, options: options, observer: options.Observer, catalogue: catalogue, waivers: known, output: output,
		secrets: redact.FromEnvironment(), interruptedSoak: interrupted,
		record: &reports.Record{
			APIVersion: reports.APIVersion, Kind: reports.Kind,
			Run: reports.Run{ID: id, Version: options.Version, Command: options.Command, Seed: config.Seed, Started: time.Now().UTC()},
		},
	}
	if config.Shard != "" {
		r.record.Run.Shard = shardOf(config, selected)
	}
	if r.options.Build == nil {
		r.options.Build = workloads.Build
	}
	facts := []string{
		fmt.Sprintf("wi-e2e %s, run %s, seed %d", options.Version, id, config.Seed),
		fmt.Sprintf("%d tests selected%s, reports go to %s", len(selected), ofShard(config, part), output),
	}
	if config.usesAKS() {
		facts = append(facts, config.Cluster.AKS.cost())
	}
	r.observer.RunStarted(facts...)
	r.walk(ctx, selected, part)
	return r.record, nil
}

// walk goes down the road with a part of the selected tests. A phase that breaks ends it, except for the clean-up and the record.
func (r *run) walk(ctx context.Context, selected, part []suites.Test) {
	dir, err := ledger.Dir()
	if err == nil {
		r.ledger, err = ledger.Open(dir, r.record.Run.ID)
	}
	if err == nil {
		err = r.makeScratch()
	}
	if err != nil {
		if r.ledger != nil {
			err = errors.Join(err, r.ledger.Close())
		}
		r.broken("ledger", err)
		r.finish(ctx)
		return
	}

	underTest := r.config.subject(r.options.Change)
	s := &stage{run: r, subject: underTest, previous: r.config.previous()}
	s.bundles = bundle.NewWriter(filepath.Join(r.output, BundleDir), bundle.MaxFile, bundle.MaxAll, r.secrets)
	ctx, stop := r.config.withinBudget(ctx)
	defer stop()
	var plan *suites.Plan
	if r.resumed != nil {
		plan, err = s.resume(ctx, selected)
	} else {
		plan, err = s.prepare(ctx, selected, part)
	}
	remaining := plan
	if err == nil && r.config.InCluster {
		remaining, err = s.inCluster(ctx, plan)
	}
	if err == nil {
		r.runTests(ctx, s, remaining)
		if err := s.endSoak(); err != nil {
			r.broken("checkpoint", err)
		}
		inPlansOrder(r.record.Tests, plan)
		if ctx.Err() == nil {
			_ = r.phase(ctx, "cluster health", s.cluster.Health)
		}
		if ctx.Err() == nil && r.config.Cluster.AKS.Upgrade {
			_ = r.phase(ctx, "upgrade", s.upgrade)
		}
	}
	if plan != nil && r.waivers != nil {
		r.judgeWaivers()
	}
	if plan != nil {
		guardAgainstVacuity(r.record, plan, r.catalogue)
		namePrograms(r.record, plan, workloads.All())
	}
	r.finish(ctx) // the record is on the disk before the clean-up, which may be killed

	if s.provider != nil {
		budget := cleanUpBudget
		if s.mode() == realAzure {
			budget = realCleanUpBudget
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
		defer cancel()
		if r.record.Verdict.Status == reports.Error || r.record.Verdict.Status == reports.Fail {
			s.exportLogs(ctx)
		}
		s.cleanUp(ctx)
	}
	if err := s.closeAKS(); err != nil {
		r.broken("emulated Azure", err)
	}
	if err := r.removeScratch(); err != nil {
		r.broken("logs", err)
	}
	if r.config.InCluster {
		if err := r.forgetInTheCluster(); err != nil {
			r.broken("resume", err)
		}
	}
	if !r.config.Cluster.Keep {
		for _, e := range r.ledger.Outstanding() {
			r.leaked = append(r.leaked, strings.TrimPrefix(e.Namespace+"/", "/")+e.Name)
		}
	}
	if err := r.ledger.Close(); err != nil {
		r.broken("ledger", err)
	}
	r.finish(ctx)
}

// prepare goes down the road as far as the tests, and returns their plan as soon as there is one.
func (s *stage) prepare(ctx context.Context, selected, part []suites.Test) (plan *suites.Plan, err error) {
	r := s.run
	err = r.phase(ctx, "check input", func(ctx context.Context) error {
		var err error
		if r.config.usesAKS() {
			s.provider, s.why, err = s.openAKS(ctx)
		} else {
			s.provider, s.why, err = r.config.provider(ctx)
		}
		if err != nil {
			return err
		}
		r.note("cluster: " + s.provider.Name() + ", " + s.why)
		r.note("subject: " + s.subject.Kind())
		if err := s.checkAzure(ctx, part); err != nil {
			return err
		}
		if s.previous != nil && needs(part, suites.PreviousVersion) {
			if err := s.previous.Prepare(ctx); err != nil {
				return fmt.Errorf("the version to upgrade from: %w", err)
			}
		}
		return s.subject.Prepare(ctx)
	})
	if err == nil && r.config.publishesIssuer() {
		err = r.phase(ctx, "issuer", s.chooseIssuer)
	}
	if err == nil {
		err = r.phase(ctx, "cluster", s.bringUp)
	}
	if err == nil {
		err = r.phase(ctx, "subject", s.install)
	}
	if err == nil {
		err = r.phase(ctx, "doctor", s.seeDoctor)
	}
	if err == nil {
		err = r.phase(ctx, "plan", func(ctx context.Context) error {
			facts := factsOf(r.config, s.cluster, s.installed, r.record.Cluster)
			facts.Capabilities = append(facts.Capabilities, s.windows...)
			facts.Capabilities = append(facts.Capabilities, s.windowsToCome()...)
			if needs(selected, suites.ProxyImage) {
				if err := s.findProxy(ctx, &facts); err != nil {
					return err
				}
			}
			var err error
			for _, c := range facts.Capabilities {
				r.record.Cluster.Capabilities = append(r.record.Cluster.Capabilities, string(c))
			}
			// The whole is planned: a shard may have nothing to run, all of them together have to.
			s.facts = facts
			plan, err = suites.NewPlan(selected, r.catalogue, facts, r.record.Run.Seed)
			plan = plan.Of(part)
			return err
		})
	}
	if err == nil && (planNeeds(plan, suites.AzureAvailable) || r.config.publishesIssuer()) {
		err = r.phase(ctx, "azure", func(ctx context.Context) error { return s.bringUpAzure(ctx, plan) })
	}
	if err == nil && len(neededImages(plan)) > 0 {
		err = r.phase(ctx, "images", func(ctx context.Context) error { return s.provideImages(ctx, neededImages(plan)) })
	}
	if err == nil && s.proxy != nil && planNeeds(plan, suites.ProxyImage) {
		err = r.phase(ctx, "proxy image", s.trustingProxy)
	}
	if err == nil && planNeeds(plan, suites.EmulatedIMDS) {
		err = r.phase(ctx, "imds", s.deployIMDS)
	}
	return plan, err
}

// phase runs one step of the road and records how it went.
func (r *run) phase(ctx context.Context, name string, body func(context.Context) error) error {
	r.record.Phases = append(r.record.Phases, reports.Phase{Name: name, Status: reports.Pass, Started: time.Now().UTC()})
	p := &r.record.Phases[len(r.record.Phases)-1]
	r.current = p
	defer func() { r.current = nil }()
	cpu := reports.CPUSeconds()
	r.observer.PhaseStarted(name)
	err := context.Cause(ctx)
	if err == nil {
		err = body(ctx)
	}
	p.Seconds, p.CPUSeconds = time.Since(p.Started).Seconds(), reports.CPUSeconds()-cpu
	if err != nil {
		p.Status, p.Message = reports.Error, err.Error()
	}
	r.observer.PhaseFinished(*p)
	return err
}

// broken records a phase that had no time to begin.
func (r *run) broken(name string, err error) {
	_ = r.phase(context.Background(), name, func(context.Context) error { return err })
}

// note keeps a fact about the current phase.
func (r *run) note(text string) {
	r.current.Notes = append(r.current.Notes, text)
	r.observer.PhaseNote(text)
}

// finish judges and saves the record.
func (r *run) finish(ctx context.Context) {
	r.interrupted = r.interrupted || errors.Is(ctx.Err(), context.Canceled)
	r.record.Verdict = r.record.Judge(r.interrupted, r.leaked)
	*r.record = *r.record.Withhold(r.secrets)
	r.save()
}

// save writes the reports. A report that cannot be written is an error of the run, told on every way that is left.
func (r *run) save() {
	r.record.Run.Finished = time.Now().UTC()
	r.record.Run.Seconds = r.record.Run.Finished.Sub(r.record.Run.Started).Seconds()
	r.record.Count()
	err := errors.Join(
		os.MkdirAll(r.output, 0o755), // somebody may have removed it
		giveRoom(r.output),
		r.record.Save(filepath.Join(r.output, RecordFile)),
		reports.WriteJUnit(filepath.Join(r.output, JUnitFile), r.record),
		html.Write(filepath.Join(r.output, HTMLFile), r.record),
	)
	if err != nil {
		r.record.Phases = append(r.record.Phases, reports.Phase{
			Name: "reports", Status: reports.Error, Started: time.Now().UTC(), Message: err.Error(),
		})
		r.record.Verdict = r.record.Judge(r.interrupted, r.leaked)
	}
}

// stage is what the tests stand on, while it is being set up.
type stage struct {
	run       *run
	provider  cluster.Provider
	why       string
	cluster   cluster.Cluster
	subject   subject.Subject
	previous  subject.Subject // nil without a version before it
	bundles   *bundle.Writer
	started   bool // the subject's installation was begun
	installed *subject.Installed
	windows   []suites.Capability // that its nodes with Windows are
	self      namedImage          // of the running binary, once somebody has asked for it
	env       *suites.Env
	azure     azureStage
	proxy     *proxyImage // nil unless it is to be made to trust the emulator
	imds      *imds.IMDS
	// aksEmulator is the Azure that emulated clusters of AKS are made in.
	aksEmulator *emulated.Emulator
	// imdsApplier made imds.
	imdsApplier *objects.Applier
	// shards made those of a run in the cluster; nil without.
	shards *objects.Applier
	// divided are the tests of each shard; facts those of the plan, which a run that is resumed has anew.
	divided [][]suites.Test
	facts   suites.Facts
	// before are the attempts of a test that a killed process may have made.
	before int
}

// bringUp makes or finds the cluster.
func (s *stage) bringUp(ctx context.Context) error {
	r, c := s.run, s.run.config.Cluster
	r.record.Cluster.Provider = s.provider.Name()
	var err error
	switch {
	case c.Name != "" || r.config.usesExisting():
		s.cluster, err = s.provider.Get(ctx, c.Name)
	case c.Reuse:
		// It is not the run's own: what the run puts on it is removed, and it stays.
		s.cluster, err = s.provider.(*kind.Provider).Reuse(ctx, cluster.Spec{KubernetesVersion: c.KubernetesVersion, Progress: r.observer.PhaseNote})
	default:
		name := "run-" + r.record.Run.ID
		r.record.Cluster.Name, r.where = name, s.provider.Name()+"/"+name
		if err := r.ledger.Create(r.entry("Cluster", "", name)); err != nil {
			return err
		}
		r.ownCluster = true
		s.cluster, err = s.provider.Create(ctx, cluster.Spec{
			Name: name, KubernetesVersion: c.KubernetesVersion, Issuer: s.azure.issuer,
			Logs: r.rawLogs(), Progress: r.observer.PhaseNote,
		})
		if err != nil {
			// Create has removed what it made.
			return errors.Join(err, r.ledger.Removed(r.entry("Cluster", "", name)))
		}
	}
	if err != nil {
		return r.interruptedSoak.gone(err)
	}
	if err := s.describe(ctx); err != nil || r.interruptedSoak == nil {
		return err
	}
	return s.takeOver(ctx, r.interruptedSoak)
}

// describe records what the cluster is.
func (s *stage) describe(ctx context.Context) error {
	r := s.run
	r.where = s.provider.Name() + "/" + s.cluster.Name()
	if r.config.usesExisting() {
		r.where = s.cluster.Kubeconfig() + "#" + s.cluster.Name()
	}
	s.env = &suites.Env{
		Cluster: s.cluster, RunID: r.record.Run.ID, UserAgent: "wi-e2e/" + r.options.Version, Strict: r.config.Strict,
		Fuzz:      suites.Fuzz{Seed: r.config.Seed, Pods: r.config.FuzzPods},
		NotPassed: s.keepBundle,
		Record:    r.recordCreate, KeepNamespaces: r.keepNamespaces(), MinimumSDKs: r.config.Workloads.SDKVersions == workloads.Minimum,
	}
	if r.config.Azure.Mode == realAzure {
		s.env.RelyingParty = onTheInternet()
	}
	if err := s.env.Connect(); err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("cluster"))
	if err != nil {
		return err
	}
	version, err := kube.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("read the version of cluster %s: %w", s.cluster.Name(), err)
	}
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes of cluster %s: %w", s.cluster.Name(), err)
	}
	usable := slices.DeleteFunc(nodes.Items, func(node corev1.Node) bool { return pods.IsVirtual(&node) })
	s.windows = windowsNodes(usable)
	rc := &r.record.Cluster
	rc.Name, rc.Kubernetes, rc.Nodes, rc.Issuer = s.cluster.Name(), version.GitVersion, len(usable), s.cluster.Issuer()
	r.note(fmt.Sprintf("Kubernetes %s, nodes: %d", version.GitVersion, len(usable)))
	return nil
}

// keepNamespaces says whether what a test made stays until the run ends: where it is wanted, or goes with the cluster. What
// many attempts made would fill the node.
func (r *run) keepNamespaces() bool {
	return r.config.Cluster.Keep || r.ownCluster && r.config.Repeat <= 1
}

// install puts the subject on the cluster.
func (s *stage) install(ctx context.Context) error {
	r := s.run
	r.record.Subject.Kind = s.subject.Kind()
	s.started = true
	in, err := s.subject.Install(ctx, s.target())
	if err != nil {
		return err
	}
	s.found(in)
	if s.previous != nil {
		s.env.Downgrade = func(ctx context.Context) (*subject.Installed, error) { return s.previous.Upgrade(ctx, s.target()) }
		s.env.Upgrade = s.upgradeSubject
	}
	rs := &r.record.Subject
	rs.Namespace, rs.Version, rs.Profile, rs.ProfileBy = in.Namespace, in.Version, in.Profile.String(), in.ProfileBy
	for _, image := range in.Images {
		rs.Images = append(rs.Images, reports.Image{Name: image.Name, Digest: image.Digest})
	}
	r.note(fmt.Sprintf("profile %s (by %s)", in.Profile, in.ProfileBy))
	return nil
}

func (s *stage) target() subject.Target {
	return subject.Target{
		Cluster: s.cluster, Record: s.run.recordCreate, Removed: s.run.recordRemoved, Progress: s.run.observer.PhaseNote, Run: s.run.record.Run.ID,
		Scratch: s.run.scratch,
	}
}

// found keeps what the installation is, which an upgrade may change.
func (s *stage) found(in *subject.Installed) {
	if in.CustomTokenEndpoint == nil {
		in.CustomTokenEndpoint = s.run.config.Subject.CustomTokenEndpoint
	}
	s.installed, s.env.Subject = in, in
}

func (s *stage) upgradeSubject(ctx context.Context) (*subject.Installed, error) {
	in, err := s.subject.Upgrade(ctx, s.target())
	if err == nil {
		s.found(in)
	}
	return in, err
}

// exportLogs keeps what the cluster's components and pods said, for a run that did not pass. A cluster that could not be made has left its own.
func (s *stage) exportLogs(ctx context.Context) {
	r := s.run
	if r.config.usesExisting() {
		return
	}
	_ = r.phase(ctx, "logs", func(ctx context.Context) error {
		var err error
		if s.cluster != nil {
			err = s.cluster.ExportLogs(ctx, r.rawLogs())
		}
		return errors.Join(err, withhold(r.rawLogs(), filepath.Join(r.output, LogsDir), r.secrets))
	})
}

// makeScratch makes a directory that is nobody else's to read: for logs that secrets have not been withheld from, and what is needed for a
// moment.
func (r *run) makeScratch() error {
	r.scratch = filepath.Join(os.TempDir(), "wi-e2e-run-"+r.record.Run.ID)
	if err := r.ledger.Create(ownFile(r.scratch)); err != nil {
		return err
	}
	if r.resumed != nil { // what the killed process had there
		if err := os.RemoveAll(r.scratch); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir(r.scratch, 0o700), os.Mkdir(r.rawLogs(), 0o700)); err != nil {
		return fmt.Errorf("make a directory of the run's own: %w", err)
	}
	return nil
}

// rawLogs is where cluster logs are before secrets are withheld from them.
func (r *run) rawLogs() string { return filepath.Join(r.scratch, "logs") }

func (r *run) removeScratch() error {
	if err := os.RemoveAll(r.scratch); err != nil {
		return fmt.Errorf("remove the directory of the run's own: %w", err)
	}
	return r.ledger.Removed(ownFile(r.scratch))
}

// ownFile is the ledger's entry for a file or directory that the run has while it lasts.
func ownFile(path string) ledger.Entry {
	return ledger.Entry{Kind: ledger.File, Cluster: ledger.ThisMachine, Name: path}
}

// cleanUp removes what the run made: the whole cluster, or the subject and the namespaces on a cluster that stays.
func (s *stage) cleanUp(ctx context.Context) {
	r := s.run
	if r.config.Cluster.Keep || s.cluster == nil && s.azure.made == nil {
		return
	}
	_ = r.phase(ctx, "clean-up", func(ctx context.Context) error {
		// Azure first, while the emulator is there to be asked.
		left := errors.Join(s.removeAzure(ctx), s.removeIMDS(ctx), s.removeShards(ctx))
		if s.cluster == nil {
			return left
		}
		if !r.ownCluster {
			return errors.Join(left, s.env.RemoveNamespaces(ctx, r.recordRemoved), s.uninstall(ctx))
		}
		name := s.cluster.Name()
		if err := s.provider.Delete(ctx, name); err != nil {
			return errors.Join(left, fmt.Errorf("delete cluster %s: %w", name, err))
		}
		return errors.Join(left, r.ledger.Removed(r.entry("Cluster", "", name)))
	})
}

func (s *stage) uninstall(ctx context.Context) error {
	if !s.started {
		return nil
	}
	err := s.subject.Uninstall(ctx)
	if s.previous != nil {
		err = errors.Join(err, s.previous.Uninstall(ctx))
	}
	return err
}

// entry identifies an object for the ledger, so that another process can find it.
func (r *run) entry(kind, namespace, name string) ledger.Entry {
	return ledger.Entry{Kind: kind, Cluster: r.where, Namespace: namespace, Name: name}
}

// recordCreate writes into the ledger what is about to be created, unless it goes with a cluster that is in it.
func (r *run) recordCreate(kind, namespace, name string) error {
	if r.ownCluster {
		return nil
	}
	return r.ledger.Create(r.entry(kind, namespace, name))
}

// recordRemoved writes into the ledger what was removed.
func (r *run) recordRemoved(kind, namespace, name string) error {
	if r.ownCluster {
		return nil
	}
	return r.ledger.Removed(r.entry(kind, namespace, name))
}

// NewID draws the ID of a run, or of a cluster that is made for one.
func NewID() (string, error) {
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("draw a run id: %w", err)
	}
	return hex.EncodeToString(b), nil
}

func newSeed() (int64, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return 0, fmt.Errorf("draw a seed: %w", err)
	}
	return n.Int64() + 1, nil
}
