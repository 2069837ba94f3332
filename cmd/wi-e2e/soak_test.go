package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// TestASoakThatIsInterruptedGoesOnToItsEnd: what it had found is kept, a rotation of the key included, and only the rest of its time is soaked.
func TestASoakThatIsInterruptedGoesOnToItsEnd(t *testing.T) {
	needRoot(t)
	const duration, interruptedAt = 75 * time.Second, 30 * time.Second // the key is rotated at a third
	v := newVictim(t, nil)
	v.do(t, "cluster", "create", "soak")
	defer func() { v.do(t, "cluster", "delete", "soak") }()
	soak := []string{"soak", "--cluster", "soak", "--output", v.output, "--test", "soak-go-azidentity,soak-webhook,soak-key-rotation"}

	cmd := v.wiE2E(t.Context(), append(soak, "--duration", duration.String())...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	go func() {
		defer end()
		_ = cmd.Wait() // its code is looked at
	}()
	reached := v.awaitCheckpoint(ended, interruptedAt)
	interrupted := cmd.Process.Signal(syscall.SIGINT)
	<-ended.Done()
	if reached != nil || interrupted != nil || cmd.ProcessState.ExitCode() != reports.ExitInterrupted {
		t.Fatalf("exit code %d, want %d (%v, %v)\n%s", cmd.ProcessState.ExitCode(), reports.ExitInterrupted, reached, interrupted, output.String())
	}
	before := v.checkpoint()

	v.do(t, append(soak, "--resume")...)
	if _, err := os.Stat(filepath.Join(v.output, runner.CheckpointFile)); !os.IsNotExist(err) {
		t.Errorf("the checkpoint of a soak that has ended is still there: %v", err)
	}
	record := load(t, v.output)
	for _, phase := range record.Phases {
		if rest := (duration - before.Passed.Duration).Seconds(); phase.Name == "tests: soak" && (phase.Seconds < rest-1 || phase.Seconds > duration.Seconds()) {
			t.Errorf("the rest of %.0f s was soaked for %.0f s", rest, phase.Seconds)
		}
	}
	for _, test := range record.Tests {
		if notes := strings.Join(test.Cases[0].Notes, "\n"); !strings.Contains(notes, "goes on after an interruption") {
			t.Errorf("test %s does not say that it goes on:\n%s", test.ID, notes)
		}
	}
}

// do runs a command, which has to succeed.
func (v *victim) do(t *testing.T, args ...string) {
	t.Helper()
	if got := finish(t, v.wiE2E(context.WithoutCancel(t.Context()), args...)); got.code != 0 {
		t.Fatalf("%s: exit code %d\n%s\n%s", args, got.code, got.stdout, got.stderr)
	}
}

// soakCheckpoint is what a user can read in the file, too.
type soakCheckpoint struct {
	Passed metav1.Duration `json:"passed"`
}

// checkpoint is zero while there is none.
func (v *victim) checkpoint() (c soakCheckpoint) {
	data, err := os.ReadFile(filepath.Join(v.output, runner.CheckpointFile))
	if err == nil {
		_ = json.Unmarshal(data, &c) // while it is none
	}
	return c
}

// awaitCheckpoint returns when so much of the soak has passed.
func (v *victim) awaitCheckpoint(ctx context.Context, passed time.Duration) error {
	for v.checkpoint().Passed.Duration < passed {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
