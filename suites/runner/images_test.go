package runner

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

func TestNeededImagesAreThoseOfTestsThatWillRun(t *testing.T) {
	needing := func(skip *reports.Skipped, needs ...suites.Capability) suites.Planned {
		return suites.Planned{Test: suites.Test{Needs: needs}, Skip: skip}
	}
	plan := &suites.Plan{Tests: []suites.Planned{
		needing(nil, suites.Nodes, suites.WorkloadImage("node-msal"), suites.WorkloadImage("go-msal")),
		needing(nil, suites.WorkloadImage("node-msal"), suites.SelfImage),
		needing(&reports.Skipped{Reason: "r", Text: "t"}, suites.WorkloadImage("java-msal")),
		needing(nil),
	}}
	if diff := cmp.Diff([]string{"go-msal", "node-msal", "wi-e2e"}, neededImages(plan)); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

// imageCluster notes the images that it gets.
type imageCluster struct {
	cluster.Cluster
	loaded [][]string // names of those that were loaded together
	err    error
}

func (c *imageCluster) LoadImages(_ context.Context, all map[string]v1.Image) error {
	c.loaded = append(c.loaded, slices.Sorted(maps.Keys(all)))
	return c.err
}

// builds are the images that a run asked for, as name and versions.
type builds struct {
	mu    sync.Mutex
	asked []string
	err   map[string]error
}

func (b *builds) build(_ context.Context, name string, versions workloads.Versions, _ func(string)) (v1.Image, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, name+" "+string(versions))
	img, err := mutate.Config(empty.Image, v1.Config{Entrypoint: []string{"/" + name}})
	return img, "wi-e2e.dev/" + name + ":1", errors.Join(err, b.err[name])
}

func newImageStage(b *builds, c cluster.Cluster, config Config) *stage {
	observer := reports.NewConsole(io.Discard, reports.ConsoleOptions{})
	return &stage{
		cluster: c, env: &suites.Env{},
		run: &run{config: config, observer: observer, options: Options{Build: b.build}, current: &reports.Phase{}},
	}
}

func TestImagesAreLoadedTogether(t *testing.T) {
	b, c := &builds{}, &imageCluster{}
	s := newImageStage(b, c, Config{Workloads: WorkloadsConfig{SDKVersions: workloads.Minimum}})
	if err := s.provideImages(t.Context(), []string{"go-azidentity", "java-azidentity", "node-azidentity"}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(b.asked)
	if diff := cmp.Diff([]string{"go-azidentity minimum", "java-azidentity minimum", "node-azidentity minimum"}, b.asked); diff != "" {
		t.Errorf("built (-want +got):\n%s", diff)
	}
	want := map[string]string{
		"go-azidentity": "wi-e2e.dev/go-azidentity:1", "java-azidentity": "wi-e2e.dev/java-azidentity:1", "node-azidentity": "wi-e2e.dev/node-azidentity:1",
	}
	if diff := cmp.Diff(want, s.env.Images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{slices.Sorted(maps.Values(want))}, c.loaded); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if notes := s.run.current.Notes; !slices.Contains(notes, "3 images of workloads, with the minimum SDKs") {
		t.Errorf("notes %q", notes)
	}
}

func TestImagesArePushedWhereTheyCannotBeLoaded(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	repository := strings.TrimPrefix(server.URL, "http://") + "/team"
	b, c := &builds{}, &imageCluster{}
	s := newImageStage(b, c, Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Workloads: WorkloadsConfig{Repository: repository}})
	if err := s.provideImages(t.Context(), []string{"go-msal", "java-msal"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"go-msal": repository + "/go-msal:1", "java-msal": repository + "/java-msal:1"}
	if diff := cmp.Diff(want, s.env.Images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	for workload, ref := range s.env.Images {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(tag)
		if err != nil {
			t.Errorf("%s was not pushed: %v", ref, err)
			continue
		}
		if file, err := img.ConfigFile(); err != nil || !slices.Equal(file.Config.Entrypoint, []string{"/" + workload}) {
			t.Errorf("%s is another image: %v, error %v", ref, file, err)
		}
	}
	if len(c.loaded) > 0 {
		t.Errorf("loaded as well: %q", c.loaded)
	}
}

func TestThisBinarysImageIsTheOneThatWasNamed(t *testing.T) {
	b, c := &builds{}, &imageCluster{}
	s := newImageStage(b, c, Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Image: "registry.example/wi-e2e:1"})
	if err := s.provideImages(t.Context(), []string{selfName}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{selfName: "registry.example/wi-e2e:1"}, s.env.Images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if len(b.asked)+len(c.loaded) > 0 {
		t.Errorf("built %q, loaded %q", b.asked, c.loaded)
	}
}

func TestAnImageThatCannotBeProvidedIsAnErrorOfThePhase(t *testing.T) {
	broken := errors.New("broken")
	for title, c := range map[string]struct {
		builds  *builds
		cluster *imageCluster
		config  Config
	}{
		"because it cannot be built":  {&builds{err: map[string]error{"java-msal": broken}}, &imageCluster{}, Config{}},
		"because it cannot be loaded": {&builds{}, &imageCluster{err: broken}, Config{}},
	} {
		t.Run(title, func(t *testing.T) {
			s := newImageStage(c.builds, c.cluster, c.config)
			if err := s.provideImages(t.Context(), []string{"go-msal", "java-msal"}); !errors.Is(err, broken) {
				t.Errorf("error %v, want %v", err, broken)
			}
			if len(s.env.Images) > 0 {
				t.Errorf("tests are told of %v", s.env.Images)
			}
		})
	}
}

func TestTheProxysImageIsOfTheRunOrOfAnArchive(t *testing.T) {
	img, err := mutate.Config(empty.Image, v1.Config{User: "1501"})
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/proxy.tar"
	const archived = "example.com/proxy:v1"
	if err := images.Save(t.Context(), img, archived, path); err != nil {
		t.Fatal(err)
	}
	archive, err := images.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	const own = "wi-e2e.dev/wi-e2e:1"
	s := &stage{self: namedImage{empty.Image, own}, installed: &subject.Installed{Archives: []*images.Archive{archive}}}
	for ref, found := range map[string]bool{archived: true, own: true, "example.com/proxy:v2": false, "": false} {
		got, err := s.imageOfSubject(ref)
		if err != nil || (got != nil) != found {
			t.Errorf("%q: %v, error %v; want one: %t", ref, got, err, found)
		}
	}
}
