package runner

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/images/registry"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// selfName is wi-e2e's own image, as T.Image has it.
var selfName, _ = suites.SelfImage.ImageName()

// parallelBuilds is how many images are made at a time: a build computes, and waits for a package registry.
const parallelBuilds = 2

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
	slices.Sort(names)
	return names
}

// provideImages makes the images and puts them on the cluster. Workloads are made to trust the emulator.
func (s *stage) provideImages(ctx context.Context, names []string) error {
	built := make([]namedImage, len(names))
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(parallelBuilds)
	for i, name := range names {
		if name == selfName {
			continue
		}
		group.Go(func() (err error) {
			built[i], err = s.buildWorkload(together, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if slices.Contains(names, selfName) {
		if _, err := s.provideSelf(ctx); err != nil {
			return err
		}
	}
	built = slices.DeleteFunc(built, func(n namedImage) bool { return n.img == nil })
	placed, err := s.place(ctx, built...)
	if err != nil {
		return err
	}
	s.run.note(fmt.Sprintf("%d images of workloads, with the %s SDKs", len(placed), s.run.config.Workloads.versions()))
	for i, name := range slices.DeleteFunc(names, func(name string) bool { return name == selfName }) {
		s.imageProvided(name, placed[i])
	}
	return nil
}

// namedImage is an image and its reference.
type namedImage struct {
	img v1.Image
	ref string
}

func (s *stage) buildWorkload(ctx context.Context, name string) (namedImage, error) {
	img, ref, err := s.run.options.Build(ctx, name, s.run.config.Workloads.versions(), s.run.observer.PhaseNote)
	if err == nil && s.azure.emulator != nil {
		img, ref, err = images.Trust(img, ref, s.azure.emulator.CA)
	}
	return namedImage{img, ref}, err
}

// place puts images where the cluster has them, and returns the references that they have there: on its nodes, or in the
// repository.
func (s *stage) place(ctx context.Context, all ...namedImage) (refs []string, err error) {
	repository := s.run.config.Workloads.Repository
	loaded := map[string]v1.Image{}
	for _, n := range all {
		ref := n.ref
		if repository != "" {
			ref = registry.InRepository(repository, ref)
			if err := registry.Push(ctx, n.img, ref, s.run.observer.PhaseNote); err != nil {
				return nil, err
			}
		}
		refs = append(refs, ref)
		loaded[ref] = n.img
	}
	if repository != "" || len(all) == 0 {
		return refs, nil
	}
	return refs, s.cluster.LoadImages(ctx, loaded)
}

// provideSelf puts the image of this binary on the cluster, unless it is there as the subject's, or another was named.
func (s *stage) provideSelf(ctx context.Context) (ref string, err error) {
	if ref, ok := s.env.Images[selfName]; ok {
		return ref, nil
	}
	if ref := s.run.config.Image; ref != "" {
		s.imageProvided(selfName, ref)
		return ref, nil
	}
	self, err := s.running()
	if err != nil {
		return "", err
	}
	ref = self.ref
	if !slices.ContainsFunc(s.installed.Images, func(i subject.Image) bool { return i.Name == ref }) {
		placed, err := s.place(ctx, self)
		if err != nil {
			return "", err
		}
		ref = placed[0]
	}
	s.imageProvided(selfName, ref)
	return ref, nil
}

// running is the image of the running binary, which is hashed only once.
func (s *stage) running() (namedImage, error) {
	if s.self.img == nil {
		img, ref, err := images.Running()
		if err != nil {
			return namedImage{}, err
		}
		s.self = namedImage{img, ref}
	}
	return s.self, nil
}

func (s *stage) imageProvided(name, ref string) {
	if s.env.Images == nil {
		s.env.Images = map[string]string{}
	}
	s.env.Images[name] = ref
}
