package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// These tests use wi-e2e as its users do: the binary, its arguments, its output and exit codes, on real clusters.

// binary is wi-e2e, compiled for the tests.
var binary string

// TestMain lets the test binary be wi-e2e as well, for tests that call the runner: a node's init process, and the programs of
// wi-e2e's image.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		main()
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "wi-e2e-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "wi-e2e")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs in a scratch image too
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "compile wi-e2e: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: a local cluster needs it")
	}
}

// result is what a finished wi-e2e left.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// wiE2E runs the binary to its end.
func wiE2E(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	return finish(t, cmd)
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(started)}
}

// ownState gives the test a state directory of its own, so that it sees only its own clusters and ledgers.
func ownState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	return dir
}

// expectNothingLeft expects no cluster and no ledger in the test's state directory.
func expectNothingLeft(t *testing.T, state string) {
	t.Helper()
	list := wiE2E(t, "cluster", "list")
	if lines := strings.Split(strings.TrimSpace(list.stdout), "\n"); len(lines) != 1 {
		t.Errorf("clusters are left: %s", list.stdout)
	}
	ledgers, err := filepath.Glob(filepath.Join(state, "wi-e2e", "ledger", "*.jsonl"))
	if err != nil || len(ledgers) > 0 {
		t.Errorf("ledgers are left: %v %v", ledgers, err)
	}
}

// createCluster returns the kubeconfig of a new cluster, and what deletes it and expects nothing left. That is to be deferred: a
// clean-up of t comes too late, when the context of its commands has ended.
func createCluster(t *testing.T, state, name string) (kubeconfig string, remove func()) {
	t.Helper()
	created := wiE2E(t, "cluster", "create", name)
	if created.code != 0 {
		t.Fatalf("create: %s", created.stderr)
	}
	return strings.TrimSpace(created.stdout), func() {
		if got := wiE2E(t, "cluster", "delete", name); got.code != 0 {
			t.Errorf("delete: %s", got.stderr)
		}
		expectNothingLeft(t, state)
	}
}

