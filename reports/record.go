// Package reports holds the record of a run and what is made from one: the summary, Markdown and live progress for people,
// JUnit XML and CTRF for pipelines, a conformance report, a badge. What is made from several is in the packages below it.
//
// The record is the only source: no report adds or drops a result. It is judged in one place (verdict.go), by which it can also be told
// whether somebody changed it (integrity.go). The package runs nothing and knows no cluster.
package reports

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// APIVersion and Kind identify the record's format.
const (
	APIVersion = "wi-e2e.dev/v1alpha1"
	Kind       = "RunRecord"
)

// Record is what is known about one run. It is written whether or not the run got as far as its tests.
type Record struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	Run     Run     `json:"run"`
	Verdict Verdict `json:"verdict"`
	Cluster Cluster `json:"cluster"`
	Subject Subject `json:"subject"`
	Azure   *Azure  `json:"azure,omitempty"` // nil if no test needed one
	Counts  Counts  `json:"counts"`

	Phases       []Phase       `json:"phases"`
	Requirements []Requirement `json:"requirements"`
	Tests        []Test        `json:"tests"`
	// Waivers are the known deviations that the run was told about.
	Waivers []Waiver `json:"waivers,omitempty"`
	// Untested are the rules of the catalogue that no test of this version decides.
	Untested []Untested `json:"untested,omitempty"`
}

// Untested is a requirement without a test, and the issue that brings one.
type Untested struct {
	ID string `json:"id"`
	// Part of the rule that is meant; empty for all of it.
	Part  string `json:"part,omitempty"`
	Issue string `json:"issue"`
	// What the catalogue says of it, as of a Requirement.
	Section   string `json:"section,omitempty"`
	Level     string `json:"level,omitempty"`
	Statement string `json:"statement,omitempty"`
}

// Run says which run this was and how to repeat it.
type Run struct {
	ID       string    `json:"id"`
	Version  string    `json:"version"` // of wi-e2e
	Command  []string  `json:"command"`
	Seed     int64     `json:"seed"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Seconds  float64   `json:"seconds"`
	// Shard is nil for a run of its whole plan.
	Shard *Shard `json:"shard,omitempty"`
}

// Shard is the part of a plan that a run was given.
type Shard struct {
	Index int `json:"index"` // from 1
	Total int `json:"total"`
	// Plan are the ids of all tests of the plan that was divided, so that shards can be held against it and each other.
	Plan []string `json:"plan"`
}

// Verdict is the outcome of the whole run.
type Verdict struct {
	Status   Status `json:"status"`
	ExitCode int    `json:"exitCode"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
}

// Cluster says what the subject ran on.
type Cluster struct {
	Provider     string   `json:"provider"`
	Name         string   `json:"name"`
	Kubernetes   string   `json:"kubernetes"` // gitVersion of /version
	Nodes        int      `json:"nodes"`
	Issuer       string   `json:"issuer,omitempty"`
	Capabilities []string `json:"capabilities"`
}

// Subject says what was tested.
type Subject struct {
	Kind      string  `json:"kind"`
	Namespace string  `json:"namespace"`
	Version   string  `json:"version,omitempty"`
	Profile   string  `json:"profile"`
	ProfileBy string  `json:"profileBy"` // flag, image tag or observed mutation
	Images    []Image `json:"images"`
}

// Azure says which Azure tokens were exchanged with.
type Azure struct {
	Mode     string `json:"mode"` // emulated or real
	Cloud    string `json:"cloud"`
	TenantID string `json:"tenantID"`
	Vault    string `json:"vault"` // URL
}

// Image is an image that the subject's pods ran.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
}

