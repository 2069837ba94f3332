package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/fixtures/statedir"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
	"github.com/wi-e2e/wi-e2e/suites/waivers"
)

// inTheCluster is what is kept of a run in the cluster while its shards are at work, beside its ledger: another process can go on with it.
type inTheCluster struct {
	Config     Config
	Record     *reports.Record // as far as it goes
	Facts      suites.Facts
	Assignment *incluster.Assignment
	// Where is the cluster's name in the ledger. OwnCluster goes with the run.
	Where      string
	OwnCluster bool
	// Secret is the value that the workloads read.
	Secret string
	// Resumed is how often another process went on with the run.
	Resumed int
}

// Resume goes on with a run in the cluster whose process was killed: it collects the results of the shards, which did not notice,
// executes what is left, and cleans up. The configuration is that of the run.
func Resume(ctx context.Context, id string, options Options) (*reports.Record, Config, error) {
	kept, err := loadInTheCluster(id)
	if err != nil {
		return nil, Config{}, &UsageError{err}
	}
	if kept.Assignment.Version != options.Version {
		return nil, Config{}, usage("this is wi-e2e %s, and run %s is one of %s, whose tests may be others", options.Version, id, kept.Assignment.Version)
	}
	catalogue, err := suites.Catalogue()
	if err != nil {
		return nil, Config{}, err
	}
	selected, part, err := kept.Config.selectTests(catalogue)
	if err != nil {
		return nil, Config{}, err
	}
	if err := notAlive(id); err != nil {
		return nil, Config{}, err
	}
	r := &run{
		config: kept.Config, options: options, observer: options.Observer, catalogue: catalogue, output: kept.Config.Output, secrets: redact.FromEnvironment(),
		record: kept.Record, where: kept.Where, ownCluster: kept.OwnCluster, resumed: kept,
	}
	r.secrets.Add(kept.Secret)
	if w := kept.Assignment.Waivers; w != nil {
		if r.waivers, err = waivers.Parse(w.Path, []byte(w.Content), waivers.Known{Catalogue: catalogue, Tests: Tests(), Subjects: Subjects}); err != nil {
			return nil, Config{}, &UsageError{err}
		}
	}
	r.observer.RunStarted(
		fmt.Sprintf("wi-e2e %s goes on with run %s, seed %d", options.Version, id, r.record.Run.Seed),
		fmt.Sprintf("%d tests selected, reports go to %s", len(selected), r.output),
	)
	r.walk(ctx, selected, part)
	return r.record, kept.Config, nil
}

// notAlive is an error if a process is at the run.
func notAlive(id string) error {
	dir, err := ledger.Dir()
	if err != nil {
		return err
	}
	l, err := ledger.Open(dir, id)
	if errors.Is(err, ledger.ErrInUse) {
		return usage("run %s goes on already, in a process of this machine", id)
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// resume sets the stage with what is there already, and returns the plan that the run had.
func (s *stage) resume(ctx context.Context, selected []suites.Test) (plan *suites.Plan, err error) {
	r, kept := s.run, s.run.resumed
	err = r.phase(ctx, "resume", func(ctx context.Context) error {
		// The provider that the run took, whatever is best now.
		where := r.config
		where.Cluster.Provider = r.record.Cluster.Provider
		if s.provider, s.why, err = where.provider(ctx); err != nil {
			return err
		}
		if s.cluster, err = s.provider.Get(ctx, kept.clusterName()); err != nil {
			return err
		}
		if err := s.describe(ctx); err != nil {
			return err
		}
		r.where = kept.Where // describe names an existing one anew
		a := kept.Assignment
		s.installed, s.env.Subject, s.env.Images = &a.Subject, &a.Subject, a.Images
		s.azure.secret = kept.Secret
		config, err := s.cluster.RESTConfig()
		if err != nil {
			return err
		}
		if err := s.standOn(ctx, a, config); err != nil {
			return err
		}
		if s.shards, err = s.shardsApplier(); err != nil {
			return err
		}
		// All that the killed process made is removed as one.
		for _, e := range r.ledger.Outstanding() {
			if e.Cluster == r.where && strings.Contains(e.Kind, ".") {
				s.shards.Adopt(e.Kind, e.Namespace, e.Name)
			}
		}
		if plan, err = suites.NewPlan(selected, r.catalogue, kept.Facts, r.record.Run.Seed); err != nil {
			return err
		}
		if s.divided, err = kept.divided(plan); err != nil {
			return err
		}
		for _, t := range slices.Concat(s.divided...) {
			s.env.Adopt(t.ID)
		}
		// What an earlier process made of the tests that are left is in an unknown state.
		kept.Resumed++
		s.before = kept.Resumed * int(attemptsOfBeginning(r.config))
		return kept.save(r.record.Run.ID)
	})
	return plan, err
}

// clusterName is the name that the provider knows the cluster by.
func (k *inTheCluster) clusterName() string {
	if k.OwnCluster {
		return k.Record.Cluster.Name
	}
	return k.Config.Cluster.Name
}

// divided are the tests of each shard.
func (k *inTheCluster) divided(plan *suites.Plan) ([][]suites.Test, error) {
	var divided [][]suites.Test
	for _, ids := range k.Assignment.Tests {
		var tests []suites.Test
		for _, p := range plan.Tests {
			if slices.Contains(ids, p.Test.ID) {
				tests = append(tests, p.Test)
			}
		}
		if len(tests) != len(ids) {
			return nil, fmt.Errorf("a shard has %d tests, of which the plan has %d", len(ids), len(tests))
		}
		divided = append(divided, tests)
	}
	return divided, nil
}

// keepInTheCluster writes down what it takes to go on with the run, before its shards are started.
func (s *stage) keepInTheCluster(a *incluster.Assignment) error {
	r := s.run
	config := r.config
	config.Output = r.output
	kept := inTheCluster{
		Config: config, Record: r.record, Facts: s.facts, Assignment: a, Where: r.where, OwnCluster: r.ownCluster, Secret: s.azure.secret,
	}
	path, err := keptPath(r.record.Run.ID)
	if err != nil {
		return err
	}
	if err := r.ledger.Create(ownFile(path)); err != nil {
		return err
	}
	return kept.save(r.record.Run.ID)
}

func (k *inTheCluster) save(id string) error {
	path, err := keptPath(id)
	if err != nil {
		return err
	}
	data, err := json.Marshal(k)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write down what it takes to go on with the run: %w", err)
	}
	return nil
}

func loadInTheCluster(id string) (*inTheCluster, error) {
	path, err := keptPath(id)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no run %q to go on with: it has ended, had not come to its shards, or was made on another machine", id)
	}
	kept := &inTheCluster{}
	if err == nil {
		err = json.Unmarshal(data, kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was kept of run %s: %w", id, err)
	}
	return kept, nil
}

// forgetInTheCluster removes what was kept: the run has ended.
func (r *run) forgetInTheCluster() error {
	path, err := keptPath(r.record.Run.ID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.ledger.Removed(ownFile(path))
}

const keptExtension = ".json"

func keptPath(id string) (string, error) {
	if strings.ContainsAny(id, `/\*?[`) || id == "" {
		return "", fmt.Errorf("%q is not the ID of a run", id)
	}
	dir, err := statedir.Dir("incluster")
	return filepath.Join(dir, id+keptExtension), err
}
