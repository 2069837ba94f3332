package reports

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cause is why something of the harness broke, as far as it is known by the error's type. An error with a cause says nothing
// about the subject, nor that it would come again.
type Cause string

// The causes.
const (
	// Transport: the connection of the harness' own client to the API server was refused, reset or cut off.
	Transport Cause = "transport"
	// Propagation: Azure does not know everywhere what was made there.
	Propagation Cause = "propagation"
)

// Attempt is one execution of a test that was executed more than once.
type Attempt struct {
	// Retries is the cause because of which the attempt before this one does not count; empty for one that was asked for (--repeat).
	Retries  Cause     `json:"retries,omitempty"`
	Status   Status    `json:"status"`
	Started  time.Time `json:"started,omitzero"`
	Seconds  float64   `json:"seconds"`
	Findings []Finding `json:"findings,omitempty"` // outside any case
	Notes    []string  `json:"notes,omitempty"`
	Cases    []Case    `json:"cases,omitempty"`
	Bundle   string    `json:"bundle,omitempty"` // as of a Test
}

// SubjectFailed says whether the subject broke a MUST in the test, in whichever attempt.
func (t *Test) SubjectFailed() bool {
	for _, a := range t.Attempts {
		if Worst(a.Status) == Fail {
			return true
		}
	}
	return t.Status == Fail
}

// attemptsLine tells how a test's attempts went: "5 attempts: 1 error, 4 pass, 1 retried (transport)"; empty when there was only one.
func attemptsLine(t Test) string {
	if len(t.Attempts) == 0 {
		return ""
	}
	statuses, retried := map[Status]int{}, map[Cause]int{}
	for _, a := range t.Attempts {
		statuses[Worst(a.Status)]++
		if a.Retries != "" {
			retried[a.Retries]++
		}
	}
	line := count(len(t.Attempts), "attempt") + ": " + tally(statuses, Error, Fail, Warn, Pass)
	for _, cause := range slices.Sorted(maps.Keys(retried)) {
		line += fmt.Sprintf(", %d retried (%s)", retried[cause], Visible(string(cause)))
	}
	return line
}

// inAttempts is the prefix of a finding that not every attempt came to.
func (f Finding) inAttempts(t Test) string {
	if len(f.Attempts) == 0 || len(f.Attempts) == len(t.Attempts) {
		return ""
	}
	var numbers []string
	for _, n := range f.Attempts[:min(len(f.Attempts), shownTests)] {
		numbers = append(numbers, strconv.Itoa(n))
	}
	if len(f.Attempts) > shownTests {
		numbers = append(numbers, "…")
	}
	noun := "attempt "
	if len(f.Attempts) > 1 {
		noun = "attempts "
	}
	return noun + strings.Join(numbers, ", ") + ": "
}

// attempted are the outcomes that bear the name in each attempt of the test, in the attempts' order.
func attempted(t Test, name string) []outcome {
	var all []outcome
	for _, a := range t.Attempts {
		for _, o := range outcomes(Test{Title: t.Title, Status: a.Status, Seconds: a.Seconds, Findings: a.Findings, Cases: a.Cases}) {
			if o.name == name {
				all = append(all, o)
			}
		}
	}
	return all
}
