package suites

import (
	"context"

	"github.com/wi-e2e/wi-e2e/fixtures/imds"
)

// IMDS is what the tests have of the metadata service on the nodes.
type IMDS struct {
	// Evidence is what it was asked; Remote is the asking pod's address.
	Evidence func(ctx context.Context) ([]imds.Entry, error)
	// Pause takes it from the nodes, for a test that runs alone, until resume.
	Pause func(ctx context.Context) (resume func(ctx context.Context) error, err error)
}

// IMDS is the metadata service on the nodes.
func (t *T) IMDS() *IMDS {
	if t.run.env.IMDS == nil {
		t.Broken("test %s needs the emulated metadata service without saying so (Needs)", t.run.test.ID)
	}
	return t.run.env.IMDS
}
