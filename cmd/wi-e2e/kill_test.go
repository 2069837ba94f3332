package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wi-e2e/wi-e2e/fixtures/hostsnapshot"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// These tests end runs in each phase of their road, by SIGKILL and by SIGINT, and compare the machine before and after.

// road is a way to run, all of whose phases are ended.
type road struct {
	name string
	args []string
	only []string // the phases that differ from an earlier road's; empty for all
}

// roads are short: a test or two of a tier are enough to come through every phase.
func roads(t *testing.T) []road {
	return []road{
		{"a local cluster", []string{"--publish-issuer", "--test", strings.Join(aTestOfEachTier(t), ",")}, nil},
		{"an emulated AKS", []string{"--provider", "aks", "--azure", "emulated", "--kubernetes-version", "1.34", "--upgrade", "--test", "select-exact-label"},
			[]string{"cluster", "upgrade", "clean-up"}},
		{"shards in the cluster", []string{"--in-cluster", "--shards", "2", "--test", "select-exact-label,skip-names"}, []string{"divide", "start shards", "shards"}},
	}
}

// quickTests are chosen for their time.
var quickTests = []string{"select-exact-label", "sdk-go-msal", "proxy-without-imds", "probes", "issuer-discovery"}

// aTestOfEachTier takes the first of a tier that no quick one is known of.
func aTestOfEachTier(t *testing.T) []string {
	chosen := slices.Clone(quickTests)
	for _, tier := range suites.Tiers {
		if tier == suites.Soak {
			continue // a run leaves it out
		}
		ofTier := slices.DeleteFunc(runner.Tests(), func(test suites.Test) bool { return test.Tier != tier })
		if !slices.ContainsFunc(ofTier, func(test suites.Test) bool { return slices.Contains(chosen, test.ID) }) && len(ofTier) > 0 {
			chosen = append(chosen, ofTier[0].ID)
		}
	}
	t.Logf("the tests are %s", strings.Join(chosen, ", "))
	return chosen
}

// unreached are phases that no road comes through.
var unreached = map[string]string{
	"logs":          "of a run that did not pass",
	"windows nodes": "an emulated AKS has none",
	"resume":        "of a run in the cluster that goes on, which has a test of its own",
	"tests: soak":   "a soak is a run but for its tests",
}

// sample are the phases that `make test` ends runs in, as all of them take ten minutes (make test-kill).
var sample = []string{"cluster", "subject", "azure", "tests: exchange", "clean-up"}

func TestARunThatIsEndedInAnyPhaseLeavesNothing(t *testing.T) {
	needRoot(t)
	all := os.Getenv("WI_E2E_TEST_KILL") == "required"
	ended := map[string]bool{}
	for i, road := range roads(t) {
		if i > 0 && !all {
			break
		}
		t.Run(road.name, func(t *testing.T) {
			phases := road.walk(t)
			for i, p := range phases {
				again := slices.ContainsFunc(phases[:i], func(q reports.Phase) bool { return q.Name == p.Name })
				if again || len(road.only) > 0 && !slices.Contains(road.only, p.Name) || !all && !slices.Contains(sample, p.Name) {
					continue
				}
				t.Run(p.Name, func(t *testing.T) { road.endIn(t, phases[:i], p) })
				ended[p.Name] = true
			}
		})
	}
	wanted := sample
	if all {
		wanted = phasesOfTheRoad(t)
	}
	for _, name := range wanted {
		if _, known := unreached[name]; !ended[name] && !known {
			t.Errorf("no run was ended in the phase %q: add a road that comes through it", name)
		}
	}
}

