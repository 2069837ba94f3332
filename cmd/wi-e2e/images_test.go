package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
)

func TestImagesListTellsHowEachImageIsMade(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // with nothing kept
	for _, c := range []struct {
		args string
		says map[string]string // by row
	}{
		{"images list", map[string]string{
			"go-msal":          "built when it is needed",
			"go-msal-wine":     "built when it is needed",
			"go-msal-ltsc2022": "not here: fetch it by wi-e2e images pull go-msal-ltsc2022 (mcr.microsoft.com/windows/nanoserver:ltsc2022)",
			"dotnet-azure-mcp": "built when it is needed",
			"upstream-msal-go": "not here: fetch it by wi-e2e images pull upstream-msal-go (ghcr.io/azure/azure-workload-identity/msal-go:",
		}},
		{"images list --sdk-versions minimum", map[string]string{
			"go-azidentity":     "built when it is needed",
			"go-msal":           "none: EXC-01 names no minimum version",
			"dotnet-azidentity": "none: its minimum version is not in a package registry that is used here",
			"dotnet-azure-mcp":  "none: EXC-01 names no minimum version of its library, or its versions are not ours to choose",
			"upstream-msal-go":  "none: EXC-01 names no minimum version of its library, or its versions are not ours to choose",
		}},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := wiE2E(t, strings.Fields(c.args)...)
			if got.code != 0 {
				t.Fatalf("exit code %d: %s", got.code, got.stderr)
			}
			lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
			rows := map[string]string{}
			for _, line := range lines[1:] {
				rows[strings.Fields(line)[0]] = line
			}
			if len(rows) != len(workloads.All()) {
				t.Errorf("%d rows are listed:\n%s", len(rows), got.stdout)
			}
			for row, want := range c.says {
				if !strings.Contains(rows[row], "  "+want) {
					t.Errorf("%s: it does not say %q: %s", row, want, rows[row])
				}
			}
		})
	}
}

// Nothing can be made in these tests: what is found out late would end otherwise, or write a file.
func TestBadInputToImagesIsToldBeforeAnythingIsMade(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/proc/nowhere")
	t.Setenv("PATH", t.TempDir())
	output := filepath.Join(t.TempDir(), "out.tar")
	for _, c := range []struct {
		name string
		args string
		code int
		says string
	}{
		{"an unknown verb", "images bake", 2, `"bake"`},
		{"an unknown workload, behind one that is known", "images build go-msal go-mslal", 2, `unknown workload "go-mslal" (there are: `},
		{"an unknown workload to push", "images push go-msal nope --repository registry.example/wi-e2e", 2, `unknown workload "nope"`},
		{"an unknown workload to save", "images save go-msal nope --output " + output, 2, `unknown workload "nope"`},
		{"an unknown workload to fetch", "images pull upstream-msal-go nope", 2, `unknown workload "nope"`},
		{"an unknown workload for an engine", "images build go-msal nope --engine docker", 2, `unknown workload "nope"`},
		{"unknown versions to list", "images list --sdk-versions oldest", 2, `unknown SDK versions "oldest": there are newest and minimum`},
		{"unknown versions to build", "images build go-msal --sdk-versions oldest", 2, `unknown SDK versions "oldest"`},
		{"unknown versions to push", "images push go-msal --sdk-versions oldest --repository registry.example/wi-e2e", 2, `unknown SDK versions "oldest"`},
		{"unknown versions to save", "images save go-msal --sdk-versions oldest --output " + output, 2, `unknown SDK versions "oldest"`},
		{"an argument for the list", "images list go-msal", 2, `takes no argument "go-msal"`},
		{"nothing to fetch", "images pull", 2, "name a workload: see wi-e2e images list"},
		{"what nobody publishes", "images pull upstream-msal-go go-msal", 2, "nobody publishes the image of go-msal"},
		{"no repository", "images push go-msal", 2, "--repository"},
		{"a repository with a tag", "images push go-msal --repository registry.example/wi-e2e:1", 2, "--repository"},
		{"a repository that is a URL", "images push go-msal --repository https://registry.example/wi-e2e", 2, "--repository"},
		{"no file to save to", "images save go-msal", 2, "--output names the file to write"},
		{"an unknown engine", "images build go-msal --engine kaniko", 2, `image engine "kaniko": there are docker, podman and buildah`},
		{"an engine that is not there", "images build go-msal --engine podman", 3, "the image engine podman is not on PATH"},
		{"minimum versions by an engine", "images build go-azidentity --sdk-versions minimum --engine docker", 2, "an engine builds the newest versions"},
		{"no Containerfile for an engine", "images build go-msal dotnet-azure-mcp --engine docker", 2, "dotnet-azure-mcp has no Containerfile"},
		{"versions that EXC-01 does not name", "images build go-msal --sdk-versions minimum", 3, "workload go-msal: EXC-01 names no minimum version"},
		{"an image that was not fetched", "images build upstream-msal-go", 3, "workload upstream-msal-go: its image takes a container engine or a container registry"},
		{"a run of unknown versions", "run --sdk-versions oldest --output " + t.TempDir(), 2, `unknown SDK versions "oldest" (there are: newest, minimum)`},
		{"a run that pushes to no repository", "run --kubeconfig x --image-repository UPPER/case --output " + t.TempDir(), 2, "the repository for images"},
		{"a run that pushes for a cluster of ours", "run --image-repository registry.example/x --output " + t.TempDir(), 2, "a repository for them goes with a cluster that is not ours"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := wiE2E(t, strings.Fields(c.args)...)
			if got.code != c.code || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
				t.Errorf("exit code %d, want %d and %q\nstdout: %s\nstderr: %s", got.code, c.code, c.says, got.stdout, got.stderr)
			}
			if _, err := os.Stat(output); err == nil {
				t.Errorf("%s was written", output)
			}
		})
	}
}

