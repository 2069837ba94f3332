package html

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/wi-e2e/wi-e2e/reports"
)

func TestInChromium(t *testing.T) {
	browser := chromium(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"search shows the rows that have every word":            searchShows,
		"filters show the rows of their statuses":               filtersShow,
		"search and filters are in the link":                    stateIsInTheLink,
		"a link leads to its row":                               linksLead,
		"the keyboard is enough":                                keyboardIsEnough,
		"dark and light can be chosen":                          themeIsChosen,
		"everything that can be used has a name":                everythingHasAName,
		"it prints what is folded, too":                         printsEverything,
		"it reads at every width, dark and light (screenshots)": screenshots,
		"it is still usable for 200 runs":                       usableForManyRuns,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

func searchShows(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", everyStatus(t))
	all := is[int](tb, `document.querySelectorAll(".item").length`)
	tb.run(typed("EXPIRATIONseconds mutation.azure-workload-identity.io"))
	want := []string{"expiration-out-of-bounds", "EXP-03", "EXP-05", "ADM-03"}
	got := tb.visible()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("shown: %q, want %q", got, want)
	}
	if said, want := is[string](tb, `document.getElementById("said").textContent`), fmt.Sprintf("4 of %d shown", all); said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
	if headings := is[int](tb, `[...document.querySelectorAll("[data-group]")].filter(g => g.checkVisibility()).length`); headings != 3 {
		t.Errorf("%d groups are shown, want the 3 that have a row", headings)
	}
	tb.press(kb.Escape)
	if is[string](tb, `document.getElementById("search").value`) != "" || is[int](tb, `document.querySelectorAll(".item[hidden]").length`) != 0 {
		t.Error("Escape does not bring everything back")
	}
	if is[bool](tb, `document.querySelector(".fold").open`) {
		t.Error("what was folded before the search is open after it")
	}
	tb.run(typed("no such words"))
	if got := tb.visible(); len(got) != 0 {
		t.Errorf("shown although nothing has the words: %q", got)
	}
}

func filtersShow(t *testing.T, browser context.Context) {
	record := everyStatus(t)
	tb := open(t, browser, "", record)
	for _, status := range []reports.Status{reports.Fail, reports.Error, reports.Flake, reports.Warn, reports.Pass, reports.Skip} {
		button := fmt.Sprintf("button[data-filter=%s]", status)
		tb.run(click(button))
		want := record.Counts.Tests[status] + record.Counts.Requirements[status]
		if got := tb.visible(); len(got) != want {
			t.Errorf("%s shows %d rows, want %d: %q", status, len(got), want, got)
		}
		if is[int](tb, fmt.Sprintf(`document.querySelectorAll(".item:not([hidden]):not([data-s=%s])").length`, status)) != 0 {
			t.Errorf("%s shows rows of another status", status)
		}
		tb.run(click(button))
	}
	tb.run(click("button[data-filter=untested]"))
	if got := tb.visible(); !slices.Equal(got, []string{"VOL-08", "ISS-06", "OPS-01", "OPS-02"}) {
		t.Errorf("untested are %q", got)
	}
	tb.run(click("button[data-filter=untested]"))
	tb.run(click("button[data-filter=warn]"), click("button[data-filter=flake]"))
	want := 0
	for _, status := range []reports.Status{reports.Warn, reports.Flake} {
		want += record.Counts.Tests[status] + record.Counts.Requirements[status]
	}
	if got := tb.visible(); len(got) != want {
		t.Errorf("two filters show %d rows, want %d: %q", len(got), want, got)
	}
}

func stateIsInTheLink(t *testing.T, browser context.Context) {
	tb := open(t, browser, "#?q=token&status=fail", everyStatus(t))
	got := tb.visible()
	if !slices.Contains(got, "env-token-file") || slices.Contains(got, "token-file") || slices.Contains(got, "ADM-03") == slices.Contains(got, "EXP-02") {
		t.Errorf("shown: %q", got)
	}
	tb.run(typed("-file"))
	if hash := is[string](tb, "location.hash"); hash != "#?q=token-file&status=fail" {
		t.Errorf("the link is %q", hash)
	}
}

func linksLead(t *testing.T, browser context.Context) {
	arrived := func(tb *tab, id string) {
		tb.Helper()
		row := fmt.Sprintf("document.getElementById(%q)", id)
		if !is[bool](tb, row+".open && "+row+".checkVisibility()") {
			tb.Errorf("%s is not open", id)
		}
		tb.run(until(fmt.Sprintf(`document.activeElement.closest(".item")?.id === %q`, id)))
		if !is[bool](tb, fmt.Sprintf(`(([r, h]) => r.top >= h.bottom - 1 && r.top < innerHeight)([%s, document.querySelector(".top")].map(e => e.getBoundingClientRect()))`, row)) {
			tb.Errorf("%s is not in sight", id)
		}
	}
	arrived(open(t, browser, "#EXP-03", everyStatus(t)), "EXP-03")
	tb := open(t, browser, "#proxy-passes-through", everyStatus(t)) // which is folded
	arrived(tb, "proxy-passes-through")
	tb.run(click("button[data-filter=fail]"), script(`location.hash = "#EXC-01"`))
	tb.run(until(`document.getElementById("EXC-01").open`))
	arrived(tb, "EXC-01")
	tb.run(click(`#EXC-01 a[href="#sdk-go-msal"]`), until(`document.getElementById("sdk-go-msal").open`))
	arrived(tb, "sdk-go-msal")

	broken := is[[]string](tb, `[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute("href").slice(1)).filter(id => !document.getElementById(id))`)
	if len(broken) > 0 {
		t.Errorf("links lead nowhere: %q", broken)
	}
	if twice := is[[]string](tb, `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, n, all) => all.indexOf(id) !== n)`); len(twice) > 0 {
		t.Errorf("ids are there twice: %q", twice)
	}
}

func keyboardIsEnough(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", everyStatus(t))
	rows := tb.visible()
	expect := func(what, want string) {
		t.Helper()
		if got := tb.focused(); got != want {
			t.Errorf("after %s the focus is on %q, want %q", what, got, want)
		}
	}
	tb.press("/")
	expect("/", "search")
	tb.press("j", kb.Escape)
	if is[string](tb, `document.getElementById("search").value`) != "" {
		t.Error("Escape leaves the search as it was")
	}
	tb.press("j")
	expect("j", rows[0])
	tb.press("j", "j")
	expect("jjj", rows[2])
	tb.press("k")
	expect("jjjk", rows[1])
	opened := fmt.Sprintf("document.getElementById(%q).open", rows[1])
	before := is[bool](tb, opened)
	tb.press(kb.Enter)
	if is[bool](tb, opened) == before {
		t.Error("Enter neither opens nor closes the row")
	}
	tb.run(chromedp.Focus(chromedp.CSS("#EXP-03 > summary")))
	tb.press("n")
	if got := is[string](tb, `document.activeElement.closest(".item").dataset.s`); !slices.Contains([]string{"fail", "error", "flake", "warn"}, got) {
		t.Errorf("n leads to a row that is %s", got)
	}
	tb.press("x")
	if n := is[int](tb, `document.querySelectorAll(".list > .item:not([open])").length`); n != is[int](tb, `document.querySelectorAll(".fold .item").length`) {
		t.Errorf("x leaves %d rows closed, other than those that are folded away", n)
	}
	tb.press("x")
	if n := is[int](tb, `document.querySelectorAll(".item[open]").length`); n != 0 {
		t.Errorf("x once more leaves %d rows open", n)
	}
	tb.press("?")
	if !is[bool](tb, `document.getElementById("help").open`) {
		t.Error("? does not show the keys")
	}
	tb.press(kb.Escape)
	if is[bool](tb, `document.getElementById("help").open`) {
		t.Error("Escape does not close the keys")
	}
}

func themeIsChosen(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", everyStatus(t))
	background := `getComputedStyle(document.body).backgroundColor`
	tb.run(media("", "light"))
	light := is[string](tb, background)
	tb.run(media("", "dark"))
	dark := is[string](tb, background)
	if light == dark {
		t.Errorf("the background is %s in dark and in light", light)
	}
	tb.press("t")
	if got := is[string](tb, background); got != light {
		t.Errorf("after the toggle it is %s, want %s", got, light)
	}
	tb.run(chromedp.Reload())
	if got := is[string](tb, background); got != light {
		t.Errorf("after another load it is %s: the choice is forgotten", got)
	}
	tb.press("t")
	if got := is[string](tb, background); got != dark {
		t.Errorf("after another toggle it is %s, want %s", got, dark)
	}
	tb.run(script("localStorage.clear()"))
}

// everythingHasAName asks the tree that screen readers are given.
func everythingHasAName(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", everyStatus(t))
	tb.press("x") // what is closed is not in the tree
	tree, err := chromedp.Call(tb.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	value := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		return strings.Trim(string(v.Value), `"`)
	}
	roles := map[string]int{}
	for _, n := range tree.Nodes {
		role := value(n.Role)
		if n.Ignored {
			continue
		}
		roles[role]++
		switch role {
		case "button", "link", "searchbox", "heading", "image", "region", "navigation", "search", "DisclosureTriangle", "dialog", "figure":
			if strings.TrimSpace(value(n.Name)) == "" && role != "figure" {
				t.Errorf("a %s has no name", role)
			}
		}
	}
	for _, role := range []string{"banner", "main", "navigation", "search", "searchbox", "status"} {
		if roles[role] != 1 {
			t.Errorf("%d of role %s, want one: %v", roles[role], role, roles)
		}
	}
	if roles["DisclosureTriangle"] < len(tb.visible()) {
		t.Errorf("%d rows can be opened, and %d are shown", roles["DisclosureTriangle"], len(tb.visible()))
	}
	if levels := is[[]string](tb, `[...document.querySelectorAll("h1")].map(h => h.textContent)`); len(levels) != 1 {
		t.Errorf("headings of the first level: %q", levels)
	}
}

func printsEverything(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", everyStatus(t))
	tb.run(media("print", "light"))
	if is[bool](tb, `document.querySelector(".top").checkVisibility()`) {
		t.Error("the controls are printed")
	}
	if n := is[int](tb, `[...document.querySelectorAll(".fold .item > summary")].filter(i => !i.checkVisibility({contentVisibilityAuto: true})).length`); n != 0 {
		t.Errorf("%d folded tests are not printed", n)
	}
	pdf, err := chromedp.Run(tb.ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground()))
	if err != nil {
		t.Fatal(err)
	}
	save(t, "report.pdf", pdf)
}

