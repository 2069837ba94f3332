package selftest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// worlds are made in two Azures: one in which new federated credentials hold at once, and one in which a test of the time that they take has
// something to wait for.
type worlds struct{ instant, slow *simulated.Lab }

const (
	propagationRule = "EXC-08"
	propagationTime = 300 * time.Millisecond
)

func newWorlds(ctx context.Context) (*worlds, error) {
	instant, err := simulated.NewLab(ctx, 0)
	if err != nil {
		return nil, err
	}
	slow, err := simulated.NewLab(ctx, propagationTime)
	if err != nil {
		return nil, errors.Join(err, instant.Close())
	}
	return &worlds{instant, slow}, nil
}

func (w *worlds) close() error { return errors.Join(w.instant.Close(), w.slow.Close()) }

func aboutPropagation(test suites.Test) bool {
	return slices.Contains(test.Requirements, propagationRule)
}

// worldRun are simulated worlds with a mutant's fault; without one if it is the zero value.
type worldRun struct {
	worlds *worlds
	mutant mutants.Mutant
}

// execute makes a world for each test: mostly the first one kills.
func (r *worldRun) execute(ctx context.Context, _ Options, test suites.Test) (result reports.Test, err error) {
	lab := r.worlds.instant
	if r.mutant.ID == "" && aboutPropagation(test) {
		lab = r.worlds.slow
	}
	w, err := simulated.NewWorld(ctx, lab, test)
	if err != nil {
		return reports.Test{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	w.Apply(r.mutant)
	return w.Run(ctx, test), nil
}
