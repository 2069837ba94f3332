package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports"
)

// sonobuoyPlugin is the definition of one, as Sonobuoy documents it.
type sonobuoyPlugin struct {
	Config struct {
		Driver       string `json:"driver"`
		PluginName   string `json:"plugin-name"`
		Description  string `json:"description"`
		ResultFormat string `json:"result-format"`
	} `json:"sonobuoy-config"`
	Spec         corev1.Container `json:"spec"`
	ExtraVolumes []corev1.Volume  `json:"extra-volumes"`
}

// sonobuoyResults is where Sonobuoy looks for a plugin's results; the file "done" there tells the path of them.
const sonobuoyResults = "/tmp/sonobuoy/results"

func loadPlugin(t *testing.T) sonobuoyPlugin {
	t.Helper()
	data, err := os.ReadFile("../../docs/sonobuoy-plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var plugin sonobuoyPlugin
	if err := yaml.UnmarshalStrict(data, &plugin); err != nil {
		t.Fatal(err)
	}
	return plugin
}

func TestTheSonobuoyPluginCallsTheCommandThatThereIs(t *testing.T) {
	plugin := loadPlugin(t)
	if c := plugin.Config; c.Driver != "Job" || c.PluginName != "wi-e2e" || c.ResultFormat != "junit" {
		t.Errorf("it is %+v", c)
	}
	spec := plugin.Spec
	if !slices.Equal(spec.Command, []string{"/wi-e2e"}) || spec.Args[0] != "run" {
		t.Fatalf("it runs %q %q", spec.Command, spec.Args)
	}
	cmd := runCommand()
	if err := cmd.ParseFlags(spec.Args[1:]); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"output": sonobuoyResults, "done-file": sonobuoyResults + "/done", "provider": "existing"} {
		if got := cmd.Flag(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
	for _, env := range spec.Env {
		if env.Name == envName("image") && env.Value != spec.Image {
			t.Errorf("%s is %q, and the image %q", env.Name, env.Value, spec.Image)
		}
		if flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(env.Name, "WI_E2E_"), "_", "-")); strings.HasPrefix(env.Name, "WI_E2E_") && cmd.Flag(flag) == nil {
			t.Errorf("%s is of no flag", env.Name)
		}
	}
	for _, mount := range spec.VolumeMounts {
		extra := slices.ContainsFunc(plugin.ExtraVolumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if mount.Name != "results" && !extra { // Sonobuoy itself brings "results"
			t.Errorf("volume %s is nowhere", mount.Name)
		}
	}
}

func TestTheDoneFileIsWrittenLastAndNamesWhatIsThere(t *testing.T) {
	for title, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a run that cannot begin":       {[]string{"--tier", "no-such-tier"}, reports.ExitUsage, "error.txt"},
		"a run that finds no cluster":   {[]string{"--kubeconfig", "/nowhere"}, reports.ExitEnvironment, "junit.xml"},
		"a run with a wrong flag value": {[]string{"--shards", "3"}, reports.ExitUsage, "error.txt"},
	} {
		t.Run(title, func(t *testing.T) {
			ownState(t)
			results := t.TempDir()
			got := wiE2E(t, append([]string{"run", "--output", results, "--done-file", filepath.Join(results, "done")}, c.args...)...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d\n%s", got.code, c.code, got.stderr)
			}
			expectDone(t, results, c.want)
		})
	}
}

// expectDone expects the done file to be the newest, and to name a file that is there.
func expectDone(t *testing.T, results, want string) []byte {
	t.Helper()
	path, err := os.ReadFile(filepath.Join(results, "done"))
	if err != nil {
		t.Fatal(err)
	}
	if string(path) != filepath.Join(results, want) {
		t.Fatalf("it is told %q, want %s", path, filepath.Join(results, want))
	}
	content, err := os.ReadFile(string(path))
	if err != nil || len(content) == 0 {
		t.Fatalf("%d bytes, error %v", len(content), err)
	}
	done, err := os.Stat(filepath.Join(results, "done"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(done.ModTime()) {
			t.Errorf("%s was written after the done file", e.Name())
		}
	}
	return content
}

// sonobuoyRun executes the plugin's very command, as a pod of the cluster would, and expects what Sonobuoy reads of it.
func sonobuoyRun(t *testing.T, kubeconfig string, selection ...string) {
	t.Helper()
	results := t.TempDir()
	var args []string
	for _, arg := range loadPlugin(t).Spec.Args {
		args = append(args, strings.ReplaceAll(arg, sonobuoyResults, results))
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	if got := wiE2E(t, append(args, selection...)...); got.code != reports.ExitPass {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	var junit struct {
		Suites []struct{} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(expectDone(t, results, "junit.xml"), &junit); err != nil || len(junit.Suites) == 0 {
		t.Errorf("%d suites, error %v", len(junit.Suites), err)
	}
}