func screenshots(t *testing.T, browser context.Context) {
	for _, width := range []int64{1280, 390} {
		for _, theme := range []string{"light", "dark"} {
			tb := open(t, browser, "", everyStatus(t))
			tb.run(media("", theme))
			for _, opened := range []bool{false, true} {
				name := fmt.Sprintf("%d-%s", width, theme)
				if opened {
					name += "-opened"
					tb.run(script(`for (const d of document.querySelectorAll("details")) d.open = true`))
				}
				tb.run(viewport(width, 900))
				if over := is[[]string](tb, `[...document.querySelectorAll("main, main *")]
					.filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, svg"))
					.map(e => e.outerHTML.slice(0, 120))`); len(over) > 0 || is[bool](tb, "document.documentElement.scrollWidth > innerWidth") {
					t.Errorf("%s scrolls sideways or is cut, because of %q", name, over[:min(3, len(over))])
				}
				if opened && (theme == "dark") != (width == 1280) {
					continue // two pictures of this length are enough
				}
				// The whole page in one picture: what is out of sight is not laid out until the window is as high as it is.
				for range 3 {
					height := is[int64](tb, "document.documentElement.scrollHeight")
					tb.run(viewport(width, height))
				}
				tb.screenshot(name)
			}
		}
	}
}

