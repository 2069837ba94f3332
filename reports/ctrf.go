package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// CTRF renders the record in the Common Test Report Format: a test is a test, its cases are steps. The format has fewer statuses:
// warnings and flakes have passed, errors have failed. What a status was is in rawStatus, of a step in extra, and the record's own
// counts, phases, requirements and waivers are in the extra of results. A phase that broke is a test, too, and so is a verdict that
// no test explains: no reader takes the report for greener than the record.
func CTRF(r *Record) ([]byte, error) {
	results := ctrfResults{
		Tool: ctrfTool{Name: "wi-e2e", Version: r.Run.Version},
		Environment: ctrfEnvironment{
			AppName: r.Subject.Kind, AppVersion: r.Subject.Version, TestEnvironment: joined(r.Cluster.Provider, labelled("Kubernetes ", r.Cluster.Kubernetes)),
			Healthy: r.Verdict.ExitCode == ExitPass && Worst(r.Verdict.Status) != Error,
		},
		Extra: map[string]any{
			"verdict": r.Verdict, "counts": r.Counts, "subject": r.Subject, "cluster": r.Cluster, "phases": r.Phases,
			"requirements": r.Requirements, "waivers": r.Waivers, "untested": r.Untested, "seed": r.Run.Seed,
		},
	}
	if s := r.Run.Shard; s != nil {
		results.Environment.ShardID = fmt.Sprintf("%d/%d", s.Index, s.Total)
	}
	worst := Skip
	add := func(t ctrfTest) {
		worst = Worst(worst, t.RawStatus)
		results.Tests = append(results.Tests, t)
	}
	for _, p := range r.Phases {
		if status := Worst(p.Status); status == Fail || status == Error {
			add(ctrfTest{
				Name: named(p.Name), Status: ctrfStatus(status), RawStatus: status, Duration: int64(inMilliseconds(p.Seconds)), Start: unixMilli(p.Started),
				Suite: []string{phasesSuite}, Message: firstLine(p.Message), Trace: Visible(p.Message),
			})
		}
	}
	for _, t := range r.Tests {
		add(ctrfOf(r, t))
	}
	if verdict := Worst(r.Verdict.Status); Worst(worst, verdict) != worst && (verdict == Fail || verdict == Error) {
		add(ctrfTest{Name: "verdict", Status: ctrfStatus(verdict), RawStatus: verdict, Suite: []string{phasesSuite}, Message: firstLine(r.Verdict.Reason)})
	}
	results.Summary = ctrfSummaryOf(r, results.Tests)

	data, err := json.MarshalIndent(ctrfReport{
		ReportFormat: "CTRF", SpecVersion: "0.0.0", RunID: r.Run.ID, GeneratedBy: "wi-e2e", Timestamp: r.Run.Finished, Results: results,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode CTRF of run %s: %w", r.Run.ID, err)
	}
	return append(data, '\n'), nil
}

type ctrfReport struct {
	ReportFormat string      `json:"reportFormat"`
	SpecVersion  string      `json:"specVersion"`
	RunID        string      `json:"runId,omitempty"`
	Timestamp    time.Time   `json:"timestamp,omitzero"`
	GeneratedBy  string      `json:"generatedBy"`
	Results      ctrfResults `json:"results"`
}

type ctrfResults struct {
	Tool        ctrfTool        `json:"tool"`
	Summary     ctrfSummary     `json:"summary"`
	Tests       []ctrfTest      `json:"tests"`
	Environment ctrfEnvironment `json:"environment"`
	Extra       map[string]any  `json:"extra"`
}

type ctrfTool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type ctrfEnvironment struct {
	AppName         string `json:"appName,omitempty"`
	AppVersion      string `json:"appVersion,omitempty"`
	TestEnvironment string `json:"testEnvironment,omitempty"`
	ShardID         string `json:"shardId,omitempty"`
	Healthy         bool   `json:"healthy"`
}

type ctrfSummary struct {
	Tests    int   `json:"tests"`
	Passed   int   `json:"passed"`
	Failed   int   `json:"failed"`
	Skipped  int   `json:"skipped"`
	Pending  int   `json:"pending"`
	Other    int   `json:"other"`
	Flaky    int   `json:"flaky"`
	Suites   int   `json:"suites"`
	Start    int64 `json:"start"`
	Stop     int64 `json:"stop"`
	Duration int64 `json:"duration"`
}

type ctrfTest struct {
	TestID    string         `json:"testId,omitempty"`
	Name      string         `json:"name"`
	Status    string         `json:"status"`
	RawStatus Status         `json:"rawStatus"`
	Duration  int64          `json:"duration"`
	Start     int64          `json:"start,omitempty"`
	Suite     []string       `json:"suite"`
	Message   string         `json:"message,omitempty"`
	Trace     string         `json:"trace,omitempty"`
	Tags      []string       `json:"tags,omitempty"`
	Retries   int            `json:"retries,omitempty"`
	Attempts  []ctrfAttempt  `json:"retryAttempts,omitempty"`
	Flaky     bool           `json:"flaky,omitempty"`
	Steps     []ctrfStep     `json:"steps,omitempty"`
	Extra     map[string]any `json:"extra,omitempty"`
}

type ctrfAttempt struct {
	Attempt  int    `json:"attempt"`
	Status   string `json:"status"`
	Duration int64  `json:"duration"`
	Message  string `json:"message,omitempty"`
}

type ctrfStep struct {
	Name   string         `json:"name"`
	Status string         `json:"status"`
	Extra  map[string]any `json:"extra"`
}

func ctrfOf(r *Record, t Test) ctrfTest {
	status := Worst(t.Status)
	out := ctrfTest{
		TestID: t.ID, Name: named(t.Title), Status: ctrfStatus(status), RawStatus: status, Duration: int64(inMilliseconds(t.Seconds)),
		Start: unixMilli(t.Started), Suite: []string{named(t.Tier)}, Tags: t.Requirements, Flaky: status == Flake, Extra: map[string]any{},
	}
	if broke(status) || status == Warn {
		var trace strings.Builder
		for _, o := range outcomes(t) {
			if broke(o.status) || o.status == Warn {
				fmt.Fprintf(&trace, "%s: %s\n%s", Visible(o.name), o.status, outcomeText(o))
			}
			if out.Message == "" && o.status == status {
				out.Message = firstLine(o.findings[0].Message)
			}
		}
		out.Trace = trace.String()
	}
	for _, c := range t.Cases {
		extra := map[string]any{"status": Worst(c.Status), "checks": c.Checks, "seconds": c.Seconds}
		set(extra, "findings", c.Findings)
		set(extra, "notes", c.Notes)
		set(extra, "requirements", c.Requirements)
		set(extra, "workloads", c.Workloads)
		out.Steps = append(out.Steps, ctrfStep{Name: Visible(c.Name), Status: ctrfStatus(Worst(c.Status)), Extra: extra})
	}
	for i, a := range t.Attempts[:max(0, len(t.Attempts)-1)] { // those before the last one
		attempt := ctrfAttempt{Attempt: i + 1, Status: ctrfStatus(Worst(a.Status)), Duration: int64(inMilliseconds(a.Seconds))}
		for _, o := range outcomes(Test{Title: t.Title, Status: a.Status, Findings: a.Findings, Cases: a.Cases}) {
			if attempt.Message == "" && len(o.findings) > 0 {
				attempt.Message = firstLine(o.findings[0].Message)
			}
		}
		out.Attempts = append(out.Attempts, attempt)
	}
	out.Retries = len(out.Attempts)
	set(out.Extra, "attempts", t.Attempts)
	set(out.Extra, "findings", t.Findings)
	set(out.Extra, "notes", t.Notes)
	if t.Rerun != "" {
		out.Extra["rerun"] = t.Rerun
	}
	if t.Skip != nil {
		out.Message = skipMessage(outcome{}, t)
		out.Extra["skip"] = t.Skip
	}
	set(out.Extra, "waivers", r.waiversOf(t))
	return out
}

// set leaves out what is empty.
func set[T any](extra map[string]any, name string, values []T) {
	if len(values) > 0 {
		extra[name] = values
	}
}

// named is a name that a format does not refuse.
func named(name string) string { return cmp.Or(strings.TrimSpace(Visible(name)), "(unnamed)") }

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// ctrfSummaryOf counts the tests by their CTRF status, as its readers do.
func ctrfSummaryOf(r *Record, tests []ctrfTest) ctrfSummary {
	s := ctrfSummary{Tests: len(tests), Start: unixMilli(r.Run.Started), Stop: unixMilli(r.Run.Finished), Duration: int64(inMilliseconds(r.Run.Seconds))}
	suites := map[string]bool{}
	for _, t := range tests {
		switch t.Status {
		case "passed":
			s.Passed++
		case "failed":
			s.Failed++
		case "skipped":
			s.Skipped++
		}
		if t.Flaky {
			s.Flaky++
		}
		suites[t.Suite[0]] = true
	}
	s.Suites = len(suites)
	return s
}

// ctrfStatus is what the format has for a status. An error is no pass, and many readers look at failures alone.
func ctrfStatus(s Status) string {
	switch s {
	case Skip:
		return "skipped"
	case Fail, Error:
		return "failed"
	}
	return "passed"
}
