package selftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// How much goes on at a time: trials, and cases of each.
const (
	parallelTrials = 12
	parallelCases  = 3
)

// Options of a self-test.
type Options struct {
	// Tests to prove, Catalogue the requirements that they name.
	Tests     []suites.Test
	Catalogue []suites.Requirement
	// Mutants to run. Tests are called unproved only if Complete says that they are all that break a rule of the tests.
	Mutants  []mutants.Mutant
	Complete bool
	// EveryTest runs all tests against each mutant, and not only those of the rule that it breaks. That takes minutes.
	EveryTest bool
	// Installations are where tests that disturb an installation are run; nil if there are none.
	Installations *Installations
	// Progress receives one-line notes; never nil.
	Progress func(note string)
}

// NeedsLab says whether tests of the tier admission are among them. The other tiers need no cluster.
func (o Options) NeedsLab() bool { return slices.ContainsFunc(o.Tests, isAdmission) }

func isAdmission(test suites.Test) bool { return test.Tier == suites.Admission }

// Run runs the tests against the mutants and the conformant reference, side by side. The lab may be nil if it is not needed.
// An error means that there is no result.
func Run(ctx context.Context, lab *Lab, options Options) (matrix *Matrix, err error) {
	started, cpu := time.Now(), reports.CPUSeconds()
	worlds, err := newWorlds(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, worlds.close()) }()
	trials := conformant(options, worlds)
	for i, m := range options.Mutants {
		t := &trial{mutant: &m, Row: Row{ID: m.ID, Fault: m.Fault, Requirement: m.Requirement, Part: m.Part(), Finding: m.Finding}}
		if tests := admissionTests(m, options.Tests); len(tests) > 0 {
			t.lab = &labRun{run: fmt.Sprintf("m%d", i), mutant: m}
			t.places = append(t.places, place{t.lab, tests})
		}
		if tests := others(options.Tests); len(suites.TestsOf(m.Requirement, tests)) > 0 {
			t.places = append(t.places, place{&worldRun{worlds, m}, tests})
		}
		if tests := disturbing(m, options.Tests); len(tests) > 0 {
			t.installed, t.places = true, append(t.places, place{&installedRun{mutant: m}, tests})
		}
		trials = append(trials, t)
	}
	if err := install(ctx, lab, options, trials); err != nil {
		return nil, err
	}
	if err := judge(ctx, options, trials); err != nil {
		return nil, err
	}
	if options.Complete {
		options.Progress("proving the other tests")
		if err := prove(ctx, options, trials); err != nil {
			return nil, err
		}
	}
	matrix = newMatrix(options, trials)
	matrix.Started, matrix.Seconds, matrix.CPUSeconds = started.UTC(), time.Since(started).Seconds(), reports.CPUSeconds()-cpu
	return matrix, nil
}

// judge goes through the trials. Those of installations come last: most of their time is waiting, and there are few clusters for them.
func judge(ctx context.Context, options Options, trials []*trial) error {
	var mu sync.Mutex
	finished := 0
	one := func(ctx context.Context, t *trial) error {
		if err := t.judge(ctx, options); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		finished++
		options.Progress(fmt.Sprintf("%d of %d tested", finished, len(trials)))
		return context.Cause(ctx)
	}
	group, grouped := errgroup.WithContext(ctx)
	group.SetLimit(parallelTrials)
	for _, late := range []bool{false, true} {
		for _, t := range trials {
			if t.installed == late {
				group.Go(func() error { return one(grouped, t) })
			}
		}
	}
	return group.Wait()
}

// trial is a mutant, or the conformant reference if mutant is nil.
type trial struct {
	Row
	mutant *mutants.Mutant
	lab    *labRun // nil if it does not go there
	// installed says that it takes an installation of its own.
	installed bool
	places    []place
	alarms    []Alarm

	mu sync.Mutex // of the row: several tests may prove themselves on it
}

// place is where a trial can be tested, and by which tests.
type place struct {
	stage
	tests []suites.Test
}

// stage executes tests on what is under trial.
type stage interface {
	execute(ctx context.Context, options Options, test suites.Test) (reports.Test, error)
}

