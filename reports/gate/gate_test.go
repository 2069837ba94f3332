package gate

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/attestation"
	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

const digest = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// run is a record that the policy of testdata lets pass: a MUST and a SHOULD that hold, one that is waived, a retry, and a skip that is allowed.
func run() *reports.Record {
	r := &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind,
		Run:     reports.Run{ID: "r1", Version: "v1", Started: now.Add(-2 * time.Hour), Finished: now.Add(-time.Hour)},
		Cluster: reports.Cluster{Provider: "local", Kubernetes: "v1.36.3"},
		Subject: reports.Subject{Kind: "helm", Version: "v1.5.1", Images: []reports.Image{{Name: "example.org/webhook:v1.5.1", Digest: digest}}},
		Requirements: []reports.Requirement{
			{ID: "MU-01", Level: "MUST"}, {ID: "MU-02", Level: "MUST"}, {ID: "MU-03", Level: "MUST"}, {ID: "SH-01", Level: "SHOULD"}, {ID: "IN-01", Level: "INFO"},
		},
		Waivers: []reports.Waiver{
			{Name: "w entry 1", Requirement: "MU-02", State: reports.WaiverUsed, Findings: 1, Expiry: "2026-11-23", Owner: "team-a"},
			{Name: "w entry 2", Requirement: "MU-01", State: reports.WaiverOtherSubject, Expiry: "2020-01-01"},
		},
	}
	pass, retried := passing("retried"), passing("retried")
	retried.Cases[0].Status, retried.Cases[0].Findings = reports.Flake, []reports.Finding{{Status: reports.Flake, Message: "EOF", Attempts: []int{1}}}
	retried.Status, retried.Requirements = reports.Flake, []string{"MU-01"}
	broken := reports.Attempt{Status: reports.Error, Cases: []reports.Case{{Name: "x", Status: reports.Error, Checks: 1, Findings: []reports.Finding{{Status: reports.Error, Message: "EOF", Cause: reports.Transport}}}}}
	retried.Attempts = []reports.Attempt{broken, {Status: reports.Pass, Retries: reports.Transport, Cases: pass.Cases}}

	holds, should, info, waived := passing("holds"), passing("should"), passing("info"), passing("waived")
	for _, language := range []string{"dotnet", "go", "java", "javascript", "python"} {
		holds.Cases[0].Workloads = append(holds.Cases[0].Workloads, reports.Workload{Name: language, Language: language, SecretSHA256: "00"})
	}
	holds.Requirements, should.Requirements, info.Requirements, waived.Requirements = []string{"MU-01"}, []string{"SH-01"}, []string{"IN-01"}, []string{"MU-02"}
	waived.Status, waived.Cases[0].Status = reports.Warn, reports.Warn
	waived.Cases[0].Findings = []reports.Finding{{Status: reports.Warn, Message: "known", Waiver: "w entry 1"}}
	skipped := reports.Test{ID: "skipped", Tier: "admission", Status: reports.Skip, Requirements: []string{"MU-01", "MU-03"}, Skip: &reports.Skipped{Reason: "not-in-version", Text: "from 1.6"}}
	elsewhere := passing("elsewhere")
	elsewhere.Requirements = []string{"MU-03"}
	r.Tests = []reports.Test{holds, should, info, waived, skipped, retried, elsewhere}
	return summed(r)
}

func passing(id string) reports.Test {
	return reports.Test{ID: id, Tier: "admission", Status: reports.Pass, Cases: []reports.Case{{Name: "x", Status: reports.Pass, Checks: 1}}}
}

// summed makes the record one that a run could have saved, whatever was changed in its tests.
func summed(r *reports.Record) *reports.Record {
	for i := range r.Requirements {
		q := &r.Requirements[i]
		q.Status, q.Tests, q.Cases = r.Fared(q.ID)
	}
	r.Count()
	if code := r.Verdict.ExitCode; code != reports.ExitLeaked && code != reports.ExitInterrupted {
		r.Verdict = r.Judge(false, nil)
	}
	return r
}

// becomes makes the only case of a test come to a status.
func becomes(r *reports.Record, id string, status reports.Status) {
	i := slices.IndexFunc(r.Tests, func(t reports.Test) bool { return t.ID == id })
	t := &r.Tests[i]
	t.Status, t.Cases[0].Status = status, status
	t.Cases[0].Findings = []reports.Finding{{Status: status, Message: "it came to " + string(status)}}
}

