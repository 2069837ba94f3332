package reports

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// play runs events against a console on fake time and returns what it wrote. shown reads the output so far.
func play(t *testing.T, opts ConsoleOptions, events func(c *Console, shown func() string)) string {
	t.Helper()
	var out lockedBuffer
	synctest.Test(t, func(t *testing.T) {
		c := NewConsole(&out, opts)
		defer c.Close()
		events(c, func() string {
			synctest.Wait()
			return out.String()
		})
	})
	return out.String()
}

// sampleRun is a run with long phases, and a tier that has every status.
func sampleRun(c *Console) {
	c.RunStarted("cluster: local, because this machine runs Linux as root", "seed: 42")
	c.PhaseStarted("cluster")
	c.PhaseNote("compiling etcd")
	time.Sleep(4500 * time.Millisecond)
	c.PhaseNote("compiling kube-apiserver")
	time.Sleep(30 * time.Second)
	c.PhaseNote("compiling kubelet")
	time.Sleep(3 * time.Second)
	c.PhaseFinished(Phase{Name: "cluster", Status: Pass, Seconds: 37.5})
	c.PhaseStarted("tests")
	c.TierStarted("admission", 6)
	for _, test := range mixedRecord().Tests {
		if test.Tier == "admission" && test.Status != Skip {
			time.Sleep(500 * time.Millisecond)
			c.TestFinished(test)
		}
	}
	c.TierFinished("admission")
	c.PhaseFinished(Phase{Name: "tests", Status: Fail, Seconds: 2})
	c.PhaseStarted("clean-up")
	c.PhaseFinished(Phase{Name: "clean-up", Status: Error, Seconds: 0.2, Message: "delete cluster: busy\nmount /x"})
}

