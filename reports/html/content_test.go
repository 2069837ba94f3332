package html

import (
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
)

var (
	tallyFigure = regexp.MustCompile(`(?s)<figure data-tally="(\w+)"><figcaption><b>(\d+)</b>.*?</figure>`)
	tallyPart   = regexp.MustCompile(`data-count="(\w+)"><i aria-hidden="true">.</i>(\d+) (\w+)</li>`)
	row         = regexp.MustCompile(`<details class="item (\w+)" id="([^"]*)" data-s="(\w+)"`)
)

func TestThePageAgreesWithTheRecordInEveryCount(t *testing.T) {
	empty := &reports.Record{Verdict: reports.Verdict{Status: reports.Error, Reason: "interrupted"}}
	for name, record := range map[string]*reports.Record{"every status": everyStatus(t), "no test": empty, "more tests than are listed": largeRecord(t)} {
		t.Run(name, func(t *testing.T) {
			page := string(rendered(t, record))
			want := map[string]map[reports.Status]int{
				"Tests": record.Counts.Tests, "Cases": record.Counts.Cases, "Requirements": record.Counts.Requirements,
			}
			for _, figure := range tallyFigure.FindAllStringSubmatch(page, -1) {
				got, total := map[reports.Status]int{}, 0
				for _, part := range tallyPart.FindAllStringSubmatch(figure[0], -1) {
					if part[1] != part[3] {
						t.Errorf("%s are counted as %s and called %s", figure[1], part[1], part[3])
					}
					n, _ := strconv.Atoi(part[2])
					got[reports.Status(part[1])] = n
					total += n
				}
				if !maps.Equal(got, want[figure[1]]) || strconv.Itoa(total) != figure[2] {
					t.Errorf("%s of %s: %v, want %v", figure[2], figure[1], got, want[figure[1]])
				}
				delete(want, figure[1])
			}
			if len(want) > 0 {
				t.Errorf("not counted: %v", slices.Collect(maps.Keys(want)))
			}

			rows := map[string]map[reports.Status]int{"test": {}, "rule": {}}
			for _, r := range row.FindAllStringSubmatch(page, -1) {
				rows[r[1]][reports.Status(r[3])]++
			}
			if untested := rows["rule"]["untested"]; untested != 4 && len(record.Untested) > 0 {
				t.Errorf("%d rules are untested, want 4: of the fifth only a part is", untested)
			}
			delete(rows["rule"], "untested")
			for kind, want := range map[string]map[reports.Status]int{"test": record.Counts.Tests, "rule": record.Counts.Requirements} {
				if !maps.Equal(rows[kind], want) {
					t.Errorf("rows of kind %s: %v, want %v", kind, rows[kind], want)
				}
			}
		})
	}
}

// text is what a reader of the page reads.
func text(page []byte) string {
	return html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(page), ""))
}

