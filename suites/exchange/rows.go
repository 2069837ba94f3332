package exchange

import (
	"context"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// rows are the workloads that keep the contract of package workloads: every SDK × library that supports workload identity and
// can be asked for more than to read a secret.
func rows() []workloads.Workload {
	return slices.DeleteFunc(workloads.Catalogue(), func(w workloads.Workload) bool { return w.Sample != nil || w.Migrates })
}

// rowTests are one test for each row: in one language something may work that does not in another, and none hides another. Its
// program is started once, for everything that is asked of the row.
func rowTests() []suites.Test {
	var tests []suites.Test
	for _, w := range rows() {
		requirements := []string{"EXC-01", "EXC-03", "EXC-04", "EXC-06"}
		if len(w.Credentials) > 0 { // Azure Identity's ways; MSAL has one
			requirements = slices.Insert(requirements, 1, "EXC-02")
		}
		tests = append(tests, suites.Test{
			ID: "sdk-" + w.Name,
			Title: "The workload " + w.Name + " reads a Key Vault secret with nothing but what the webhook injected, " +
				"is the identity that its code names, and is refused for the very reason where it is not trusted",
			Tier: suites.Exchange, Requirements: requirements,
			Needs: needs(w.Name), Trust: identityTrust(w),
			// An SDK that reaches nobody tries for up to a minute in each of its attempts, and is to say so itself.
			Timeout: time.Duration(len(reading(w)))*time.Minute + suites.DefaultTimeout + 5*time.Minute,
			Body:    func(ctx context.Context, t *suites.T) { useSDK(ctx, t, w) },
		})
	}
	return tests
}

func useSDK(ctx context.Context, t *suites.T, w workloads.Workload) {
	read, others := reading(w), identities(ctx, t, w)
	o := run(ctx, t, w, read, others)
	before, after := splitAt(programs.Asked(ctx, t), subjectOf(ctx, t), t.Identity(app, otherReader).ClientID)
	expectRead(ctx, t, w, o[:len(read)], before)
	expectAll(ctx, t, w, others, o[len(read):], after)
}

// splitAt splits what Azure was asked where the account first asked for the client. Attempts are made one after the other, and the
// first after the reading is that of a client that only code names: the later ones are in part the reading's client again.
func splitAt(asked []evidence.Entry, subject, clientID string) (before, after []evidence.Entry) {
	for i, e := range asked {
		if e.Subject == subject && e.ClientID == clientID {
			return asked[:i], asked[i:]
		}
	}
	return asked, nil
}

// subjectOf is the subject of the tokens of the test's account "app".
func subjectOf(ctx context.Context, t *suites.T) string {
	return "system:serviceaccount:" + t.Namespace(ctx) + ":" + app
}
