package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/hostsnapshot"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// These tests break what a run stands on, and expect that it says so: an error, never a failure of the subject, and no pass of what
// was disturbed. Record and reports are written, and nothing is left behind.

func TestWhatARunStandsOnBreaksAndTheSubjectIsNotBlamed(t *testing.T) {
	needRoot(t)
	admission, exchange := []string{"--tier", "admission"}, []string{"--test", "sdk-go-msal,token-file"}
	for _, c := range []struct {
		name  string
		args  []string
		after string // the phase whose end is waited for
		fault func(t *testing.T, v *victim)
		says  string // in the record
		bears bool   // the run may get over it: tests that were disturbed are tried again
		slow  bool   // pods are waited for as long as their tests may take
	}{
		{"the API server is killed", admission, "plan", killing("kube-apiserver"), "kube-apiserver died", false, false},
		{"the API server is restarted", admission, "plan", restartAPIServer, "", true, false},
		{"containerd is killed", exchange, "propagation", killing("containerd"), "containerd died", false, true},
		{"the emulated Azure is killed", exchange, "propagation", killEmulator, "the Azure emulator", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow && os.Getenv("WI_E2E_TEST_KILL") != "required" {
				t.Skip("it takes minutes: make test-kill")
			}
			v := newVictim(t, c.args)
			machine := v.snapshot(t)
			record := v.runWith(t, c.after, c.fault)
			if n := record.Counts.Tests[reports.Fail] + record.Counts.Tests[reports.Warn]; n > 0 {
				t.Errorf("the subject is blamed by %d tests:\n%s", n, found(record, reports.Fail, reports.Warn))
			}
			survived := c.bears && v.code == reports.ExitPass && record.Verdict.Status != reports.Fail
			if !survived && (v.code != reports.ExitEnvironment || record.Verdict.Status != reports.Error) {
				t.Errorf("exit code %d, want %d; the verdict is %+v\n%s", v.code, reports.ExitEnvironment, record.Verdict, v.stderr)
			}
			if said := found(record, reports.Error, reports.Flake); !strings.Contains(said, c.says) {
				t.Errorf("nothing in the record says %q:\n%s", c.says, said)
			}
			if record.Verdict.ExitCode != v.code {
				t.Errorf("the record has exit code %d, the process ended with %d", record.Verdict.ExitCode, v.code)
			}
			v.expectJUnit(t)
			v.expectAsBefore(t, machine)
		})
	}
}

// TestPortsAreInUseAndTheDiskFillsUpWithoutHarm: a local node's ports are in a network of its own, and room for the reports is taken
// before anything else fills the disk.
func TestPortsAreInUseAndTheDiskFillsUpWithoutHarm(t *testing.T) {
	needRoot(t)
	for _, port := range []string{"80", "443", "2379", "2380", "6443", "10248", "10249", "10250", "10256", "10257", "10259"} {
		taken, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue // by somebody else
		}
		defer taken.Close()
	}
	v := newVictim(t, []string{"--test", "select-exact-label"})
	if err := syscall.Mount("tmpfs", v.output, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(v.output, 0); err != nil {
			t.Error(err)
		}
	}()
	record := v.runWith(t, "check input", func(t *testing.T, v *victim) { fill(t, filepath.Join(v.output, "somebody else's")) })
	if v.code != reports.ExitPass || record.Verdict.Status != reports.Pass {
		t.Errorf("exit code %d, the verdict is %+v\n%s", v.code, record.Verdict, v.stderr)
	}
	v.expectJUnit(t)
}

// TestAClockThatIsWrongIsToldAndTheSubjectIsNotBlamed lets a run see the cluster through an API server that is ahead of its time.
func TestAClockThatIsWrongIsToldAndTheSubjectIsNotBlamed(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	kubeconfig, remove := createCluster(t, state, "clock")
	defer remove()
	if got := wiE2E(t, "run", "--cluster", "clock", "--keep", "--test", "select-exact-label", "--output", output); got.code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	got := wiE2E(t, "run", "--kubeconfig", ahead(t, kubeconfig, 10*time.Minute), "--test", "select-exact-label,skip-names", "--output", output)
	if got.code != reports.ExitEnvironment {
		t.Errorf("exit code %d, want %d", got.code, reports.ExitEnvironment)
	}
	record := load(t, output)
	if n := record.Counts.Tests[reports.Fail] + record.Counts.Tests[reports.Pass]; n > 0 {
		t.Errorf("%d tests were judged", n)
	}
	if said := found(record, reports.Error); !strings.Contains(said, "clock") {
		t.Errorf("nothing says that it is the clock:\n%s", said)
	}
	if got := wiE2E(t, "gc"); got.code != 0 { // what was kept
		t.Errorf("gc: %s%s", got.stdout, got.stderr)
	}
}