func TestNothingOfTheRecordIsHidden(t *testing.T) {
	record := everyStatus(t)
	whole := string(rendered(t, record))
	page := text([]byte(whole))
	has := func(what string, texts ...string) {
		t.Helper()
		for _, one := range texts {
			if !strings.Contains(page, strings.TrimSpace(printable(one))) {
				t.Errorf("%s: the page does not have %q", what, one)
			}
		}
	}
	has("verdict", record.Verdict.Reason)
	has("run", record.Run.ID, strings.Join(record.Run.Command, " "), record.Run.Version, strconv.FormatInt(record.Run.Seed, 10))
	has("subject", record.Subject.Version, record.Subject.Images[0].Digest)
	for _, p := range record.Phases {
		has("phase", append([]string{p.Name, p.Message}, p.Notes...)...)
	}
	findings := func(all []reports.Finding) {
		for _, f := range all {
			has("finding", f.Message, f.Waiver, string(f.Cause))
			for l := range strings.Lines(f.Diff) {
				has("diff", l)
			}
		}
	}
	for _, test := range record.Tests {
		has("test", test.ID, test.Title, test.Rerun)
		has("notes of a test", test.Notes...)
		findings(test.Findings)
		if test.Skip != nil {
			_, own, _ := strings.Cut(whole, `id="`+test.ID+`"`)
			own, _, _ = strings.Cut(own, "</details>")
			if !strings.Contains(text([]byte(own)), test.Skip.Reason+": "+test.Skip.Text) {
				t.Errorf("%s does not say why it was skipped", test.ID)
			}
		}
		for _, c := range test.Cases {
			has("case", c.Name)
			has("notes of a case", c.Notes...)
			findings(c.Findings)
			for _, w := range c.Workloads {
				has("workload", w.Name, w.Version, w.Credential, w.OS, w.Exchange.UserAgent, w.Exchange.ClientID, w.Exchange.Subject, w.Exchange.Issuer)
			}
		}
		for i, a := range test.Attempts {
			has("attempt", fmt.Sprintf("%s attempt %d", a.Status, i+1), string(a.Retries))
			for _, c := range a.Cases {
				for _, f := range c.Findings {
					has("finding of an attempt", firstLine(f.Message))
				}
			}
		}
	}
	for _, q := range record.Requirements {
		has("requirement", q.ID, q.Section, q.Source, strings.ReplaceAll(q.Statement, "`", ""))
	}
	for _, u := range record.Untested {
		has("untested", u.ID, u.Part, u.Issue, strings.ReplaceAll(u.Statement, "`", ""))
	}
	for _, w := range record.Waivers {
		has("waiver", w.Name, w.About(), w.Reason, w.Owner, w.Expiry, w.Link, string(w.State))
	}
}

func TestWhatTheRecordSaysIsNeverMarkup(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(2)>` + "`<b>`"
	record := everyStatus(t)
	record.Verdict.Reason, record.Run.ID, record.Subject.Version, record.Cluster.Kubernetes = evil, evil, evil, evil
	record.Run.Command = []string{evil}
	for i := range record.Tests {
		one := &record.Tests[i]
		one.ID, one.Title, one.Tier, one.Rerun = one.ID+evil, evil, evil, evil
		one.Notes = []string{evil}
		one.Findings = append(one.Findings, reports.Finding{Status: reports.Fail, Message: evil, Diff: "- " + evil, Waiver: evil, Cause: evil})
		for j := range one.Cases {
			one.Cases[j].Name, one.Cases[j].Notes = evil, []string{evil}
			for k := range one.Cases[j].Workloads {
				w := &one.Cases[j].Workloads[k]
				w.Name, w.Language, w.Library, w.OS, w.Version, w.Error = evil, evil, evil, evil, evil, evil
			}
		}
	}
	for i := range record.Requirements {
		q := &record.Requirements[i]
		q.ID, q.Section, q.Statement, q.Level, q.Source = q.ID+evil, evil, evil, evil, evil
	}
	for i := range record.Waivers {
		record.Waivers[i].Link, record.Waivers[i].Reason = "javascript:alert(3)", evil
	}
	record.Phases[0].Status, record.Phases[0].Message = evil, evil
	for _, records := range [][]*reports.Record{{record}, {record, everyStatus(t)}} {
		page := string(rendered(t, records...))
		if n := strings.Count(page, "<script"); n != 1 {
			t.Errorf("%d scripts, want the page's own", n)
		}
		for _, markup := range []string{"<img", "<b>`", "<code><b>", `href="javascript:`, `'><`} {
			if strings.Contains(page, markup) {
				t.Errorf("the page has %s", markup)
			}
		}
	}
}

