package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/fixtures/doctor"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
)

// consequence is what a run makes of a finding of the doctor.
type consequence int

const (
	// noted is for what the tests judge, and for what explains something else. It may not matter to the run.
	noted consequence = iota
	// stops is for what leaves no test anything to say about the subject: nobody would get through, or nobody could tell whose doing it is.
	stops
	// notedOfRealAzure matters only where Entra ID itself has to reach the cluster.
	notedOfRealAzure
)

// consequences of the doctor's findings, by their ID. What a rule of the catalogue is about is never an error of the run: a subject that
// registers itself wrongly, or whose rights or certificates are wrong, is for the tests to fail. If because of that the API server does not reach it,
// webhook-unreachable says so, and the cause is told beside it.
var consequences = map[string]consequence{
	"webhook-unreachable": stops, // every answer would be 'failed calling webhook', which is never a denial
	"two-installations":   stops, // a pod does not show which of them mutated it; those that agree are only warned of
	"clock":               stops, // tokens would be refused whatever the webhook did

	"webhook-missing":         noted, // a subject of another name is found by the phase before, and judged by SEL-04
	"installation-unexpanded": noted, // ENV-03
	"installation-tenant":     noted, // ENV-03
	"configuration-renamed":   noted, // OPS-03: its CA bundle is repaired
	"webhook-without-pods":    noted, // OPS-01
	"webhook-rights":          noted, // SA-01 and OPS-03
	"ca-bundle-empty":         noted, // OPS-03
	"ca-bundle-unreadable":    noted, // OPS-03
	"certificate-unreadable":  noted, // OPS-03
	"certificate-expired":     noted, // OPS-03
	"certificate-untrusted":   noted, // OPS-03
	"certificate-ends-soon":   noted, // OPS-03
	"failure-policy":          noted, // SEL-04
	"issuer-served":           noted, // ISS-01
	"issuer-not-public":       notedOfRealAzure,
	"no-node":                 noted, // the plan skips what needs one
	"virtual-nodes":           noted, // EXC-09
	"run-rights":              noted, // a narrower run may not need them
}

// againWithin is how long a webhook that did not answer has to do so: the phase before has seen it answer, but not every API server may
// know of it, and a connection may break.
const (
	againWithin = 5 * time.Second
	againEvery  = 250 * time.Millisecond
)

// seeDoctor looks at cluster and installation before anything is built on them.
func (s *stage) seeDoctor(ctx context.Context) error {
	clients, err := objects.New(s.cluster, "doctor")
	if err != nil {
		return err
	}
	anyone := &http.Client{}
	if s.mode() != realAzure {
		anyone.Transport = nobody{} // the emulator asks the cluster itself
	}
	var state *doctor.State
	err = wait.PollUntilContextTimeout(ctx, againEvery, againWithin, true, func(ctx context.Context) (bool, error) {
		read, err := doctor.Collect(ctx, clients, anyone)
		if err != nil && state != nil && ctx.Err() != nil {
			return false, nil // cut off: the answer before it tells more
		}
		if err != nil {
			return false, err
		}
		state = read
		return state.Unreachable == "", nil
	})
	if state == nil || ctx.Err() != nil || err != nil && !wait.Interrupted(err) {
		return fmt.Errorf("examine cluster %s and the webhook on it: %w", s.cluster.Name(), err)
	}
	return s.run.heed(doctor.Examine(state), s.mode() == realAzure && !s.run.config.publishesIssuer())
}

// nobody is asked.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the run's Azure is emulated, and asks nobody on the internet")
}

// heed notes the findings, or ends the run with them.
func (r *run) heed(d diagnosis.Diagnosis, entraHasToReach bool) error {
	var why, other []string
	for _, f := range d.Findings {
		c := consequences[f.ID]
		text := fmt.Sprintf("%s: %s. To mend it: %s", f.Object, f.Problem, f.Remedy)
		switch {
		case c == notedOfRealAzure && !entraHasToReach:
		case c == stops && f.Severity == diagnosis.Error:
			why = append(why, text)
		default:
			other = append(other, text)
		}
	}
	for _, text := range d.NotChecked {
		other = append(other, "not looked at: "+text)
	}
	for _, text := range other {
		r.note(text)
	}
	if len(why) > 0 {
		return errors.New(strings.Join(slices.Concat(why, other), "\n"))
	}
	return nil
}
