package operations

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
	"github.com/wi-e2e/wi-e2e/suites"
)

func doctorTests() []suites.Test {
	return []suites.Test{{
		ID:           "doctor-names-faults",
		Title:        "wi-e2e doctor finds nothing wrong with the installation, and names each fault that is put into it",
		Requirements: []string{"OPS-06"},
		Needs:        disturbing,
		Timeout:      3 * time.Minute,
		Body:         doctorNamesFaults,
	}}
}

// heardWithin is how long an API server may go by rights that were withdrawn.
const heardWithin = 15 * time.Second

// doctorNamesFaults is about two: the installation has to be without a fault, or it fails; that the doctor knows a fault when it sees it is
// asked of the harness, so that a miss is an error, which says nothing about the subject.
func doctorNamesFaults(ctx context.Context, t *suites.T) {
	webhook := settled(ctx, t)
	defer webhook.restore(ctx, t)
	found := examined(ctx, t)
	t.Check(len(found) == 0, "wi-e2e doctor finds faults in the installation as it was found: %s", describeFindings(found))
	for _, f := range installationFaults {
		if slices.ContainsFunc(found, func(had diagnosis.Finding) bool { return had.ID == f.finding }) {
			continue // the check above has told: it cannot be put there once more
		}
		named := putFault(ctx, t, webhook, f)
		t.Note("%s: %s", f.name, named.Problem)
		awaitFindings(ctx, t, "after "+f.name+" was mended", func(now []diagnosis.Finding) bool { return len(now) == len(found) })
	}
}

// putFault has the doctor look at a fault, and takes it away again whatever it sees.
func putFault(ctx context.Context, t *suites.T, webhook *installation, f installationFault) (named diagnosis.Finding) {
	mend := f.put(ctx, t, webhook)
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
		defer cancel()
		t.Must(mend(undo), "mend %s", f.name)
	}()
	awaitFindings(ctx, t, "of "+f.name, func(found []diagnosis.Finding) bool {
		i := slices.IndexFunc(found, func(finding diagnosis.Finding) bool { return finding.ID == f.finding })
		if i >= 0 {
			named = found[i]
		}
		return i >= 0
	})
	return named
}

// examined is what the doctor has to say of the rule: the rest, as an issuer that is not public, is the cluster's.
func examined(ctx context.Context, t *suites.T) []diagnosis.Finding {
	clients, err := objects.New(t.Env().Cluster, "doctor")
	t.Must(err, "make clients for the doctor")
	state, err := doctor.Collect(ctx, clients, &http.Client{})
	t.Must(err, "read the installation")
	return slices.DeleteFunc(doctor.Examine(state).Findings, func(f diagnosis.Finding) bool { return f.Requirement != "OPS-06" })
}

// awaitFindings asks the doctor until the findings are as wanted: API servers go by what was changed a moment later.
func awaitFindings(ctx context.Context, t *suites.T, when string, wanted func([]diagnosis.Finding) bool) {
	limited, cancel := context.WithTimeoutCause(ctx, heardWithin, errors.New("the time is over"))
	defer cancel()
	var latest []diagnosis.Finding
	err := wait.PollUntilContextCancel(limited, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		latest = examined(ctx, t)
		return wanted(latest), nil
	})
	if ctx.Err() != nil {
		t.Must(context.Cause(ctx), "ask the doctor %s", when)
	}
	if err != nil {
		t.Broken("wi-e2e doctor is wrong %s, for %s: it finds %s", when, heardWithin, describeFindings(latest))
	}
}

func describeFindings(found []diagnosis.Finding) string {
	if len(found) == 0 {
		return "nothing"
	}
	var all []string
	for _, f := range found {
		all = append(all, fmt.Sprintf("%s (%s: %s)", f.ID, f.Object, f.Problem))
	}
	return strings.Join(all, "; ")
}