// walk runs to the end, which leaves nothing either.
func (r road) walk(t *testing.T) []reports.Phase {
	v := newVictim(t, r.args)
	before := v.snapshot(t)
	got := finish(t, v.command(t.Context()))
	if got.code != reports.ExitPass {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	v.expectAsBefore(t, before)
	return load(t, v.output).Phases
}

// endIn ends a run by each signal in the phase that follows those. Both go on at the same time: one leaves half of two processors idle.
func (r road) endIn(t *testing.T, before []reports.Phase, phase reports.Phase) {
	var victims []*victim
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
		v := newVictim(t, r.args)
		v.signal, v.before, v.phase = signal, before, phase
		victims = append(victims, v)
	}
	machine := snapshot(t, victims...)
	var wg sync.WaitGroup
	for _, v := range victims {
		wg.Go(func() { v.err = v.end(t.Context()) })
	}
	wg.Wait()
	for _, v := range victims {
		if v.err != nil {
			t.Errorf("%v: %v", v.signal, v.err)
		}
		v.expectOutcome(t)
	}
	if diff := machine.Diff(snapshot(t, victims...)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
}

// victim is a run that is ended in a phase.
type victim struct {
	args               []string
	state, output, tmp string // its own, so that whatever it leaves is known to be its

	signal syscall.Signal
	before []reports.Phase // that it goes through
	phase  reports.Phase   // that it is ended in

	code   int
	stderr string
	err    error
}

func newVictim(t *testing.T, args []string) *victim {
	t.Helper()
	v := &victim{args: args, state: t.TempDir(), output: t.TempDir(), tmp: t.TempDir()}
	for _, kind := range []string{"aks", "clusters", "incluster", "ledger"} { // which stay for the next run
		if err := os.MkdirAll(filepath.Join(v.state, "wi-e2e", kind), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v *victim) environ() string { return "XDG_STATE_HOME=" + v.state }

func (v *victim) wiE2E(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), v.environ(), "TMPDIR="+v.tmp)
	return cmd
}

func (v *victim) command(ctx context.Context) *exec.Cmd {
	return v.wiE2E(ctx, slices.Concat([]string{"run", "--output", v.output}, v.args)...)
}

func (v *victim) snapshot(t *testing.T) hostsnapshot.Snapshot { return snapshot(t, v) }

// snapshot is of the machine, and of what is the victims'.
func snapshot(t *testing.T, victims ...*victim) hostsnapshot.Snapshot {
	t.Helper()
	var options hostsnapshot.Options
	for _, v := range victims {
		options.Files = append(options.Files, v.state, v.tmp)
		options.Environ = append(options.Environ, v.environ())
	}
	s, err := hostsnapshot.Take(options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (v *victim) expectAsBefore(t *testing.T, before hostsnapshot.Snapshot) {
	t.Helper()
	if diff := before.Diff(v.snapshot(t)); diff != "" {
		t.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
}

// patience is for the phases before the one in question, where everything may have to be compiled.
const patience = 20 * time.Minute

// end starts the run, sends the signal in the midst of its phase, and returns when it has ended.
func (v *victim) end(ctx context.Context) error {
	said, stderr, err := newSlowReader()
	if err != nil {
		return err
	}
	defer said.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := v.command(ctx)
	cmd.Stderr = stderr
	err = errors.Join(cmd.Start(), stderr.Close())
	if err != nil {
		return err
	}
	begun := said.awaitPhase(v.before)
	if begun == nil {
		<-time.After(time.Duration(v.phase.Seconds / 2 * float64(time.Second))) // the moment that is chosen, in a phase that cannot end
		begun = cmd.Process.Signal(v.signal)
	}
	v.stderr = said.rest()
	_ = cmd.Wait() // its code is looked at
	v.code = cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && v.signal == syscall.SIGKILL && begun == nil && !status.Signaled() {
		begun = fmt.Errorf("it ended by itself, with %d, before it was killed", v.code)
	}
	if begun != nil {
		begun = fmt.Errorf("%w\n%s", begun, v.stderr)
	}
	return begun
}

// expectOutcome expects what a user may rely on: an interrupted run cleans up and has a record that says so, and what a killed one
// leaves, gc removes.
func (v *victim) expectOutcome(t *testing.T) {
	t.Helper()
	if v.signal == syscall.SIGKILL {
		for _, says := range []string{"", "nothing is left behind"} {
			if got := finish(t, v.wiE2E(t.Context(), "gc")); got.code != reports.ExitPass || !strings.Contains(got.stdout, says) {
				t.Errorf("%v: gc ends with %d, and should say %q:\n%s%s", v.signal, got.code, says, got.stdout, got.stderr)
			}
		}
		return
	}
	if v.code != reports.ExitInterrupted {
		t.Errorf("%v: exit code %d, want %d:\n%s", v.signal, v.code, reports.ExitInterrupted, v.stderr)
	}
	record, err := reports.Load(filepath.Join(v.output, runner.RecordFile))
	if err != nil {
		t.Errorf("%v: %v", v.signal, err)
		return
	}
	if got := record.Verdict; got.ExitCode != reports.ExitInterrupted || got.Status != reports.Error {
		t.Errorf("%v: the verdict is %+v", v.signal, got)
	}
	if n := record.Counts.Tests[reports.Fail]; n > 0 {
		t.Errorf("%v: %d tests failed", v.signal, n)
	}
	v.expectJUnit(t)
}

// slowReader reads what a run says of its progress, one line at a time. Its pipe has room for one: the run cannot say that a phase has
// ended, and so cannot go on to the next, as long as the line before is not read.
type slowReader struct {
	pipe *os.File
	peek [2]*os.File // a second pipe, for a look at a line that stays unread
	read bytes.Buffer
}

func newSlowReader() (r *slowReader, write *os.File, err error) {
	var said, peek [2]int
	err = errors.Join(unix.Pipe2(said[:], unix.O_DIRECT|unix.O_CLOEXEC), unix.Pipe2(peek[:], unix.O_CLOEXEC))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(said[0]), unix.F_SETPIPE_SZ, os.Getpagesize()) // a packet
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe with room for one line: %w", err)
	}
	file := func(fd int) *os.File { return os.NewFile(uintptr(fd), "progress") }
	return &slowReader{pipe: file(said[0]), peek: [2]*os.File{file(peek[0]), file(peek[1])}}, file(said[1]), nil
}

// awaitPhase returns in the phase that follows those, with the line unread that ended the last of them.
func (r *slowReader) awaitPhase(before []reports.Phase) error {
	ends := []string{"• "} // the first lines, before the first phase
	for _, p := range before {
		ends = append(ends, "✓ "+p.Name+" (")
	}
	for {
		line, err := r.next()
		if err != nil {
			return fmt.Errorf("wait for the line %q: %w", ends[0], err)
		}
		if strings.HasPrefix(line, ends[0]) {
			if ends = ends[1:]; len(ends) == 0 {
				return nil
			}
		}
		if err := r.consume(); err != nil {
			return err
		}
	}
}

// next looks at the line that is to be read next.
func (r *slowReader) next() (string, error) {
	for {
		n, err := unix.Tee(int(r.pipe.Fd()), int(r.peek[1].Fd()), os.Getpagesize(), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", err
		}
		if n == 0 {
			return "", errors.New("the run has ended")
		}
		line := make([]byte, n)
		_, err = r.peek[0].Read(line)
		return string(line), err
	}
}

func (r *slowReader) consume() error {
	line := make([]byte, os.Getpagesize())
	n, err := r.pipe.Read(line)
	r.read.Write(line[:n])
	return err
}

// rest reads to the end, and returns all that was read.
func (r *slowReader) rest() string {
	for r.consume() == nil {
	}
	return r.read.String()
}

func (r *slowReader) Close() {
	r.pipe.Close()
	r.peek[0].Close()
	r.peek[1].Close()
}

// phasesOfTheRoad are the names of all phases that the runner's source has.
func phasesOfTheRoad(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../suites/runner/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the runner's source: %d files, %v", len(files), err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			if method, ok := call.Fun.(*ast.SelectorExpr); !ok || method.Sel.Name != "phase" {
				return true
			}
			switch name := call.Args[1].(type) {
			case *ast.BasicLit:
				text, err := strconv.Unquote(name.Value)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, text)
			case *ast.BinaryExpr: // "tests: " and the tier
				for _, tier := range suites.Tiers {
					names = append(names, "tests: "+string(tier))
				}
			case *ast.Ident: // broken, whose phases have no time
			default:
				t.Errorf("%s has a phase whose name cannot be read", file)
			}
			return true
		})
	}
	if len(names) < 10 {
		t.Fatalf("the runner's source has only the phases %q", names)
	}
	return names
}