// builtLine is what is printed of an image: its name and its ID.
var builtLine = regexp.MustCompile(`^(\S+/go-msal:[0-9a-f]{12}) (sha256:[0-9a-f]{64})\n$`)

// TestAnImageIsTheSameWhereverItGoes makes a small one, which the Go compiler's cache has.
func TestAnImageIsTheSameWhereverItGoes(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	repository := strings.TrimPrefix(server.URL, "http://") + "/team/wi-e2e"
	archive := filepath.Join(t.TempDir(), "workloads.tar")

	ref, id := map[string]string{}, map[string]string{}
	for verb, flags := range map[string][]string{"build": nil, "push": {"--repository", repository + "/"}, "save": {"--output", archive}} {
		got := wiE2E(t, slices.Concat([]string{"images", verb, "go-msal"}, flags)...)
		line := builtLine.FindStringSubmatch(got.stdout)
		if got.code != 0 || line == nil {
			t.Fatalf("%s: exit code %d, %q\n%s", verb, got.code, got.stdout, got.stderr)
		}
		ref[verb], id[verb] = line[1], line[2]
	}
	if id["push"] != id["build"] || id["save"] != id["build"] {
		t.Errorf("its IDs are %v", id)
	}
	if tag := strings.TrimPrefix(ref["build"], "wi-e2e.dev/"); ref["save"] != ref["build"] || ref["push"] != repository+"/"+tag {
		t.Errorf("its names are %v", ref)
	}

	opened, err := images.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	if i := opened.Images; len(i) != 1 || !slices.Equal(i[0].Names, []string{ref["build"]}) || i[0].Digest != id["build"] {
		t.Errorf("the archive holds %+v, want %s, %s", i, ref["build"], id["build"])
	}
	tag, err := name.NewTag(ref["push"])
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pushed.ConfigName(); err != nil || got.String() != id["build"] {
		t.Errorf("the registry has %s, error %v, want %s", got, err, id["build"])
	}
}

func TestAPushThatIsRefusedNamesTheImage(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(nil) // which is no registry
	t.Cleanup(server.Close)
	got := wiE2E(t, "images", "push", "go-msal", "--repository", strings.TrimPrefix(server.URL, "http://")+"/x")
	if got.code != 3 || !strings.Contains(got.stderr, "push image "+strings.TrimPrefix(server.URL, "http://")+"/x/go-msal:") || got.stdout != "" {
		t.Errorf("exit code %d, %q\n%s", got.code, got.stdout, got.stderr)
	}
}

func TestWhatAnEngineBuiltIsUsedByRunsWhereTheNewestVersionsTakeIt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	archive, bin := filepath.Join(t.TempDir(), "prepared.tar"), t.TempDir()
	if err := images.Save(t.Context(), empty.Image, "example.com/engines:1", archive); err != nil {
		t.Fatal(err)
	}
	id, err := empty.Image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	// docker save --output FILE REF
	write(t, filepath.Join(bin, "docker"), "#!/bin/sh\ntest $1 != save || /bin/cp "+archive+" $3\n")
	if err := os.Chmod(filepath.Join(bin, "docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)

	got := wiE2E(t, "images", "build", "--engine", "docker")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != 0 || len(lines) != 14 {
		t.Fatalf("exit code %d, %d images, want those of fourteen rows:\n%s%s", got.code, len(lines), got.stdout, got.stderr)
	}
	list := wiE2E(t, "images", "list")
	kept := 0
	for line := range strings.Lines(list.stdout) {
		if !strings.Contains(line, "kept, built by its Containerfile") {
			continue
		}
		kept++
		row := strings.Fields(line)[0]
		want := "wi-e2e.dev/" + row + ":" + id.Hex[:12] + " " + id.String() + "\n"
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the engine's build does not print %s:\n%s", want, got.stdout)
		}
		if again := wiE2E(t, "images", "build", row); again.code != 0 || again.stdout != want {
			t.Errorf("%s: exit code %d, %s%s, want %s", row, again.code, again.stdout, again.stderr, want)
		}
	}
	if kept != 2 { // those of .NET
		t.Errorf("%d images are listed as kept:\n%s", kept, list.stdout)
	}
}