func viewport(width, height int64) chromedp.Action[chromedp.Void] {
	if width < 500 {
		return chromedp.EmulateViewport(width, height, chromedp.EmulateMobile)
	}
	return chromedp.EmulateViewport(width, height)
}

func (t *tab) screenshot(name string) {
	t.Helper()
	png, err := chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("take the screenshot %s: %v", name, err)
	}
	save(t.T, name+".png", png)
}

// save keeps a picture of the page for people, in the results or in the folder that CI names.
func save(t *testing.T, name string, data []byte) {
	t.Helper()
	if len(data) < 10_000 {
		t.Errorf("%s has %d bytes, and cannot show anything", name, len(data))
	}
	dir := cmp.Or(os.Getenv("WI_E2E_SCREENSHOTS"), filepath.Join("..", "..", "wi-e2e-results", "screenshots"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func usableForManyRuns(t *testing.T, browser context.Context) {
	tb := open(t, browser, "", manyRuns(t)...)
	took := is[float64](tb, `(() => {
		const began = performance.now(), search = document.getElementById("search");
		search.value = "token must";
		search.dispatchEvent(new Event("input"));
		document.body.offsetHeight;
		return performance.now() - began;
	})()`)
	if took > 2000 {
		t.Errorf("a search takes %.0f ms", took)
	}
	if got := tb.visible(); len(got) == 0 {
		t.Error("the search finds nothing")
	}
	if n := is[int](tb, `document.querySelectorAll("#runs tbody tr").length`); n != 200 {
		t.Errorf("%d runs are listed, want 200", n)
	}
	tb.press(kb.Escape)
	tb.screenshot("200-runs")
}