// Phase is a step of the run's road (design, section 1).
type Phase struct {
	Name    string    `json:"name"`
	Status  Status    `json:"status"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	// CPUSeconds is the harness' own processor time (user and system) during the phase.
	CPUSeconds float64  `json:"cpuSeconds"`
	Notes      []string `json:"notes,omitempty"`
	Message    string   `json:"message,omitempty"`
}

// Requirement is a rule of the catalogue and how it fared.
type Requirement struct {
	ID        string   `json:"id"`
	Section   string   `json:"section,omitempty"` // title of the one that the rule is in
	Level     string   `json:"level"`
	Statement string   `json:"statement"`
	Source    string   `json:"source"`
	Status    Status   `json:"status"`
	Tests     []string `json:"tests"`
	Cases     int      `json:"cases"` // executed
}

// Test is a planned test. One that was never executed has a Skip, or is an Error.
type Test struct {
	ID           string    `json:"id"`
	Title        string    `json:"title"`
	Tier         string    `json:"tier"`
	Requirements []string  `json:"requirements"`
	Status       Status    `json:"status"`
	Started      time.Time `json:"started,omitzero"`
	Seconds      float64   `json:"seconds"`
	Skip         *Skipped  `json:"skip,omitempty"`
	Findings     []Finding `json:"findings,omitempty"` // outside any case: set-up, time-outs
	Notes        []string  `json:"notes,omitempty"`    // outside any case
	Cases        []Case    `json:"cases,omitempty"`
	Rerun        string    `json:"rerun,omitempty"` // command that repeats just this test
	// Programs of the workloads' catalogue that the test takes, whether or not they ran.
	Programs []Program `json:"programs,omitempty"`
	// Bundle is the directory, beside the record, with what was around a test that did not pass; "" if nothing was kept.
	Bundle string `json:"bundle,omitempty"`
	// Attempts are there when the test was executed more than once. Status, findings and cases are then what they come to.
	Attempts []Attempt `json:"attempts,omitempty"`
}

// Case is one checked case of a test.
type Case struct {
	Name string `json:"name"`
	// Requirements are those of the test's that the case is about; empty for all of them.
	Requirements []string `json:"requirements,omitempty"`

	Status   Status    `json:"status"`
	Seconds  float64   `json:"seconds"`
	Checks   int       `json:"checks"` // expectations that were evaluated
	Findings []Finding `json:"findings,omitempty"`
	Notes    []string  `json:"notes,omitempty"` // evidence worth keeping although nothing is wrong
	// Workloads are the programs that ran for the case: the matrix of languages and libraries is made of them.
	Workloads []Workload `json:"workloads,omitempty"`
}

// Program is a row of the workloads' catalogue.
type Program struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	Library  string `json:"library"`
	OS       string `json:"os,omitempty"` // as of a Workload
}

// Workload is what a program of the workloads' catalogue came to, and what was seen of it.
type Workload struct {
	Name     string `json:"name"` // its row
	Language string `json:"language"`
	Library  string `json:"library"`
	// OS that it ran on; empty for linux. One that only stands in for a system says so.
	OS string `json:"os,omitempty"`
	// Version of the library and the credential that was used, as the SDK itself reports them; "" for a program that does not tell.
	Version    string `json:"version,omitempty"`
	Credential string `json:"credential,omitempty"`
	Image      string `json:"image"`
	// SecretSHA256 is the hash of the secret that it read, in hexadecimal; Error the SDK's own words if it read none.
	SecretSHA256 string `json:"secretSHA256,omitempty"`
	Error        string `json:"error,omitempty"`
	// TokenSeconds and SecretSeconds are how long the SDK took, by the program's own clock.
	TokenSeconds  float64 `json:"tokenSeconds,omitempty"`
	SecretSeconds float64 `json:"secretSeconds,omitempty"`
	// Exchange is the request for its token, as the emulator saw it; nil for the real Azure, which does not tell.
	Exchange *Exchange `json:"exchange,omitempty"`
}

// Exchange of a token of the cluster for one of Azure.
type Exchange struct {
	ClientID string `json:"clientID"`
	Subject  string `json:"subject"`
	Issuer   string `json:"issuer"`
	// UserAgent is that of the request, Client what MSAL says of itself in it: its name and version.
	UserAgent string `json:"userAgent"`
	Client    string `json:"client,omitempty"`
}

// Of is how the test fared as far as a requirement is concerned, and how many executed cases that rests on.
func (t *Test) Of(requirement string) (status Status, cases int) {
	status = t.Status
	if slices.ContainsFunc(t.Cases, func(c Case) bool { return len(c.Requirements) > 0 }) {
		status = WorstOf(t.Findings)
	}
	for _, c := range t.Cases {
		if len(c.Requirements) > 0 && !slices.Contains(c.Requirements, requirement) {
			continue
		}
		if c.Checks > 0 {
			cases++
		}
		status = Worst(status, c.Status)
	}
	return status, cases
}

// About is the test without the cases that are about other requirements.
func (t Test) About(requirement string) Test {
	t.Cases = slices.DeleteFunc(slices.Clone(t.Cases), func(c Case) bool {
		return len(c.Requirements) > 0 && !slices.Contains(c.Requirements, requirement)
	})
	return t
}

// Found are the findings of that status, each with the name of its case before the message.
func (t Test) Found(status Status) []Finding {
	all := slices.Clone(t.Findings)
	for _, c := range t.Cases {
		for _, f := range c.Findings {
			f.Message = c.Name + ": " + f.Message
			all = append(all, f)
		}
	}
	return slices.DeleteFunc(all, func(f Finding) bool { return f.Status != status })
}

// Finding is an expectation that did not hold (Fail, Warn) or something that broke (Error), or either but not in every attempt (Flake).
type Finding struct {
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Diff of expected (-) against actual (+), when the values were compared.
	Diff string `json:"diff,omitempty"`
	// Cause of an Error, if its type tells.
	Cause Cause `json:"cause,omitempty"`
	// Waiver names the entry because of which a Fail is only a Warn.
	Waiver string `json:"waiver,omitempty"`
	// Attempts that found it, counted from 1, if there was more than one.
	Attempts []int `json:"attempts,omitempty"`
}

// Skipped says why a planned test was not executed.
type Skipped struct {
	Reason string `json:"reason"` // a code, see suites.SkipReason
	Text   string `json:"text"`
}

// Counts sums the record up. Every other report must agree with it.
type Counts struct {
	Tests        map[Status]int `json:"tests"`
	Cases        map[Status]int `json:"cases"`
	Requirements map[Status]int `json:"requirements"`
}

// Count fills Counts from the tests, cases and requirements.
func (r *Record) Count() {
	r.Counts = Counts{Tests: map[Status]int{}, Cases: map[Status]int{}, Requirements: map[Status]int{}}
	for _, t := range r.Tests {
		r.Counts.Tests[t.Status]++
		for _, c := range t.Cases {
			r.Counts.Cases[c.Status]++
		}
	}
	for _, q := range r.Requirements {
		r.Counts.Requirements[q.Status]++
	}
}

// Withhold is the record without secrets: they are taken out of every text in it before it is encoded, so that what it says, and how it is
// judged, stays.
func (r *Record) Withhold(secrets *redact.Redactor) *Record {
	withheld := redact.Copy(secrets, *r)
	return &withheld
}

// Save writes the record to path, whole or not at all. It is one without secrets already, see Withhold.
func (r *Record) Save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the record: %w", err)
	}
	return WriteFile(path, append(data, '\n'))
}

// Load reads a record that Save wrote.
func Load(path string) (*Record, error) {
	records, err := LoadAll(path)
	if err != nil {
		return nil, err
	}
	if len(records) != 1 {
		return nil, fmt.Errorf("read record %s: it holds %s, want one", path, count(len(records), "record"))
	}
	return records[0], nil
}

// WriteFile writes to a temporary file beside path and renames it, so that a reader never sees half a report.
func WriteFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Chmod(0o644)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