// evidence is one run with all that the policy wants beside it.
func evidence(t *testing.T, records ...*reports.Record) Evidence {
	t.Helper()
	e := Evidence{
		Rules: []Rule{{"MU-01", "MUST"}, {"MU-02", "MUST"}, {"MU-03", "MUST"}, {"SH-01", "SHOULD"}, {"SH-02", "SHOULD"}, {"IN-01", "INFO"}},
		Now:   now, Digests: []string{digest}, Baseline: []*reports.Record{run()}, Key: key(1).Public().(ed25519.PublicKey),
	}
	for i, r := range records {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		e.Files = append(e.Files, File{Name: fmt.Sprintf("record-%d.json", i+1), Data: data, Records: []*reports.Record{r}})
		if envelope, err := attestation.Sign(context.Background(), r, data, key(1)); err == nil {
			e.Attestations = append(e.Attestations, envelope)
		}
	}
	return e
}

func policy(t *testing.T) Policy {
	t.Helper()
	p, err := LoadPolicy(filepath.Join("testdata", "gate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestARunThatFulfilsEveryClausePasses(t *testing.T) {
	d := Decide(context.Background(), policy(t), evidence(t, run()))
	if !d.Passed() {
		t.Errorf("refused by %v", d.refusals())
	}
	for _, c := range d.Clauses {
		if c.Idle {
			t.Errorf("the example of a policy does not ask for %s", c.Name)
		}
	}
	compareGolden(t, "passed.golden.txt", d)
}

func TestEveryClauseRefuses(t *testing.T) {
	type alterations struct {
		record   func(*reports.Record)  // before it is summed up
		saved    func(*reports.Record)  // after
		policy   func(*Policy)          //
		evidence func(e *Evidence)      // with its attestations
		more     func() *reports.Record // another record
		want     string                 // in the clause's reasons
		clauses  []string               // that refuse, all of them
	}
	for name, c := range map[string]alterations{
		"zero tests": {record: func(r *reports.Record) {
			r.Tests, r.Requirements, r.Waivers = nil, nil, nil
		}, clauses: []string{"tests", "finished", "coverage", "languages", "os", "baseline"}, want: "record-1.json: no test was executed"},
		"nothing but skips": {record: func(r *reports.Record) {
			r.Tests, r.Waivers = r.Tests[4:5], nil
		}, clauses: []string{"tests", "finished", "coverage", "languages", "os", "baseline"}, want: "no test was executed"},
		"no record": {evidence: func(e *Evidence) { e.Files = nil }, clauses: []string{"tests", "coverage", "languages", "os", "digest", "baseline"}, want: "there is no record"},
		"a shard":   {saved: func(r *reports.Record) { r.Run.Shard = &reports.Shard{Index: 1, Total: 2} }, clauses: []string{"tests", "attestation"}, want: "shard 1/2"},
		"a tampered record": {saved: func(r *reports.Record) {
			becomes(r, "holds", reports.Fail)
			r.Tests[0].Status = reports.Pass
		}, clauses: []string{"integrity", "levels", "attestation"}, want: `test holds: it is "pass"`},
		"tampered counts":    {saved: func(r *reports.Record) { r.Counts.Tests[reports.Pass]++ }, clauses: []string{"integrity", "attestation"}, want: "it counts tests"},
		"an interrupted run": {record: func(r *reports.Record) { r.Verdict = r.Judge(true, nil) }, clauses: []string{"finished"}, want: "exit code 130"},
		"a leak":             {record: func(r *reports.Record) { r.Verdict = r.Judge(false, []string{"x"}) }, clauses: []string{"finished"}, want: "exit code 5"},
		"a broken phase":     {record: func(r *reports.Record) { r.Phases = []reports.Phase{{Name: "cluster health", Status: reports.Error}} }, clauses: []string{"finished"}, want: "exit code 3"},
		"another subject":    {more: func() *reports.Record { r := run(); r.Subject.Version = "v1.4.0"; return r }, clauses: []string{"subject"}, want: "record-2.json: helm v1.4.0"},
		"another image": {more: func() *reports.Record {
			r := run()
			r.Subject.Images[0].Digest = strings.Replace(digest, "00", "11", 1)
			return r
		}, clauses: []string{"subject", "digest"}, want: "record-2.json: helm v1.5.1 sha256:11"},
		"a failing MUST":    {record: func(r *reports.Record) { becomes(r, "holds", reports.Fail) }, clauses: []string{"levels", "languages", "os", "baseline"}, want: "MU-01 (MUST) is fail"},
		"a MUST that broke": {record: func(r *reports.Record) { becomes(r, "elsewhere", reports.Error) }, clauses: []string{"finished", "levels", "coverage", "baseline"}, want: "MU-03 (MUST) is error"},
		"a violated SHOULD": {record: func(r *reports.Record) { becomes(r, "should", reports.Warn) }, clauses: []string{"levels", "baseline"}, want: "SH-01 (SHOULD) is violated in test should: x: it came to warn"},
		"a MUST that flakes": {record: func(r *reports.Record) {
			r.Tests[5].Attempts[0].Status, r.Tests[5].Attempts[0].Cases[0].Status = reports.Fail, reports.Fail
			r.Tests[5].Attempts[0].Cases[0].Findings[0].Status = reports.Fail
		}, clauses: []string{"levels"}, want: "did not hold in every attempt of test retried"},
		"a failing MUST of which the requirement says nothing": {
			record: func(r *reports.Record) { becomes(r, "elsewhere", reports.Fail) }, saved: func(r *reports.Record) { r.Requirements[2].Status = reports.Pass },
			clauses: []string{"integrity", "levels", "baseline", "attestation"}, want: "MU-03 (MUST) is fail in test elsewhere"},
		"a skip for a reason that is not allowed": {record: func(r *reports.Record) { r.Tests[4].Skip.Reason = "no-azure" }, clauses: []string{"skips"}, want: "test skipped is skipped (no-azure): from 1.6"},
		"a skip where none is allowed":            {policy: func(p *Policy) { p.Skips = nil }, clauses: []string{"skips"}, want: "(not-in-version)"},
		"an unexplained skip":                     {saved: func(r *reports.Record) { r.Tests[4].Skip = nil }, clauses: []string{"integrity", "skips", "attestation"}, want: "test skipped is skipped for no reason"},
		"a skip without a code":                   {record: func(r *reports.Record) { r.Tests[4].Skip.Reason = "" }, clauses: []string{"skips"}, want: "for no reason"},
		"a waiver that expired since the run":     {record: func(r *reports.Record) { r.Waivers[0].Expiry = "2026-11-22" }, clauses: []string{"waivers"}, want: "w entry 1 (MU-02) expired after 2026-11-22: ask its owner, team-a"},
		"a waiver that had expired":               {record: func(r *reports.Record) { r.Waivers[1].State = reports.WaiverExpired }, clauses: []string{"waivers"}, want: "w entry 2 (MU-01) is expired"},
		"a waiver that is not needed":             {record: func(r *reports.Record) { r.Waivers[1].State = reports.WaiverPassed }, clauses: []string{"waivers"}, want: "is passed"},
		"a waiver without a day":                  {record: func(r *reports.Record) { r.Waivers[0].Expiry = "never" }, clauses: []string{"waivers"}, want: `no day on which it expires: "never"`},
		"more waivers than are allowed":           {policy: func(p *Policy) { p.Waivers = 0 }, clauses: []string{"waivers"}, want: "1 waivers are made use of"},
		"a waiver that is not there":              {record: func(r *reports.Record) { r.Waivers = r.Waivers[1:] }, clauses: []string{"integrity", "waivers", "attestation"}, want: "w entry 1, which the record does not have"},
		"too little coverage":                     {policy: func(p *Policy) { p.Coverage["SHOULD"] = 51 }, clauses: []string{"coverage"}, want: "1 of 2 requirements of level SHOULD are decided, want 51 per cent; not SH-02"},
		"a rule that was left out": {record: func(r *reports.Record) {
			r.Requirements, r.Tests = slices.Delete(r.Requirements, 2, 3), r.Tests[:6]
			r.Tests[4].Requirements = []string{"MU-01"}
		}, clauses: []string{"coverage", "baseline"}, want: "2 of 3 requirements of level MUST are decided, want 85 per cent; not MU-03"},
		"coverage of a level without rules":             {policy: func(p *Policy) { p.Coverage["INFO"] = 1 }, evidence: func(e *Evidence) { e.Rules = e.Rules[:5] }, clauses: []string{"coverage"}, want: "0 of 0"},
		"a language that did not run":                   {record: func(r *reports.Record) { r.Tests[0].Cases[0].Workloads[3].SecretSHA256 = "" }, clauses: []string{"languages", "baseline"}, want: "none did for javascript"},
		"a system that did not run":                     {policy: func(p *Policy) { p.OS = []string{"linux", "windows"} }, clauses: []string{"os"}, want: "none did for windows"},
		"a system that only stands in":                  {policy: func(p *Policy) { p.OS = []string{"windows"} }, record: func(r *reports.Record) { r.Tests[0].Cases[0].Workloads[0].OS = "windows (wine)" }, clauses: []string{"os", "baseline"}, want: "none did for windows"},
		"an old record":                                 {record: func(r *reports.Record) { r.Run.Finished = now.Add(-73 * time.Hour) }, clauses: []string{"age"}, want: "finished 73h0m0s ago"},
		"a record of tomorrow":                          {record: func(r *reports.Record) { r.Run.Finished = now.Add(time.Hour) }, clauses: []string{"age"}, want: "finishes 1h0m0s from now"},
		"a record without a time":                       {record: func(r *reports.Record) { r.Run.Finished = time.Time{} }, clauses: []string{"age"}, want: "does not say when"},
		"a wrong digest":                                {evidence: func(e *Evidence) { e.Digests = []string{strings.Replace(digest, "00", "11", 1)} }, clauses: []string{"digest"}, want: "has the digest \"" + digest},
		"an image of the candidate that was not tested": {evidence: func(e *Evidence) { e.Digests = append(e.Digests, "sha256:ff") }, clauses: []string{"digest"}, want: "sha256:ff was not tested"},
		"an image that is not the candidate's": {record: func(r *reports.Record) {
			r.Subject.Images = append(r.Subject.Images, reports.Image{Name: "proxy", Digest: strings.Replace(digest, "00", "22", 1)})
		}, clauses: []string{"digest"}, want: "image proxy has the digest"},
		"an image without a digest":    {record: func(r *reports.Record) { r.Subject.Images[0].Digest = "" }, clauses: []string{"digest", "attestation"}, want: `has the digest ""`},
		"no image":                     {record: func(r *reports.Record) { r.Subject.Images = nil }, clauses: []string{"digest", "attestation"}, want: "names no image"},
		"a digest that was not named":  {evidence: func(e *Evidence) { e.Digests = nil }, clauses: []string{"digest"}, want: "was not named"},
		"a test that passed before":    {record: func(r *reports.Record) { becomes(r, "info", reports.Warn) }, clauses: []string{"baseline"}, want: "test info is worse: it was pass"},
		"a test that was there before": {record: func(r *reports.Record) { r.Tests = r.Tests[:6]; r.Tests[0].Requirements = []string{"MU-01", "MU-03"} }, clauses: []string{"baseline"}, want: "test elsewhere is missing: it was pass"},
		"a test that was not skipped before": {record: func(r *reports.Record) {
			r.Tests[2].Status, r.Tests[2].Cases, r.Tests[2].Skip = reports.Skip, nil, &reports.Skipped{Reason: "configured"}
		}, clauses: []string{"baseline"}, want: "test info is skipped: it was pass"},
		"a baseline that was not named": {evidence: func(e *Evidence) { e.Baseline = nil }, clauses: []string{"baseline"}, want: "no baseline was named"},
		"a cluster that was there before": {evidence: func(e *Evidence) {
			other := run()
			other.Cluster.Kubernetes = "v1.34.1"
			e.Baseline = append(e.Baseline, other)
		}, clauses: []string{"baseline"}, want: "the baseline has a run on local v1.34, the records have none"},
		"no attestation":                {evidence: func(e *Evidence) { e.Attestations = nil }, clauses: []string{"attestation"}, want: "record-1.json: there is no attestation"},
		"an attestation by another key": {evidence: func(e *Evidence) { e.Key = key(2).Public().(ed25519.PublicKey) }, clauses: []string{"attestation"}, want: "not signed by this key"},
		"a tampered attestation": {evidence: func(e *Evidence) {
			e.Attestations[0] = bytes.Replace(e.Attestations[0], []byte(`"payload":"e`), []byte(`"payload":"f`), 1)
		}, clauses: []string{"attestation"}, want: "attestation 1: "},
		"an attestation of another record":     {saved: func(r *reports.Record) {}, evidence: func(e *Evidence) { e.Files[0].Data = append(e.Files[0].Data, ' ') }, clauses: []string{"attestation"}, want: "is not the one that was attested"},
		"no key":                               {evidence: func(e *Evidence) { e.Key = nil }, clauses: []string{"attestation"}, want: "no key was named"},
		"a list, which nobody can have signed": {evidence: func(e *Evidence) { e.Files[0].Records = append(e.Files[0].Records, run()) }, clauses: []string{"attestation"}, want: "attested one by one"},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := run(), policy(t)
			if c.record != nil {
				c.record(r)
				summed(r)
			}
			if c.saved != nil {
				c.saved(r)
			}
			records := []*reports.Record{r}
			if c.more != nil {
				records = append(records, c.more())
			}
			if c.policy != nil {
				c.policy(&p)
			}
			e := evidence(t, records...)
			if c.evidence != nil {
				c.evidence(&e)
			}
			d := Decide(context.Background(), p, e)
			var text strings.Builder
			if err := d.Write(&text); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.clauses, d.refusals()); diff != "" || d.Passed() {
				t.Errorf("clauses that refuse (-want +got):\n%s\n%s", diff, &text)
			}
			if !strings.Contains(text.String(), c.want) {
				t.Errorf("no %q in\n%s", c.want, &text)
			}
		})
	}
}

