package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// unreadable is a file that programs of an image, which are not root, cannot read.
const unreadable = "/unreadable/token"

// brokenSDKs are workloads whose SDK finds one thing to be other than what the webhook injected, and what it says of that. Each
// is refused at once: an authority that nobody serves would be asked again for seconds, at each of the row's attempts.
var brokenSDKs = map[string]struct {
	variable, value string
	says            []string
}{
	"python-azidentity": {"AZURE_TENANT_ID", "99999999-9999-4999-8999-999999999999", []string{"AADSTS90002", "99999999-9999-4999-8999-999999999999"}},
	"python-msal":       {"AZURE_CLIENT_ID", "99999999-9999-4999-8999-999999999999", []string{"AADSTS700016", "99999999-9999-4999-8999-999999999999"}},
	"node-msal":         {"AZURE_FEDERATED_TOKEN_FILE", unreadable, []string{"EACCES", unreadable}},
}

func TestAnSDKThatIsBrokenOnPurposeFailsItsOwnRowOnlyAndInItsOwnWords(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	rows := []string{"go-azidentity", "node-azidentity", "node-msal", "python-azidentity", "python-msal"}
	config := runner.Config{Output: output}
	for _, row := range rows {
		config.Select.Tests = append(config.Select.Tests, "sdk-"+row)
	}
	record, err := runner.Run(t.Context(), config, runner.Options{
		Version: "test", Observer: reports.NewConsole(io.Discard, reports.ConsoleOptions{}), Rerun: func(string) string { return "" },
		Build: buildBroken,
	})
	if err != nil {
		t.Fatal(err)
	}
	var summary bytes.Buffer
	if err := reports.WriteSummary(&summary, record, reports.SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(output, "summary"), summary.String())

	for _, p := range record.Phases {
		t.Logf("%-20s %6.2f s, own processor time %5.2f s", p.Name, p.Seconds, p.CPUSeconds)
	}
	if record.Verdict.Status != reports.Fail || record.Verdict.ExitCode != reports.ExitFailed {
		t.Errorf("the verdict is %+v, want that the subject failed", record.Verdict)
	}
	if len(record.Tests) != len(rows) {
		t.Errorf("%d tests ran, want %d", len(record.Tests), len(rows))
	}
	for _, test := range record.Tests {
		row := strings.TrimPrefix(test.ID, "sdk-")
		broken, isBroken := brokenSDKs[row]
		if want := map[bool]reports.Status{false: reports.Pass, true: reports.Fail}[isBroken]; test.Status != want {
			t.Errorf("%s: %s, want %s: %+v", test.ID, test.Status, want, test)
		}
		ran := 0
		for _, c := range test.Cases {
			for _, w := range c.Workloads {
				ran++
				t.Logf("%s: %s %s", w.Name, w.SecretSHA256, w.Error)
				if isBroken != (w.Error != "") || isBroken != (w.SecretSHA256 == "") {
					t.Errorf("%s, case %q: read %q, error %q", test.ID, c.Name, w.SecretSHA256, w.Error)
				}
				for _, want := range broken.says {
					if !strings.Contains(w.Error, want) {
						t.Errorf("%s, case %q: its error does not say %s: %s", test.ID, c.Name, want, w.Error)
					}
					if !strings.Contains(summary.String(), want) {
						t.Errorf("the summary does not say %s:\n%s", want, summary.String())
					}
				}
			}
		}
		if ran == 0 {
			t.Errorf("%s: nothing ran: %+v", test.ID, test)
		}
		if logs, err := filepath.Glob(filepath.Join(output, runner.LogsDir, "pods", "*"+test.ID+"_*")); err != nil || len(logs) == 0 {
			t.Errorf("%s: the log of its pod is not among what is searched for leaks: %v", test.ID, err)
		}
	}
	expectWithheld(t, output, "sdk-"+talkative)
	if found := leaks(t, output); len(found) > 0 {
		t.Errorf("a secret or a token is in: %s", strings.Join(found, ", "))
	}
	if got := wiE2E(t, "report", "verify", "--secrets", output); got.code != reports.ExitPass {
		t.Errorf("verify: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	expectNothingLeft(t, state)
}

// talkative is a workload that prints its token, and the secret as it makes the hash of it. That is no fault of the subject's.
const talkative = "node-azidentity"

const talk = `import crypto from "node:crypto"; import fs from "node:fs"; console.error(fs.readFileSync(process.env.AZURE_FEDERATED_TOKEN_FILE).toString()); ` +
	`const {update} = crypto.Hash.prototype; crypto.Hash.prototype.update = function (value, ...more) { console.error(String(value)); return update.call(this, value, ...more); };`

// expectWithheld expects that a test's pods printed a token and the secret, and that both were withheld from their logs.
func expectWithheld(t *testing.T, output, test string) {
	t.Helper()
	var said strings.Builder
	logs := filepath.Join(output, runner.LogsDir, "pods")
	err := filepath.WalkDir(logs, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(path, test+"_") {
			return err
		}
		data, err := os.ReadFile(path)
		said.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []redact.Kind{redact.Token, redact.Secret} {
		if !strings.Contains(said.String(), kind.Mark()) {
			t.Errorf("%s is not among what was withheld from the logs of %s, so that it was not printed", kind, test)
		}
	}
}

// buildBroken is workloads.Build with the SDKs of brokenSDKs, and one that talks.
func buildBroken(ctx context.Context, name string, versions workloads.Versions, progress func(note string)) (v1.Image, string, error) {
	img, ref, err := workloads.Build(ctx, name, versions, progress)
	broken, isBroken := brokenSDKs[name]
	if err == nil && name == talkative {
		img, err = withScript(img, talk)
	}
	if err != nil || !isBroken {
		return img, ref, err
	}
	if img, err = withVariable(img, broken.variable, broken.value); err == nil {
		img, err = mutate.AppendLayers(img, unreadableFile())
	}
	return img, ref, err
}

// withVariable has an image's program start with an environment variable that a pod cannot change.
func withVariable(img v1.Image, variable, value string) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := file.Config
	if runtime := config.Entrypoint[0]; filepath.Base(runtime) == "node" {
		config.Entrypoint = slices.Insert(slices.Clone(config.Entrypoint), 1, "--import", fmt.Sprintf("data:text/javascript,process.env.%s=%q", variable, value))
	} else {
		start := fmt.Sprintf("import os, sys; os.environ[%q] = %q; os.execv(sys.argv[1], sys.argv[1:])", variable, value)
		config.Entrypoint = slices.Concat([]string{runtime, "-c", start}, config.Entrypoint)
	}
	return mutate.Config(img, config)
}

// withScript has Node run a script before an image's program.
func withScript(img v1.Image, script string) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := file.Config
	config.Entrypoint = slices.Insert(slices.Clone(config.Entrypoint), 1, "--import", "data:text/javascript,"+url.PathEscape(script))
	return mutate.Config(img, config)
}

func unreadableFile() v1.Layer {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	_ = w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(unreadable, "/"), Mode: 0o600}) // never fails in memory, as Close
	_ = w.Close()
	return static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer)
}