func TestConsoleOffATerminalPrintsPlainLines(t *testing.T) {
	got := play(t, ConsoleOptions{}, func(c *Console, _ func() string) { sampleRun(c) })
	want := `• cluster: local, because this machine runs Linux as root
• seed: 42
  cluster: compiling kube-apiserver (10s)
  cluster: compiling kubelet (35s)
✓ cluster (37.5s)
✗ EXP-03,EXP-05 expiration-refused: pod annotation 3599: the pod was admitted, want a refusal
✗ EXP-03,EXP-05 expiration-refused: pod annotation 86401: the pod was admitted, want a refusal
✗ EXP-03,EXP-05 expiration-refused: pod annotation 0: the pod was admitted, want a refusal
✗ EXP-03,EXP-05 expiration-refused: pod annotation -1: the pod was admitted, want a refusal
✗ EXP-03,EXP-05 expiration-refused: pod annotation 100: the pod was admitted, want a refusal
✗ expiration-refused: and 1 more
✗ admission: 4 of 6 tests, 12 cases: 1 fail, 1 flake, 1 warn (2.0s)
✗ tests (2.0s)
✗ clean-up (0.2s): delete cluster: busy
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestConsoleOffATerminalShowsLifeEveryTenSecondsWhenThereIsNews(t *testing.T) {
	got := play(t, ConsoleOptions{}, func(c *Console, _ func() string) {
		time.Sleep(plainCheck / 2) // so that no event falls on a tick, where either may come first
		c.PhaseStarted("cluster")
		for i := range 70 {
			c.PhaseNote(fmt.Sprintf("package %d", min(i, 25)))
			time.Sleep(time.Second)
		}
		c.TierStarted("admission", 2)
		time.Sleep(15 * time.Second)
		c.TestFinished(Test{ID: "a", Tier: "admission", Status: Pass, Cases: []Case{{Name: "x", Status: Pass}}})
		time.Sleep(15 * time.Second)
	})
	times := regexp.MustCompile(`\((\d+)s\)|\((\d+m\d+s)\)`).FindAllString(got, -1)
	want := []string{"(10s)", "(20s)", "(30s)", "(10s)", "(20s)"}
	if diff := cmp.Diff(want, times); diff != "" {
		t.Errorf("signs of life (-want +got):\n%s\nin\n%s", diff, got)
	}
	if !strings.Contains(got, "package 25 (30s)") || !strings.Contains(got, "admission: 1 of 2 tests, 1 case (20s)") {
		t.Errorf("old news in\n%s", got)
	}
}

func TestConsoleOnATerminal(t *testing.T) {
	var midway, failing string
	got := play(t, ConsoleOptions{Terminal: true}, func(c *Console, shown func() string) {
		c.RunStarted("seed: 42")
		c.PhaseStarted("tests")
		c.PhaseNote("running")
		c.TierStarted("admission", 2)
		time.Sleep(2500 * time.Millisecond)
		midway = screen(t, shown())
		c.TestFinished(Test{
			ID: "early", Tier: "admission", Requirements: []string{"SEL-01"}, Status: Fail, Title: "Early",
			Findings: []Finding{{Status: Fail, Message: "mutated\nalthough unlabelled"}},
		})
		failing = screen(t, shown())
		c.TestFinished(Test{ID: "late", Tier: "admission", Status: Pass})
		c.TierFinished("admission")
		c.PhaseFinished(Phase{Name: "tests", Status: Fail, Seconds: 2.5})
		c.PhaseStarted("clean-up")
		time.Sleep(time.Second)
	})
	for name, tc := range map[string]struct{ got, want string }{
		"shows running phase and tier in a line each": {midway, `• seed: 42
⠴ tests: running (2s)
⠴ admission: 0 of 2 tests, 0 cases (2s)`},
		"prints a failure above the live lines at once": {failing, `• seed: 42
✗ SEL-01 early: mutated
⠴ tests: running (2s)
⠴ admission: 1 of 2 tests, 0 cases: 1 fail (2s)`},
		"leaves only what happened": {screen(t, got), `• seed: 42
✗ SEL-01 early: mutated
✗ admission: 2 of 2 tests, 0 cases: 1 fail (2.5s)
✗ tests (2.5s)
`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("screen (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTerminalAndPlainConsoleLeaveTheSameLines(t *testing.T) {
	for _, color := range []bool{false, true} {
		run := func(c *Console, _ func() string) { sampleRun(c) }
		plain := play(t, ConsoleOptions{Color: color}, run)
		plain = regexp.MustCompile(`(?m)^  .*\n`).ReplaceAllString(plain, "") // signs of life
		terminal := play(t, ConsoleOptions{Terminal: true, Color: color}, run)
		if diff := cmp.Diff(screen(t, plain), screen(t, terminal)); diff != "" {
			t.Errorf("colour %v: last screen (-plain +terminal):\n%s", color, diff)
		}
		if got := strings.Contains(terminal, "\x1b[31m"); got != color {
			t.Errorf("colour in the output: %v, want %v", got, color)
		}
	}
}

func TestConsoleRedrawsOnlyOnATerminalAndOnlyWhileThereIsSomethingToShow(t *testing.T) {
	var before, after string
	play(t, ConsoleOptions{Terminal: true}, func(_ *Console, shown func() string) {
		before = shown()
		time.Sleep(time.Minute)
		after = shown()
	})
	if before != "" || after != "" {
		t.Errorf("an idle console wrote %q, then %q", before, after)
	}
	plain := play(t, ConsoleOptions{}, func(c *Console, _ func() string) {
		c.PhaseStarted("x")
		time.Sleep(time.Minute)
	})
	if strings.ContainsAny(plain, "\r\x1b") {
		t.Errorf("cursor control off a terminal: %q", plain)
	}
}

func TestConsoleAfterClosePrintsPlainLines(t *testing.T) {
	got := play(t, ConsoleOptions{Terminal: true}, func(c *Console, _ func() string) {
		c.PhaseStarted("cluster")
		time.Sleep(time.Second)
		c.Close()
		c.Close()
		c.PhaseFinished(Phase{Name: "cluster", Status: Error, Message: "interrupted"})
		c.TierFinished("never started")
	})
	if diff := cmp.Diff("✗ cluster (0.0s): interrupted\n", screen(t, got)); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestConsoleSpellsOutEscapeSequencesOfOthers(t *testing.T) {
	got := play(t, ConsoleOptions{}, func(c *Console, _ func() string) {
		c.RunStarted("\x1b[2J")
		c.PhaseStarted("x")
		c.PhaseNote("\x1b]0;title\a")
		time.Sleep(11 * time.Second)
		c.PhaseFinished(Phase{Name: "x", Status: Error, Message: "\x1b[31m"})
		c.TestFinished(Test{ID: "\x1b", Status: Error, Cases: []Case{{Name: "\r", Status: Error}}})
	})
	if strings.ContainsAny(got, "\x1b\r\a") {
		t.Errorf("control characters came through: %q", got)
	}
}

// screen is what a terminal shows after the output: it knows the few sequences that Console uses, and no other.
func screen(t *testing.T, output string) string {
	t.Helper()
	lines := [][]rune{nil}
	row, col, wrap := 0, 0, true
	sequence := regexp.MustCompile(`^\x1b\[(\??[0-9;]*)([A-Za-z])`)
	for len(output) > 0 {
		if m := sequence.FindStringSubmatch(output); m != nil {
			output = output[len(m[0]):]
			switch m[2] {
			case "A":
				n, err := strconv.Atoi(m[1])
				if err != nil || n > row {
					t.Fatalf("cursor up %q from row %d", m[1], row)
				}
				row -= n
			case "J":
				lines = lines[:row+1]
				lines[row] = lines[row][:min(col, len(lines[row]))]
			case "l", "h":
				wrap = m[2] == "h"
			case "m":
			default:
				t.Fatalf("sequence %q", m[0])
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(output)
		output = output[size:]
		switch r {
		case '\r':
			col = 0
		case '\n':
			row, col = row+1, 0
			if row == len(lines) {
				lines = append(lines, nil)
			}
		case '\x1b':
			t.Fatalf("escape before %q", output)
		default:
			lines[row] = append(lines[row][:min(col, len(lines[row]))], r)
			col++
		}
	}
	if !wrap {
		t.Error("the terminal was left without line wrap")
	}
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(l))
	}
	return b.String()
}

// lockedBuffer is read by the test while the console writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