func TestThePageLoadsNothingAndForbidsItselfTheRest(t *testing.T) {
	page := string(rendered(t, everyStatus(t)))
	meta := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`).FindStringSubmatch(page)
	if meta == nil {
		t.Fatal("the page has no Content Security Policy")
	}
	policy := html.UnescapeString(meta[1])
	for tag, directive := range map[string]string{"style": "style-src ", "script": "script-src "} {
		inside := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(page, -1)
		if len(inside) != 1 {
			t.Fatalf("%d elements %s, want one", len(inside), tag)
		}
		if want := directive + source(inside[0][1]) + ";"; !strings.Contains(policy, want) {
			t.Errorf("the policy does not allow %s by its hash: %s", tag, policy)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is too wide: %s", policy)
	}
	if strings.Index(page, meta[0]) > strings.Index(page, "<style>") {
		t.Error("the policy comes after what it is about")
	}
	if found := regexp.MustCompile(`(?i)\s(style|on\w+|src|srcset|action)=|@import|url\((?:[^#]|$)`).FindString(regexp.MustCompile(`>[^<]*<`).ReplaceAllString(page, "><")); found != "" {
		t.Errorf("the page has %q, which the policy forbids", found)
	}
}

func TestSeveralRunsAreOnePage(t *testing.T) {
	first, second, third := everyStatus(t), everyStatus(t), everyStatus(t)
	first.Run.ID, second.Run.ID, third.Run.ID = "first", "second", "third"
	second.Run.Started = first.Run.Started.Add(1)
	third.Run.Started = first.Run.Started.Add(2)
	third.Verdict = reports.Verdict{Status: reports.Pass, Reason: "all is well"}
	for i := range third.Requirements {
		third.Requirements[i].Status = reports.Pass
	}
	for i := range third.Tests {
		one := &third.Tests[i]
		one.Status, one.Findings, one.Skip = reports.Pass, nil, nil
		for j := range one.Cases {
			one.Cases[j].Status, one.Cases[j].Findings = reports.Pass, nil
		}
	}
	third.Count()
	page := rendered(t, third, first, second)
	read := text(page)
	for _, want := range []string{"3 runs: 2 error, 1 pass", "fail in 2 runs:  second first", "pass in 1 run:  third", "of the newest run, third"} {
		if !strings.Contains(read, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	rows := map[string]string{}
	for _, r := range row.FindAllStringSubmatch(string(page), -1) {
		if rows[r[2]] != "" {
			t.Errorf("%s is there twice", r[2])
		}
		rows[r[2]] = r[3]
	}
	for id, want := range map[string]string{"expiration-out-of-bounds": "fail", "EXP-03": "fail", "EXP-01": "pass", "endpoint-off": "pass"} {
		if rows[id] != want {
			t.Errorf("%s is %s, want %s: the worst of its runs", id, rows[id], want)
		}
	}
	if want := `aria-label="By run: fail: 2 runs from first to second; pass: run third"`; !strings.Contains(string(page), want) {
		t.Errorf("no strip %s", want)
	}
	got := tallyPart.FindAllStringSubmatch(tallyFigure.FindAllStringSubmatch(string(page), -1)[1][0], -1)
	if want := strconv.Itoa(2 * first.Counts.Tests[reports.Fail]); got[0][1] != "fail" || got[0][2] != want {
		t.Errorf("counted: %v, want %s fail: what the records count", got, want)
	}
}

func TestRunsThatFailAlikeAreToldOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(n int, f *reports.Finding)
		want   int
	}{
		"the same words":                      {func(int, *reports.Finding) {}, 1},
		"words that differ by the run's name": {func(n int, f *reports.Finding) { f.Message += fmt.Sprintf(" in wi-e2e-run%d", n) }, 1},
		"other words":                         {func(n int, f *reports.Finding) { f.Message += fmt.Sprintf(" %d", n%2) }, 2},
		"another difference":                  {func(n int, f *reports.Finding) { f.Diff += fmt.Sprintf("+ %d", n%3) }, 3},
		"each its own way":                    {func(n int, f *reports.Finding) { f.Message += fmt.Sprintf(" %d", n) }, shownVariants},
	} {
		t.Run(name, func(t *testing.T) {
			var records []*reports.Record
			for n := range 9 {
				r := everyStatus(t)
				r.Run.ID = fmt.Sprintf("run%d", n)
				tc.change(n, &r.Tests[0].Cases[0].Findings[0])
				records = append(records, r)
			}
			tests := merge(records)
			if got := len(tests[0].Variants); got != tc.want {
				t.Errorf("%d variants, want %d", got, tc.want)
			}
			runs := tests[0].Others
			for _, v := range tests[0].Variants {
				runs += len(v.Runs)
			}
			if runs != 9 {
				t.Errorf("%d runs are accounted for, want 9", runs)
			}
		})
	}
}

func TestWhatBrokeWithoutAWordGetsOne(t *testing.T) {
	for name, one := range map[string]reports.Test{
		"a test":               {ID: "a", Status: reports.Error},
		"a case":               {ID: "a", Status: reports.Error, Cases: []reports.Case{{Name: "c", Status: reports.Error}}},
		"a test beside a case": {ID: "a", Status: reports.Error, Cases: []reports.Case{{Name: "c", Status: reports.Pass}}},
		"an unknown status":    {ID: "a", Status: "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			page := text(rendered(t, &reports.Record{Tests: []reports.Test{one}}))
			if n := strings.Count(page, "; no finding was recorded"); n != 1 {
				t.Errorf("the page says %d times that no finding was recorded, want once", n)
			}
		})
	}
}

func TestARecordThatLostItsWaiverSaysSo(t *testing.T) {
	record := everyStatus(t)
	record.Waivers = nil
	if page := text(rendered(t, record)); !strings.Contains(page, "Waived by waivers.yaml entry 1: the record does not have this waiver") {
		t.Error("the page does not say that the waiver is missing")
	}
}

func TestTheMatrixHasWhatDidNotRun(t *testing.T) {
	var got []string
	for _, m := range matrix([]*reports.Record{everyStatus(t)}) {
		for _, r := range m.Rows {
			for i, cell := range r.Cells {
				for _, p := range cell {
					got = append(got, fmt.Sprintf("%s/%s/%s/%s %s %s%s", m.OS, r.Language, m.Libraries[i], p.Name, p.Status, p.Version, p.Reason))
				}
			}
		}
	}
	want := []string{
		"linux/dotnet/azidentity/dotnet-azure-mcp pass ", "linux/go/msal/go-msal pass v1.10.1", "linux/go/msal/upstream-msal-go skip image-unavailable",
		"linux/java/azidentity/java-azidentity error 1.19.0", "linux/javascript/azidentity/node-imds pass 1.5.2",
		"linux/python/azidentity/python-azidentity pass 1.27.0", "linux/python/msal/upstream-msal-python skip image-unavailable",
		"windows (wine)/go/msal/go-msal pass v1.10.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRenderReportsWhatItCannotDo(t *testing.T) {
	if err := Render(io.Discard); err == nil {
		t.Error("a page of no record")
	}
	if err := Render(brokenPipe{}, everyStatus(t)); !errors.Is(err, errBrokenPipe) {
		t.Errorf("Render: %v, want %v", err, errBrokenPipe)
	}
}

var errBrokenPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBrokenPipe }

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{-1: "0s", 0: "0s", 0.00001: "<1ms", 0.0123: "12ms", 4.14: "4.1s", 125.4: "2m5s", 3725: "1h2m5s"} {
		if got := seconds(s); got != want {
			t.Errorf("seconds(%v) = %s, want %s", s, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\tc": "a\nb\tc", "\x1b[31m": "␛[31m", "\x00\x7f": "␀␡", "\u009b": "\ufffd", "a\xffb": "a\ufffdb", "größer 世界": "größer 世界",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestProse(t *testing.T) {
	for in, want := range map[string]string{
		"a `b` c": "a <code>b</code> c", "`<a>` & b": "<code>&lt;a&gt;</code> &amp; b", "one ` alone": "one ` alone", "`a` and ` alone": "<code>a</code> and ` alone",
	} {
		if got := string(prose(in)); got != want {
			t.Errorf("prose(%q) = %q, want %q", in, got, want)
		}
	}
}
