package selftest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
)

// Matrix is the kill matrix, a row a mutant.
type Matrix struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Started    time.Time `json:"started"`
	Seconds    float64   `json:"seconds"`
	// CPUSeconds is the processor time of this process: tests and webhooks, without the cluster.
	CPUSeconds float64 `json:"cpuSeconds"`
	Mutants    []Row   `json:"mutants"`
	Tests      []Test  `json:"tests"`
	// FalseAlarms are tests that the conformant reference does not pass.
	FalseAlarms []Alarm `json:"falseAlarms"`
	// Complete says that all mutants that break a rule of the tests were run, so that a test without a kill is unproved.
	Complete bool `json:"complete"`
}

// Outcome of a mutant.
type Outcome string

// The outcomes.
const (
	Killed Outcome = "killed" // by a test of the requirement that it breaks
	// WronglyKilled: noticed, but held against other requirements only, or for another reason than the fault.
	WronglyKilled Outcome = "wrongly killed"
	Survived      Outcome = "survived"
	// Undecided: not killed by its own tests, of which some broke.
	Undecided Outcome = "undecided"
)

// Row is a mutant and what became of it.
type Row struct {
	ID          string       `json:"id"`
	Fault       string       `json:"fault"`
	Requirement string       `json:"requirement"`
	Part        mutants.Part `json:"part"`
	Outcome     Outcome      `json:"outcome"`
	// Finding is what one of the tests has to say, if it is not "".
	Finding string `json:"finding,omitempty"`
	// KilledBy are tests that hold the fault against its requirement, MissedBy other tests of the requirement. The rest was not run,
	// once one had killed it.
	KilledBy []Kill   `json:"killedBy"`
	MissedBy []string `json:"missedBy,omitempty"`
	// AlsoKilledBy are tests of other requirements. They are run if no test kills the mutant that should.
	AlsoKilledBy []Kill `json:"alsoKilledBy,omitempty"`
	// Broke are tests that ended in an error, which proves nothing.
	Broke   []Kill  `json:"broke,omitempty"`
	Seconds float64 `json:"seconds"`

	said bool // one of the tests said the finding
}

// Kill is a test and the first thing that it found.
type Kill struct {
	Test    string `json:"test"`
	Finding string `json:"finding"`
}

// Test is a column: a test, and the mutants that it killed.
type Test struct {
	ID           string   `json:"id"`
	Requirements []string `json:"requirements"`
	Kills        []string `json:"kills"`
}

// Alarm is a test that the conformant reference does not pass.
type Alarm struct {
	Webhook string         `json:"webhook"`
	Test    string         `json:"test"`
	Status  reports.Status `json:"status"`
	Finding string         `json:"finding"`
}

func newMatrix(options Options, trials []*trial) *Matrix {
	m := &Matrix{APIVersion: reports.APIVersion, Kind: "KillMatrix", Complete: options.Complete, Mutants: []Row{}, FalseAlarms: []Alarm{}}
	for _, t := range options.Tests {
		m.Tests = append(m.Tests, Test{ID: t.ID, Requirements: t.Requirements, Kills: []string{}})
	}
	for _, t := range trials {
		m.FalseAlarms = append(m.FalseAlarms, t.alarms...)
		if t.mutant == nil {
			continue
		}
		t.Outcome = t.outcome()
		m.Mutants = append(m.Mutants, t.Row)
		for i := range m.Tests {
			if t.isKilledBy(m.Tests[i].ID) {
				m.Tests[i].Kills = append(m.Tests[i].Kills, t.ID)
			}
		}
	}
	return m
}

// add puts the result of a test into the row. own says that it is a test of the requirement that the mutant breaks.
func (r *Row) add(result reports.Test, own bool) {
	status := result.Status
	if own {
		status, _ = result.Of(r.Requirement)
	}
	switch {
	case result.Status == reports.Error:
		r.Broke = append(r.Broke, Kill{result.ID, finding(result, reports.Error)})
	case own && status == reports.Fail:
		r.said = r.said || says(result, r.Requirement, r.Finding)
		r.KilledBy = append(r.KilledBy, Kill{result.ID, finding(result, reports.Fail)})
	case result.Status == reports.Fail: // of a test of its own: held against another requirement
		r.AlsoKilledBy = append(r.AlsoKilledBy, Kill{result.ID, finding(result, reports.Fail)})
	}
	if own && !r.isKilledBy(result.ID) {
		r.MissedBy = append(r.MissedBy, result.ID)
	}
}

// isKilledBy says whether the test is among those that killed the mutant.
func (r *Row) isKilledBy(test string) bool {
	return slices.ContainsFunc(r.KilledBy, func(k Kill) bool { return k.Test == test })
}

func (r *Row) outcome() Outcome {
	switch {
	case len(r.KilledBy) > 0 && r.said:
		return Killed
	case slices.ContainsFunc(r.Broke, func(k Kill) bool { return slices.Contains(r.MissedBy, k.Test) }):
		return Undecided
	case len(r.AlsoKilledBy) > 0 || len(r.KilledBy) > 0:
		return WronglyKilled
	}
	return Survived
}

// Of are the rows of that outcome.
func (m *Matrix) Of(outcome Outcome) []Row {
	return slices.DeleteFunc(slices.Clone(m.Mutants), func(r Row) bool { return r.Outcome != outcome })
}

// Unproved are the tests that kill no mutant of their requirements; none if not all mutants were run.
func (m *Matrix) Unproved() []Test {
	if !m.Complete {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.Tests), func(t Test) bool { return len(t.Kills) > 0 })
}

// ExitCode is that of the verb: an error of the harness says more than what it found nevertheless.
func (m *Matrix) ExitCode() int {
	broke := slices.ContainsFunc(m.FalseAlarms, func(a Alarm) bool { return a.Status == reports.Error })
	switch {
	case broke || len(m.Of(Undecided)) > 0:
		return reports.ExitEnvironment
	case len(m.Of(Killed)) < len(m.Mutants), len(m.FalseAlarms) > 0, len(m.Unproved()) > 0:
		return reports.ExitFailed
	}
	return reports.ExitPass
}

// Save writes the matrix as JSON.
func (m *Matrix) Save(path string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the kill matrix: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save the kill matrix: %w", err)
	}
	return nil
}

// says whether the test holds that against the requirement.
func says(result reports.Test, requirement, text string) bool {
	return slices.ContainsFunc(result.About(requirement).Found(reports.Fail), func(f reports.Finding) bool {
		return strings.Contains(f.Message+"\n"+f.Diff, text)
	})
}

// finding is the first one of that status, and where it is.
func finding(result reports.Test, status reports.Status) string {
	for _, f := range result.Found(status) {
		return f.Message
	}
	return ""
}