// runWith runs to the end, with a fault at the end of a phase, and returns the record.
func (v *victim) runWith(t *testing.T, after string, fault func(t *testing.T, v *victim)) *reports.Record {
	t.Helper()
	said, stderr, err := newSlowReader()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := v.command(ctx)
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	err = cmd.Start()
	stderr.Close()
	if err == nil {
		err = said.awaitPhase([]reports.Phase{{Name: after}})
	}
	if err == nil {
		fault(t, v)
	}
	v.stderr = said.rest()
	_ = cmd.Wait() // its code is looked at
	if err != nil {
		t.Fatalf("%v\n%s", err, v.stderr)
	}
	v.code = cmd.ProcessState.ExitCode()
	v.stderr += stdout.String()
	return load(t, v.output)
}

func (v *victim) expectJUnit(t *testing.T) {
	t.Helper()
	junit, err := os.ReadFile(filepath.Join(v.output, runner.JUnitFile))
	if err == nil {
		err = xml.Unmarshal(junit, new(struct{}))
	}
	if err != nil {
		t.Error(err)
	}
}

// found is all that has one of the statuses.
func found(record *reports.Record, statuses ...reports.Status) string {
	var b strings.Builder
	for _, status := range statuses {
		for _, p := range record.Phases {
			if p.Status == status {
				fmt.Fprintf(&b, "phase %s: %s\n", p.Name, p.Message)
			}
		}
		for _, test := range record.Tests {
			for _, f := range test.Found(status) {
				fmt.Fprintf(&b, "%s: %s\n", test.ID, f.Message)
			}
		}
	}
	return b.String()
}

// node is the number of the init process of the victim's cluster.
func (v *victim) node(t *testing.T) int {
	t.Helper()
	states, err := filepath.Glob(filepath.Join(v.state, "wi-e2e", "clusters", "*", "cluster.json"))
	if err != nil || len(states) != 1 {
		t.Fatalf("the victim has %d clusters, %v", len(states), err)
	}
	data, err := os.ReadFile(states[0])
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Init struct{ PID int } }
	if err := json.Unmarshal(data, &state); err != nil || state.Init.PID == 0 {
		t.Fatalf("%s: %v", data, err)
	}
	return state.Init.PID
}

// component finds a component of the victim's cluster.
func (v *victim) component(t *testing.T, name string) int {
	t.Helper()
	namespace := func(pid int) string {
		ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		return ns
	}
	own, named := namespace(v.node(t)), regexp.MustCompile(`(^|[ /])`+name+` `)
	foreign, err := hostsnapshot.Foreign()
	if err != nil {
		t.Fatal(err)
	}
	for pid, command := range foreign {
		if namespace(pid) == own && named.MatchString(command) {
			return pid
		}
	}
	t.Fatalf("no process %s", name)
	return 0
}

func killing(component string) func(t *testing.T, v *victim) {
	return func(t *testing.T, v *victim) {
		if err := syscall.Kill(v.component(t, component), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// restartAPIServer has the node's init process do so.
func restartAPIServer(t *testing.T, v *victim) {
	const name = "kube-apiserver"
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", v.component(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	args, err := json.Marshal(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")[1:])
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://node/components/"+name, bytes.NewReader(args))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join("/proc", strconv.Itoa(v.node(t)), "root", "run", "wi-e2e", "control.sock")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the node answers %s", response.Status)
	}
}

func killEmulator(t *testing.T, v *victim) {
	kubeconfigs, err := filepath.Glob(filepath.Join(v.state, "wi-e2e", "clusters", "*", "kubeconfig"))
	if err != nil || len(kubeconfigs) != 1 {
		t.Fatalf("%d kubeconfigs, %v", len(kubeconfigs), err)
	}
	err = kubeClient(t, kubeconfigs[0]).CoreV1().Pods(emulated.RunNamespace).DeleteCollection(t.Context(),
		metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes to a file until there is no room left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		t.Fatal(err)
	}
}

// ahead is the kubeconfig of an API server in front of another's, whose clock is that much ahead.
func ahead(t *testing.T, kubeconfig string, skew time.Duration) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(host) },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
			return nil
		},
	}}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	through := clientcmdapi.NewConfig()
	through.Clusters["c"] = &clientcmdapi.Cluster{Server: "http://" + listener.Addr().String()}
	through.AuthInfos["u"] = &clientcmdapi.AuthInfo{}
	through.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	through.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*through, path); err != nil {
		t.Fatal(err)
	}
	return path
}
