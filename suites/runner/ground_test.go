package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// underfoot is a cluster that counts how often somebody asks for its health.
type underfoot struct {
	cluster.Cluster
	health func() error
	asked  int
}

func (c *underfoot) Health(context.Context) error {
	c.asked++
	return c.health()
}

func TestATestIsHeldAgainstTheSubjectOnlyWhileTheGroundHolds(t *testing.T) {
	died := errors.New("containerd died")
	for name, c := range map[string]struct {
		status reports.Status
		ground error
		want   reports.Status
		asked  int
	}{
		"a failure on firm ground":    {reports.Fail, nil, reports.Fail, 1},
		"a failure where it gave way": {reports.Fail, died, reports.Error, 1},
		"a warning on firm ground":    {reports.Warn, nil, reports.Warn, 1},
		"a warning where it gave way": {reports.Warn, died, reports.Error, 1},
		"a pass is not asked about":   {reports.Pass, died, reports.Pass, 0},
		"nor is an error":             {reports.Error, died, reports.Error, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ground := &underfoot{health: func() error { return c.ground }}
			finding := reports.Finding{Status: c.status, Message: "m"}
			result := reports.Test{Status: c.status, Cases: []reports.Case{
				{Name: "one", Status: c.status, Findings: []reports.Finding{finding}}, {Name: "two", Status: reports.Pass, Checks: 1},
			}}
			(&stage{cluster: ground}).acquit(t.Context(), &result, nil)
			if result.Status != c.want || result.Cases[0].Status != c.want || result.Cases[0].Findings[0].Status != c.want {
				t.Errorf("status %s, of the case %s, of the finding %s; want %s", result.Status, result.Cases[0].Status, result.Cases[0].Findings[0].Status, c.want)
			}
			if result.Cases[1].Status != reports.Pass {
				t.Errorf("the case that passed is %s", result.Cases[1].Status)
			}
			told := len(result.Findings) == 1 && strings.Contains(result.Findings[0].Message, died.Error()) && result.Findings[0].Status == reports.Error
			if changed := c.want != c.status; told != changed {
				t.Errorf("findings: %+v", result.Findings)
			}
			if ground.asked != c.asked {
				t.Errorf("the cluster was asked %d times", ground.asked)
			}
		})
	}
}

func TestTestsEndWhenTheClusterIsLost(t *testing.T) {
	died := errors.New("containerd died")
	for name, c := range map[string]struct {
		ill  func(since time.Duration) bool
		lost time.Duration // 0 if it is not
	}{
		"a cluster that is well":                 {func(time.Duration) bool { return false }, 0},
		"one that was ill, and is well again":    {func(d time.Duration) bool { return d%lostAfter < lostAfter/2 }, 0},
		"one that falls ill and does not mend":   {func(d time.Duration) bool { return d > lostAfter/2 }, lostAfter/2 + lookEvery + lostAfter},
		"one that was never well since it began": {func(time.Duration) bool { return true }, lookEvery + lostAfter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := &stage{cluster: &underfoot{health: func() error {
					if c.ill(time.Since(began)) {
						return died
					}
					return nil
				}}}
				ctx, stop := s.whileClusterLives(t.Context())
				defer stop()
				select {
				case <-ctx.Done():
				case <-time.After(10 * lostAfter):
				}
				err := lostBy(ctx)
				if c.lost == 0 {
					if ctx.Err() != nil {
						t.Errorf("tests ended after %s: %v", time.Since(began), context.Cause(ctx))
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), died.Error()) || time.Since(began) != c.lost {
					t.Errorf("tests ended after %s, want %s: %v", time.Since(began), c.lost, err)
				}
				result := reports.Test{Status: reports.Fail, Findings: []reports.Finding{{Status: reports.Fail, Message: "m"}}}
				s.acquit(ctx, &result, nil)
				if result.Status != reports.Error || result.Findings[0].Status != reports.Error {
					t.Errorf("what had failed by then is held against the subject: %+v", result)
				}
			})
		})
	}
}

func TestATestIsNotHeldAgainstTheSubjectIfTheAPIServerWasRestarted(t *testing.T) {
	for name, c := range map[string]struct {
		needs    []suites.Capability
		restarts bool
		want     reports.Status
	}{
		"an API server that is the same":    {nil, false, reports.Fail},
		"one that was restarted":            {nil, true, reports.Error},
		"one that the test itself restarts": {[]suites.Capability{suites.ControlPlaneAccess}, true, reports.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			ground := newNamespacesOnly(t)
			ground.apiServer = "first"
			test := suites.Test{ID: "asks", Requirements: []string{"AA-01"}, Needs: c.needs, Body: func(_ context.Context, t *suites.T) {
				if c.restarts {
					ground.apiServer = "second"
				}
				t.Check(false, "the pod is refused")
			}}
			result := newStage(t, ground, Config{}).attempt(t.Context(), test, 1, make(chan struct{}, 1))
			if result.Status != c.want {
				t.Errorf("status %s, want %s: %+v", result.Status, c.want, result.Findings)
			}
			told := slices.ContainsFunc(result.Findings, func(f reports.Finding) bool { return strings.Contains(f.Message, "it was first, and is second") })
			if told != (c.want == reports.Error) {
				t.Errorf("findings: %+v", result.Findings)
			}
		})
	}
}
