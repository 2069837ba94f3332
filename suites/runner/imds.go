package runner

import (
	"context"
	"errors"

	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/suites"
)

// deployIMDS puts a metadata service on the nodes, which are ours.
func (s *stage) deployIMDS(ctx context.Context) error {
	image, err := s.provideSelf(ctx)
	if err != nil {
		return err
	}
	clients, err := objects.New(s.cluster, "imds")
	if err != nil {
		return err
	}
	r := s.run
	applier := &objects.Applier{Clients: clients, Record: r.recordCreate, Removed: r.recordRemoved, Progress: r.observer.PhaseNote, Owner: r.record.Run.ID}
	s.imdsApplier = applier
	if s.imds, err = imds.Deploy(ctx, applier, imds.Options{Namespace: imds.Namespace, Image: image}); err != nil {
		return err
	}
	s.env.IMDS = &suites.IMDS{Evidence: s.imds.Evidence, Pause: s.imds.Pause}
	return nil
}

// removeIMDS ends the connections to it, and takes it away from nodes that stay.
func (s *stage) removeIMDS(ctx context.Context) error {
	var errs []error
	if s.imds != nil {
		errs = append(errs, s.imds.Close())
	}
	if s.imdsApplier != nil && !s.run.ownCluster {
		errs = append(errs, s.imdsApplier.Remove(ctx))
	}
	return errors.Join(errs...)
}