func TestWhatThePolicyDoesNotAskForIsIdle(t *testing.T) {
	p := Policy{Levels: []string{"MUST"}, Skips: []string{"not-in-version"}, Waivers: 1}
	e := evidence(t, run())
	e.Digests, e.Baseline, e.Attestations, e.Key = nil, nil, nil, nil
	e.Now = now.AddDate(0, 0, 0)
	var idle []string
	d := Decide(context.Background(), p, e)
	for _, c := range d.Clauses {
		if c.Idle {
			idle = append(idle, c.Name)
		}
	}
	if diff := cmp.Diff([]string{"coverage", "languages", "os", "age", "digest", "baseline", "attestation"}, idle); diff != "" || !d.Passed() {
		t.Errorf("idle (-want +got):\n%s; refused by %v", diff, d.refusals())
	}
	// What the caller names is never ignored.
	for name, alter := range map[string]func(*Evidence){
		"digest": func(e *Evidence) { e.Digests = []string{"sha256:ff"} },
		"baseline": func(e *Evidence) {
			better := run()
			becomes(better, "waived", reports.Pass)
			e.Baseline = []*reports.Record{summed(better)}
		},
		"attestation": func(e *Evidence) { e.Key = key(1).Public().(ed25519.PublicKey) },
	} {
		one := e
		alter(&one)
		if got := Decide(context.Background(), p, one).refusals(); !slices.Equal(got, []string{name}) {
			t.Errorf("%s is named and refuses nothing: %v", name, got)
		}
	}
	// A SHOULD may be violated where the policy does not name its level.
	should := run()
	becomes(should, "should", reports.Warn)
	one := evidence(t, summed(should))
	one.Baseline = nil
	if d := Decide(context.Background(), p, one); !d.Passed() {
		t.Errorf("refused by %v", d.refusals())
	}
}

