package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// afterSoak is for what comes before the soak of a test and after it.
const afterSoak = 10 * time.Minute

// attemptInfix is between the id of a test and the number of an attempt after the first.
const attemptInfix = "-attempt-"

// attempt executes a test for the n-th time. To the cluster and to Azure every attempt is a test of its own: it has a namespace,
// and identities that trust the service accounts there, so that nothing of an earlier attempt is in its way.
func (s *stage) attempt(ctx context.Context, test suites.Test, n int, slots chan struct{}) reports.Test {
	r, once := s.run, test
	n += s.before
	started := time.Now().UTC()
	if n > 1 {
		once.ID = fmt.Sprintf("%s%s%d", test.ID, attemptInfix, n)
		if err := s.trustAgain(ctx, once); err != nil {
			return reports.Test{
				ID: test.ID, Title: test.Title, Tier: string(test.Tier), Requirements: test.Requirements, Status: reports.Error,
				Started: started, Seconds: time.Since(started).Seconds(),
				Findings: []reports.Finding{{Status: reports.Error, Message: fmt.Sprintf("prepare attempt %d: %v", n, err)}},
			}
		}
	}
	if long := s.env.LongRun; long != nil {
		once.Timeout = time.Until(long.Ends) + afterSoak
	}
	var stood []string
	if !slices.Contains(test.Needs, suites.ControlPlaneAccess) { // such a test restarts the API server itself
		stood = s.apiServers(ctx)
	}
	result := suites.Execute(ctx, s.env, once, suites.ViolationStatus(test, r.catalogue, r.config.Strict), slots)
	result.ID = test.ID
	s.acquit(ctx, &result, stood)
	r.waivers.Waive(&result, r.record.Subject, r.record.Run.Started)
	return result
}

// trustAgain makes what a test's Trust asks for once more, for an attempt that has a name of its own, and returns when Azure knows it.
func (s *stage) trustAgain(ctx context.Context, test suites.Test) error {
	if len(test.Trust) == 0 {
		return nil
	}
	planned := []suites.Planned{{Test: test}}
	trusts, err := s.trusts(ctx, &suites.Plan{Tests: planned})
	if err != nil {
		return err
	}
	for i := range trusts.plan {
		trusts.plan[i].Name = test.ID + "-" + trusts.plan[i].Name
	}
	identities, err := s.makeIdentities(ctx, trusts)
	if err != nil {
		return err
	}
	if err := grant(ctx, s.env.Azure, trusts, identities); err != nil {
		return err
	}
	for _, t := range trusts.list {
		s.env.Azure.Trust(t.key(), identities[trusts.identityOf(t)])
	}
	if err := s.makeAccounts(ctx, s.env.Azure, trusts); err != nil {
		return err
	}
	_, err = s.awaitTrusts(ctx, planned)
	return err
}
