package html

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wi-e2e/wi-e2e/reports"
)

// chromium starts a browser for a test. That it is missing is no reason to skip: nobody would notice that the page was not looked at.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("the HTML report is tested in Chromium, which is missing: run `make setup-tests`, or put chromium or google-chrome into PATH")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// Whatever the browser itself would like to ask for: there is nobody.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which does not work for root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// tab is a page that is open in a browser.
type tab struct {
	*testing.T
	ctx context.Context
	url string

	mu       sync.Mutex
	problems []string
}

// open shows the page of the records in a new tab. Whatever the browser complains of, or asks the network for, fails the test.
func open(t *testing.T, browser context.Context, fragment string, records ...*reports.Record) *tab {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, rendered(t, records...), 0o644); err != nil {
		t.Fatal(err)
	}
	tb := &tab{T: t, url: "file://" + path}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(tb.listen))
	t.Cleanup(cancel)
	tb.ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		for _, p := range tb.problems {
			t.Errorf("the browser: %s", p)
		}
	})
	tb.run(call(log.Enable, cdp.Empty{}), call(network.Enable, network.EnableParams{}), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(tb.url+fragment))
	return tb
}

// listen notes what the page should not do. Violations of the policy are in the browser's log.
func (t *tab) listen(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		t.problem("%s: %s", e.Entry.Level, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		t.problem("console.%s", e.Type)
	case *runtime.EventExceptionThrown:
		t.problem("%s", e.ExceptionDetails.Text)
	case *network.EventRequestWillBeSent:
		if own := strings.HasPrefix(e.Request.URL, t.url) || strings.HasPrefix(e.Request.URL, "data:"); !own {
			t.problem("request for %s", e.Request.URL)
		}
	}
}

// call is a command of the browser's protocol, as an action.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	})
}

func (t *tab) problem(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

func (t *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(t.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// is evaluates a JavaScript expression.
func is[V any](t *tab, expression string) V {
	t.Helper()
	v, err := chromedp.Run(t.ctx, chromedp.Evaluate[V](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// visible are the ids of the rows that are shown, of those that are not folded away.
func (t *tab) visible() []string {
	t.Helper()
	return is[[]string](t, `[...document.querySelectorAll(".item")].filter(i => i.checkVisibility()).map(i => i.id)`)
}

// press presses keys one after the other, on what has the focus.
func (t *tab) press(keys ...string) {
	t.Helper()
	for _, k := range keys {
		t.run(chromedp.KeyEvent(k))
	}
}

// focused is the id of the row whose summary has the focus.
func (t *tab) focused() string {
	t.Helper()
	return is[string](t, `document.activeElement.closest(".item")?.id ?? document.activeElement.id`)
}

// media emulates what the page's media queries ask for.
func media(kind, scheme string) chromedp.Action[chromedp.Void] {
	return call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: kind, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// click clicks on the element that the selector finds.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// typed types into the search.
func typed(text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS("#search"), text)
}

// script runs a script whose result does not matter.
func script(source string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](source)
}

// until waits for a condition.
func until(condition string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](condition)
}
