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
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// CheckpointFile is what a soak has found so far, in the output directory. It is removed when the soak has reached its end.
const CheckpointFile = "soak.json"

// SoakConfig asks for the tests of the tier soak, and no others.
type SoakConfig struct {
	// Duration is how long they last, such as "8h".
	Duration metav1.Duration `json:"duration,omitzero"`
	// Resume goes on with the interrupted soak whose checkpoint is in the output directory, on its cluster.
	Resume bool `json:"resume,omitempty"`
}

// asked says whether the run is a soak.
func (s SoakConfig) asked() bool { return s.Duration.Duration > 0 || s.Resume }

func (c *Config) validateSoak() error {
	s := c.Soak
	switch {
	case s.Duration.Duration < 0:
		return usage("a soak cannot last %s", s.Duration.Duration)
	case s.Duration.Duration > 0 && s.Duration.Duration < minSoak:
		return usage("a soak of %s is too short to see anything: let it last %s at least", s.Duration.Duration, minSoak)
	case s.asked() && (c.Repeat > 1 || c.Shard != "" || c.InCluster):
		return usage("a soak is run once and as a whole: leave repetitions and shards out")
	case s.asked() && c.Azure.Mode == realAzure:
		return usage("a soak needs the emulated Azure, whose tokens end so soon that programs exchange at each reading")
	}
	return nil
}

// minSoak has samples enough for a trend.
const minSoak = 30 * time.Second

// soakTests are those of the tier soak if the run is one, and all others if not.
func (c *Config) soakTests(selected []suites.Test) ([]suites.Test, error) {
	kept := slices.DeleteFunc(slices.Clone(selected), func(t suites.Test) bool { return (t.Tier == suites.Soak) != c.Soak.asked() })
	if len(kept) > 0 || len(selected) == 0 {
		return kept, nil
	}
	if c.Soak.asked() {
		return nil, errors.New("none of the selected tests is of the tier soak, which alone takes a duration")
	}
	return nil, errors.New("the selected tests are of the tier soak, which lasts as long as it is asked for: wi-e2e soak --duration 8h")
}

// checkpoint is where a soak is.
type checkpoint struct {
	Run      string                     `json:"run"`
	Provider string                     `json:"provider"`
	Cluster  string                     `json:"cluster"`
	Own      bool                       `json:"own"` // the cluster was made for the run
	Duration metav1.Duration            `json:"duration"`
	Passed   metav1.Duration            `json:"passed"`
	Tests    map[string]json.RawMessage `json:"tests,omitempty"`
}

// prepareSoak reads the checkpoint of an interrupted soak, and makes the configuration that of its cluster. One that nobody asked to go
// on with is not overwritten.
func (c *Config) prepareSoak() (*checkpoint, error) {
	if !c.Soak.asked() {
		return nil, nil
	}
	path := filepath.Join(c.Output, CheckpointFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Soak.Resume:
		return nil, usage("there is no interrupted soak to go on with: %s is not there", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, usage("read the checkpoint: %w", err)
	}
	before := &checkpoint{}
	if err := json.Unmarshal(data, before); err != nil {
		return nil, usage("read the checkpoint %s: %w", path, err)
	}
	passed := before.Passed.Round(time.Second)
	if !c.Soak.Resume {
		return nil, usage("%s is of a soak that was interrupted after %s of %s: go on with it (--resume), or name another output directory", path, passed, before.Duration.Duration)
	}
	if asked := c.Soak.Duration.Duration; asked != 0 && asked != before.Duration.Duration {
		return nil, usage("the interrupted soak of %s lasts %s, and not %s: leave --duration out", path, before.Duration.Duration, asked)
	}
	c.Soak.Duration = before.Duration
	if !c.usesExisting() {
		if c.Cluster.Name != "" && c.Cluster.Name != before.Cluster {
			return nil, usage("the interrupted soak of %s is on cluster %s, and not on %s", path, before.Cluster, c.Cluster.Name)
		}
		c.Cluster.Provider, c.Cluster.Name = before.Provider, before.Cluster
	}
	return before, nil
}

// takeOver removes what the interrupted process left running on the cluster: programs and emulator are started anew.
func (s *stage) takeOver(ctx context.Context, before *checkpoint) error {
	r := s.run
	if before.Own {
		r.ownCluster = true
		if err := r.ledger.Create(r.entry("Cluster", "", s.cluster.Name())); err != nil {
			return err
		}
	}
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("soak"))
	if err != nil {
		return err
	}
	left, err := kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: suites.RunLabel + "=" + before.Run})
	if err != nil {
		return fmt.Errorf("look for what the interrupted soak left: %w", err)
	}
	names := []string{emulated.RunNamespace}
	for _, ns := range left.Items {
		names = append(names, ns.Name)
	}
	for _, name := range names {
		err := kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("remove namespace %s of the interrupted soak: %w", name, err)
		}
	}
	r.note(fmt.Sprintf("the soak that was interrupted after %s of %s goes on", before.Passed.Round(time.Second), before.Duration.Duration))
	return nil
}

// gone tells that there is nothing to go on with.
func (before *checkpoint) gone(err error) error {
	if before == nil || !errors.Is(err, cluster.ErrNotFound) {
		return err
	}
	return fmt.Errorf("cluster %s, on which the soak was interrupted, is gone: begin a new one, in another output directory: %w", before.Cluster, err)
}

// beginSoak starts the time of the soak's tests.
func (s *stage) beginSoak() {
	r := s.run
	at := checkpoint{
		Run: r.record.Run.ID, Provider: s.provider.Name(), Cluster: s.cluster.Name(), Own: r.ownCluster,
		Duration: r.config.Soak.Duration, Tests: map[string]json.RawMessage{},
	}
	long := &suites.LongRun{Duration: at.Duration.Duration}
	if before := r.interruptedSoak; before != nil {
		long.Earlier, at.Passed = before.Tests, before.Passed
		for test, found := range before.Tests {
			at.Tests[test] = found
		}
	}
	long.Ends = time.Now().Add(long.Duration - at.Passed.Duration)
	var mu sync.Mutex
	long.Keep = func(test string, found any) error {
		encoded, err := json.Marshal(found)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		at.Tests[test], at.Passed = encoded, metav1.Duration{Duration: min(long.Passed(), long.Duration)}
		data, err := json.Marshal(at)
		if err != nil {
			return err
		}
		return reports.WriteFile(filepath.Join(r.output, CheckpointFile), data)
	}
	s.env.LongRun = long
}

// endSoak removes the checkpoint of a soak that has lasted as long as it should.
func (s *stage) endSoak() error {
	if s.env == nil || s.env.LongRun == nil || time.Now().Before(s.env.LongRun.Ends) {
		return nil
	}
	err := os.Remove(filepath.Join(s.run.output, CheckpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
