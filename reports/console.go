package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// ConsoleOptions are for the caller to find out: what the writer is and what its reader wants (NO_COLOR).
type ConsoleOptions struct {
	// Terminal draws live lines with a spinner, on a writer that obeys ANSI cursor sequences.
	Terminal bool
	Color    bool
	// Secrets are withheld from all that is shown, before it is cut to a line. nil knows what secrets look like, and no literal.
	Secrets *redact.Redactor
}

// Console shows a run's progress to people. On a terminal the running phase and tiers have live
// lines below everything else; elsewhere they get a plain line now and then, when there is news.
// Broken tests are told at once, with their reason.
//
// Errors of the writer are dropped: progress that nobody reads is no reason to stop a run.
type Console struct {
	style
	w        io.Writer
	terminal bool
	secrets  *redact.Redactor

	mu    sync.Mutex
	live  []*liveLine
	drawn int // live lines on the screen; the cursor is at the end of the last
	frame int

	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

var _ Observer = (*Console)(nil)

const (
	redrawEvery = 100 * time.Millisecond // smooth to the eye, free for the machine
	plainEvery  = 10 * time.Second       // a sign of life in a pipeline's log that does not flood it
	plainCheck  = time.Second
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// liveLine is a phase or a tier that is going on.
type liveLine struct {
	name    string
	tier    bool
	detail  string
	started time.Time

	// Of a tier.
	planned, done, cases int
	tests                map[Status]int

	// What plain mode printed last, and when; at first nothing, when it started.
	told   string
	toldAt time.Time
}

// NewConsole shows progress on w until Close.
func NewConsole(w io.Writer, opts ConsoleOptions) *Console {
	c := &Console{
		style: style{opts.Color}, w: w, terminal: opts.Terminal, secrets: opts.Secrets,
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go c.refresh()
	return c
}

// Close removes the live lines and ends the console's goroutine. Later events print plain lines.
func (c *Console) Close() {
	c.once.Do(func() { close(c.stop) })
	<-c.stopped
}

// RunStarted implements Observer.
func (c *Console) RunStarted(facts ...string) {
	var lines []string
	for _, f := range redact.Copy(c.secrets, facts) {
		lines = append(lines, "• "+Visible(f))
	}
	c.print(lines...)
}

// PhaseStarted implements Observer.
func (c *Console) PhaseStarted(name string) { c.open(&liveLine{name: name}) }

// PhaseNote implements Observer. The note is on show until the next.
func (c *Console) PhaseNote(note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range slices.Backward(c.live) {
		if !l.tier {
			l.detail = firstLine(c.secrets.String(note))
			return
		}
	}
}

// PhaseFinished implements Observer.
func (c *Console) PhaseFinished(p Phase) {
	p = redact.Copy(c.secrets, p)
	line := fmt.Sprintf("%s %s (%s)", c.mark(Worst(p.Status)), Visible(p.Name), duration(p.Seconds))
	if p.Message != "" {
		line += ": " + firstLine(p.Message)
	}
	c.take(p.Name, false)
	c.print(line)
}

// TierStarted implements Observer.
func (c *Console) TierStarted(tier string, tests int) {
	c.open(&liveLine{name: tier, tier: true, planned: tests, tests: map[Status]int{}})
}

// TestFinished implements Observer. It prints only what broke; warnings can wait for the summary.
func (c *Console) TestFinished(t Test) {
	t = redact.Copy(c.secrets, t)
	c.mu.Lock()
	for _, l := range c.live {
		if l.tier && l.name == t.Tier {
			l.done++
			l.cases += len(t.Cases)
			l.tests[Worst(t.Status)]++
		}
	}
	c.mu.Unlock()

	var lines []string
	for _, h := range headlines(t, shownCases, Fail, Error) {
		lines = append(lines, c.mark(Worst(t.Status))+" "+h)
	}
	c.print(lines...)
}

// TierFinished implements Observer.
func (c *Console) TierFinished(tier string) {
	l := c.take(tier, true)
	if l == nil {
		return
	}
	worst := Skip
	for status := range l.tests {
		worst = Worst(worst, status)
	}
	c.print(fmt.Sprintf("%s %s: %s (%s)", c.mark(worst), Visible(tier), l.progress(), duration(time.Since(l.started).Seconds())))
}

func (c *Console) open(l *liveLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.started = time.Now()
	l.toldAt = l.started
	c.live = append(c.live, l)
}

// take removes a live line, and returns nil when there is none by that name.
func (c *Console) take(name string, tier bool) *liveLine {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, l := range c.live {
		if l.name == name && l.tier == tier {
			c.live = slices.Delete(c.live, i, i+1)
			return l
		}
	}
	return nil
}

// print writes lines that stay, above the live ones.
func (c *Console) print(lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(lines)
}

// refresh keeps the live lines moving until Close.
func (c *Console) refresh() {
	defer close(c.stopped)
	every := plainCheck
	if c.terminal {
		every = redrawEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.live, c.terminal = nil, false
			c.write(nil)
			return
		case <-ticker.C:
			c.mu.Lock()
			if c.terminal {
				c.frame++
				c.write(nil)
			} else {
				c.write(c.news())
			}
			c.mu.Unlock()
		}
	}
}

// news are the live lines that changed since they were last told, if that is long enough ago.
func (c *Console) news() []string {
	var lines []string
	for _, l := range c.live {
		text := l.text()
		if text == l.told || time.Since(l.toldAt) < plainEvery {
			continue
		}
		l.told, l.toldAt = text, time.Now()
		lines = append(lines, "  "+l.timed())
	}
	return lines
}

// write puts out everything that changes in one piece, so that no half-drawn screen is ever seen:
// back to the start of the live lines, the lines that stay, the live lines.
func (c *Console) write(lines []string) {
	var b strings.Builder
	if c.drawn > 0 {
		b.WriteString("\r")
		if c.drawn > 1 {
			fmt.Fprintf(&b, "\x1b[%dA", c.drawn-1) // up
		}
		b.WriteString("\x1b[J") // erase to the end of the screen
	}
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	c.drawn = 0
	if c.terminal && len(c.live) > 0 {
		// A live line must not wrap, or going back by lines would miss its start. The terminal cuts it,
		// which unlike our own cutting is right whatever its width is by now.
		b.WriteString("\x1b[?7l")
		for i, l := range c.live {
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString(c.paint(green, string(spinner[c.frame%len(spinner)])) + " " + l.timed())
		}
		b.WriteString("\x1b[?7h")
		c.drawn = len(c.live)
	}
	if b.Len() > 0 {
		_, _ = io.WriteString(c.w, b.String())
	}
}

func (l *liveLine) timed() string {
	return fmt.Sprintf("%s (%s)", l.text(), time.Since(l.started).Truncate(time.Second))
}

func (l *liveLine) text() string {
	switch {
	case l.tier:
		return Visible(l.name) + ": " + l.progress()
	case l.detail != "":
		return Visible(l.name) + ": " + l.detail
	}
	return Visible(l.name)
}

func (l *liveLine) progress() string {
	text := fmt.Sprintf("%d of %s, %s", l.done, count(l.planned, "test"), count(l.cases, "case"))
	if notPassed := tally(l.tests, Error, Fail, Flake, Warn); notPassed != "" {
		text += ": " + notPassed
	}
	return text
}