// conformant is the reference in all places: on the lab without a custom token endpoint and with one. The tests that have nothing
// to do with it run once.
func conformant(options Options, worlds *worlds) []*trial {
	var trials []*trial
	add := func(id string, lab *labRun, s stage, tests []suites.Test) {
		if len(tests) > 0 {
			trials = append(trials, &trial{Row: Row{ID: id}, lab: lab, places: []place{{s, tests}}})
		}
	}
	plain, endpoint := &labRun{run: "conformant"}, &labRun{run: "endpoint", endpoint: true}
	add("reference", plain, plain, admissionTestsOf(plain, options.Tests))
	add("reference with a custom token endpoint", endpoint, endpoint, admissionTestsOf(endpoint, options.Tests))
	for _, test := range others(options.Tests) { // side by side
		add("reference in a simulated world", nil, &worldRun{worlds: worlds}, []suites.Test{test})
	}
	for _, test := range options.Tests {
		if disturbs(test) {
			trials = append(trials, &trial{Row: Row{ID: "reference, installed"}, installed: true, places: []place{{&installedRun{}, []suites.Test{test}}}})
		}
	}
	return trials
}

// others are the tests that are run in simulated worlds.
func others(tests []suites.Test) []suites.Test {
	return slices.DeleteFunc(slices.Clone(tests), func(t suites.Test) bool { return isAdmission(t) || disturbs(t) })
}

// judge runs the tests: on a mutant those of the rule that it breaks, the likely and quick ones first, until one kills it, and the others only if
// none does.
func (t *trial) judge(ctx context.Context, options Options) error {
	started := time.Now()
	defer func() { t.Seconds = time.Since(started).Seconds() }()
	for _, own := range []bool{true, false} {
		for _, p := range t.places {
			for _, test := range t.inOrder(p.tests) {
				if t.breaks(test) != own || !options.EveryTest && t.outcome() == Killed {
					continue
				}
				if err := t.test(ctx, options, p, test); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inOrder: the test that should notice the mutant, then quick ones. Of those that may take as long, a test of fewer requirements does less.
func (t *trial) inOrder(tests []suites.Test) []suites.Test {
	rank := func(test suites.Test) int {
		if t.mutant != nil && test.ID == t.mutant.Test {
			return 0
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(tests), func(a, b suites.Test) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Timeout, b.Timeout), cmp.Compare(len(a.Requirements), len(b.Requirements)))
	})
}

// breaks says whether the mutant breaks a rule of the test.
func (t *trial) breaks(test suites.Test) bool {
	return slices.Contains(test.Requirements, t.Requirement)
}

// test runs one.
func (t *trial) test(ctx context.Context, options Options, p place, test suites.Test) error {
	result, err := p.execute(ctx, options, test)
	if err := cmp.Or(err, context.Cause(ctx)); err != nil {
		return fmt.Errorf("run %s on %s: %w", test.ID, t.ID, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mutant != nil:
		t.add(result, t.breaks(test))
	case result.Status != reports.Pass:
		t.alarms = append(t.alarms, Alarm{Webhook: t.ID, Test: result.ID, Status: result.Status, Finding: finding(result, result.Status)})
	}
	return nil
}

// killedBy says whether the test has killed the mutant.
func (t *trial) killedBy(test suites.Test) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isKilledBy(test.ID)
}

// ran says whether a test of the mutant's requirement was run.
func (t *trial) ran(test suites.Test) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isKilledBy(test.ID) || slices.Contains(t.MissedBy, test.ID)
}

// prove runs the tests that have killed no mutant yet on the mutants of their rules, until they kill one.
func prove(ctx context.Context, options Options, trials []*trial) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelTrials)
	for _, test := range options.Tests {
		if slices.ContainsFunc(trials, func(t *trial) bool { return t.killedBy(test) }) {
			continue
		}
		group.Go(func() error {
			for _, t := range trials {
				i := slices.IndexFunc(t.places, func(p place) bool {
					return slices.ContainsFunc(p.tests, func(other suites.Test) bool { return other.ID == test.ID })
				})
				if t.mutant == nil || i < 0 || !t.breaks(test) || t.ran(test) {
					continue
				}
				if err := t.test(ctx, options, t.places[i], test); err != nil {
					return err
				}
				if t.killedBy(test) {
					break
				}
			}
			return nil
		})
	}
	return group.Wait()
}