// A new version of Kubernetes is no reason to compare nothing, where there is one run before and one now.
func TestTheOnlyRunIsComparedWithTheOnlyOneBefore(t *testing.T) {
	r := run()
	r.Cluster.Kubernetes = "v1.37.0"
	if d := Decide(context.Background(), policy(t), evidence(t, r)); !d.Passed() {
		t.Errorf("refused by %v", d.refusals())
	}
	becomes(r, "info", reports.Warn)
	if d := Decide(context.Background(), policy(t), evidence(t, summed(r))); !slices.Equal(d.refusals(), []string{"baseline"}) {
		t.Errorf("refused by %v", d.refusals())
	}
}

func TestSeveralRecordsCoverTogether(t *testing.T) {
	linux, windows := run(), run()
	windows.Cluster.Provider = "aks"
	linux.Requirements, linux.Tests = slices.Delete(linux.Requirements, 2, 3), linux.Tests[:6]
	linux.Tests[4].Requirements = []string{"MU-01"}
	windows.Tests[0].Cases[0].Workloads = []reports.Workload{{Name: "go", Language: "go", OS: "windows", SecretSHA256: "00"}}
	p := policy(t)
	p.OS = []string{"linux", "windows"}
	e := evidence(t, summed(linux), summed(windows))
	e.Baseline = []*reports.Record{summed(linux)}
	if d := Decide(context.Background(), p, e); !d.Passed() {
		var text strings.Builder
		_ = d.Write(&text)
		t.Error(text.String())
	}
	// A failure in either counts.
	becomes(windows, "elsewhere", reports.Fail)
	if d := Decide(context.Background(), p, evidence(t, linux, summed(windows))); !slices.Contains(d.refusals(), "levels") {
		t.Errorf("refused by %v", d.refusals())
	}
}

func TestDecisionInWords(t *testing.T) {
	r := run()
	becomes(r, "holds", reports.Fail)
	r.Tests[4].Skip.Reason = "no-azure"
	e := evidence(t, summed(r))
	p := policy(t)
	p.MaxAge.Duration = 0
	compareGolden(t, "refused.golden.txt", Decide(context.Background(), p, e))
	if err := (Decision{}).Write(brokenPipe{}); !errors.Is(err, errBrokenPipe) {
		t.Errorf("error %v", err)
	}
}

var errBrokenPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBrokenPipe }

func compareGolden(t *testing.T, name string, d Decision) {
	t.Helper()
	var got bytes.Buffer
	if err := d.Write(&got); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, name, got.Bytes())
}
