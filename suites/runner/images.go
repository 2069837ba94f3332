package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// selfName is wi-e2e's own image, as T.Image has it.
var selfName, _ = suites.SelfImage.ImageName()

// neededImages are the images that the tests which will run need, by name.
func neededImages(plan *suites.Plan) []string {
	var names []string
	for _, p := range plan.Tests {
		if p.Skip != nil {
			continue
		}
		for _, need := range p.Test.Needs {
			if name, ok := need.ImageName(); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// loadImages makes the images and puts them on the cluster. Workloads are made to trust the emulator.
func (s *stage) loadImages(ctx context.Context, names []string) error {
	dir, err := os.MkdirTemp("", "wi-e2e-images-")
	if err != nil {
		return fmt.Errorf("make room for images: %w", err)
	}
	defer os.RemoveAll(dir)
	for _, name := range names {
		if name == selfName {
			if _, err := s.loadSelf(ctx); err != nil {
				return err
			}
			continue
		}
		img, ref, err := workloads.Build(ctx, name, s.run.observer.PhaseNote)
		if err != nil {
			return err
		}
		if e := s.azure.emulator; e != nil {
			if img, ref, err = images.Trust(img, ref, e.CA); err != nil {
				return err
			}
		}
		if err := s.load(ctx, name, img, ref, filepath.Join(dir, name+".tar")); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) load(ctx context.Context, name string, img v1.Image, ref, archive string) error {
	if err := images.Save(ctx, img, ref, archive); err != nil {
		return err
	}
	if err := s.cluster.LoadImageArchive(ctx, archive); err != nil {
		return err
	}
	s.imageLoaded(name, ref)
	return nil
}

// loadSelf puts the image of this binary on the cluster, unless it is there as the subject's, or another was named.
func (s *stage) loadSelf(ctx context.Context) (ref string, err error) {
	if ref, ok := s.env.Images[selfName]; ok {
		return ref, nil
	}
	if ref := s.run.config.Image; ref != "" {
		s.imageLoaded(selfName, ref)
		return ref, nil
	}
	ref, err = images.LoadSelf(ctx, func(ctx context.Context, ref, archive string) error {
		if slices.ContainsFunc(s.installed.Images, func(i subject.Image) bool { return i.Name == ref }) {
			return nil
		}
		return s.cluster.LoadImageArchive(ctx, archive)
	})
	if err != nil {
		return "", err
	}
	s.imageLoaded(selfName, ref)
	return ref, nil
}

func (s *stage) imageLoaded(name, ref string) {
	if s.env.Images == nil {
		s.env.Images = map[string]string{}
	}
	s.env.Images[name] = ref
}