func load(t *testing.T, output string) *reports.Record {
	t.Helper()
	record, err := reports.Load(filepath.Join(output, runner.RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestARunFromNothingPassesItsReportsAgreeAndNothingLeaks is the main job, once for everything that a run shows, in the tiers that handle
// tokens and secrets. It keeps the cluster, for the logs of the pods; that a run leaves nothing is seen where the runs are shorter.
func TestARunFromNothingPassesItsReportsAgreeAndNothingLeaks(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	defer func() {
		for line := range strings.Lines(wiE2E(t, "cluster", "list").stdout) {
			if name := strings.Fields(line)[0]; name != "NAME" {
				if got := wiE2E(t, "cluster", "delete", name); got.code != 0 {
					t.Errorf("delete: %s", got.stderr)
				}
			}
		}
		expectNothingLeft(t, state)
	}()
	got := wiE2E(t, "run", "--keep", "--tier", "admission,exchange,proxy,issuer", "--output", output)
	if got.code != reports.ExitPass {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	record := load(t, output)
	write(t, filepath.Join(output, "stdout"), got.stdout)
	write(t, filepath.Join(output, "stderr"), got.stderr)
	expectNoLeaks(t, record.Cluster.Name, output)

	if n := record.Counts.Cases[reports.Pass]; n < 250 {
		t.Errorf("%d cases passed, want at least 250", n)
	}
	for status, n := range record.Counts.Tests {
		if status != reports.Pass && status != reports.Skip {
			t.Errorf("%d tests are %s", n, status)
		}
	}
	for _, p := range record.Phases {
		t.Logf("%-20s %6.2f s, own processor time %5.2f s", p.Name, p.Seconds, p.CPUSeconds)
	}

	var junit struct {
		Suites []struct {
			Name  string     `xml:"name,attr"`
			Cases []struct{} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	data, err := os.ReadFile(filepath.Join(output, runner.JUnitFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(data, &junit); err != nil {
		t.Fatal(err)
	}
	inJUnit, inRecord := 0, 0
	for _, s := range junit.Suites {
		if s.Name != "phases" {
			inJUnit += len(s.Cases)
		}
	}
	for _, test := range record.Tests {
		inRecord += max(1, len(test.Cases))
	}
	if inJUnit != inRecord {
		t.Errorf("junit.xml has %d cases, record.json %d", inJUnit, inRecord)
	}
	if want := fmt.Sprintf("%d cases", record.Counts.Cases[reports.Pass]); !strings.Contains(got.stdout, want) {
		t.Errorf("the summary does not say %q:\n%s", want, got.stdout)
	}
}

// TestABrokenWebhookIsAnErrorAndNeverADenial uses one cluster for everything that needs an installation that was there before the run.
func TestABrokenWebhookIsAnErrorAndNeverADenial(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	kubeconfig, remove := createCluster(t, state, "broken")
	defer remove()

	// Leaves the reference installed.
	if got := wiE2E(t, "run", "--cluster", "broken", "--keep", "--test", "select-exact-label", "--output", output); got.code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	t.Run("an installed webhook is found on an existing cluster, and nothing is left in it", func(t *testing.T) {
		got := wiE2E(t, "run", "--kubeconfig", kubeconfig, "--output", output, "--tier", "admission", "--test", "!unchanged-schema-fields")
		if got.code != 0 {
			t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
		record := load(t, output)
		if record.Subject.Kind != "preinstalled" || len(record.Subject.Images) == 0 || record.Subject.Images[0].Digest == "" {
			t.Errorf("the subject is recorded as %+v", record.Subject)
		}
		if namespaces := testNamespaces(t, kubeconfig); len(namespaces) > 1 { // the --keep run above left its own
			t.Errorf("namespaces are left: %q", namespaces)
		}
	})
	t.Run("no webhook pods", func(t *testing.T) {
		scaleWebhook(t, kubeconfig, 0)
		got := wiE2E(t, "run", "--kubeconfig", kubeconfig, "--output", output)
		if got.code != reports.ExitEnvironment {
			t.Errorf("exit code %d, want %d\n%s", got.code, reports.ExitEnvironment, got.stdout)
		}
		record := load(t, output)
		if record.Counts.Tests[reports.Pass] > 0 || record.Verdict.Status != reports.Error {
			t.Errorf("%d tests passed, the verdict is %+v", record.Counts.Tests[reports.Pass], record.Verdict)
		}
		if got.took > 20*time.Second {
			t.Errorf("it took %s to say so", got.took)
		}
	})
}

func TestBadInputIsToldWithinSecondsAndLeavesNothing(t *testing.T) {
	state, dir := ownState(t), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	chart := filepath.Join(dir, "chart")
	if err := os.MkdirAll(filepath.Join(chart, "templates"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(chart, "Chart.yaml"), "apiVersion: v2\nname: broken\nversion: 1.0.0\n")
	write(t, filepath.Join(chart, "templates", "x.yaml"), "{{ .Values.nothing.here }}")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	unreachable := file("unreachable.yaml", "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\nclusters: [{name: c, cluster: {server: 'https://"+address+"'}}]\n")
	manifest := file("manifest.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\n{not yaml")

	for _, c := range []struct {
		name string
		args string
		code int
		says string
		root bool
	}{
		{name: "an unknown flag", args: "run --colour", code: 2, says: "unknown flag: --colour"},
		{name: "an unknown verb", args: "rum", code: 2, says: `"rum"`},
		{name: "an argument too many", args: "run now", code: 2, says: `"now"`},
		{name: "an argument too few", args: "cluster create", code: 2, says: "the cluster's name"},
		{name: "an unknown provider", args: "run --provider gke", code: 2, says: `unknown provider "gke"`},
		{name: "an unknown tier", args: "run --tier exchnage", code: 2, says: `unknown tier "exchnage"`},
		{name: "an unknown test", args: "run --test skip-names,nope", code: 2, says: `unknown test "nope"`},
		{name: "an unknown requirement", args: "run --requirement EXP-99", code: 2, says: `unknown requirement "EXP-99"`},
		{name: "a malformed seed", args: "run --seed many", code: 2, says: "many"},
		{name: "a configuration with an unknown key", args: "run --config " + file("run.yaml", "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\ncluser: {}\n"), code: 2, says: "cluser"},
		{name: "a configuration that is not there", args: "run --config /nowhere/run.yaml", code: 2, says: "/nowhere/run.yaml"},
		{name: "a kubeconfig that is not there", args: "run --kubeconfig /nowhere/config", code: 3, says: "/nowhere/config"},
		{name: "an API server that does not answer", args: "run --kubeconfig " + unreachable, code: 3, says: address},
		{name: "a context that is not there", args: "run --kubeconfig " + unreachable + " --context other", code: 3, says: "other"},
		{name: "a chart that does not render", args: "run --subject helm --chart " + chart, code: 3, says: "templates/x.yaml", root: true},
		{name: "an image archive that is none", args: "run --image-archive " + manifest, code: 3, says: manifest, root: true},
		{name: "a manifest that is none", args: "run --subject manifest --manifest " + manifest, code: 3, says: manifest, root: true},
		{name: "an unknown Kubernetes version", args: "run --kubernetes-version 1.2", code: 3, says: "1.2", root: true},
		{name: "a cluster that is not there", args: "run --cluster nowhere", code: 3, says: "nowhere", root: true},
		{name: "a cluster to delete that is not there", args: "cluster delete nowhere", code: 3, says: "nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				needRoot(t)
			}
			args := strings.Fields(c.args)
			if args[0] == "run" {
				args = append(args, "--output", t.TempDir())
			}
			got := wiE2E(t, args...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			if all := got.stdout + got.stderr; !strings.Contains(all, c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, all)
			}
			if got.took > 15*time.Second {
				t.Errorf("it took %s", got.took)
			}
		})
	}
	expectNothingLeft(t, state)
}

func TestPlanAndListsTellWithoutACluster(t *testing.T) {
	for _, c := range []struct {
		args string
		says []string
	}{
		{"plan --seed 7", []string{"expiration-out-of-bounds", "issuer-key-rotation", "run alone", "seed 7"}},
		{"plan --kubeconfig /nowhere --profile 1.5", []string{"skip (no-control-plane-access)", "skip (not-configured)"}},
		{"list tests", []string{"expiration-out-of-bounds", "EXP-03"}},
		{"list requirements", []string{"EXP-03", "MUST", "virtual-nodes-avoided", "WIN-04"}},
		{"version", []string{"wi-e2e", "Kubernetes v1."}},
		{"--help", []string{"Exit codes", "cluster", "run"}},
		{"run --help", []string{"--image-archive FILE", "wi-e2e run --requirement EXP-03"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := wiE2E(t, strings.Fields(c.args)...)
			if got.code != 0 {
				t.Fatalf("exit code %d: %s", got.code, got.stderr)
			}
			for _, s := range c.says {
				if !strings.Contains(got.stdout, s) {
					t.Errorf("it does not say %q:\n%s", s, got.stdout)
				}
			}
		})
	}
}
