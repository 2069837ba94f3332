package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// groundBudget bounds the look at what a test stood on.
const groundBudget = 10 * time.Second

// acquit keeps what a test holds against the subject only if what it stood on is still there: a program that gets no token from an
// emulator that was killed, or a pod that no kubelet starts, says nothing about a webhook.
func (s *stage) acquit(ctx context.Context, result *reports.Test) {
	if ctx.Err() != nil || result.Status != reports.Fail && result.Status != reports.Warn {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, groundBudget)
	defer cancel()
	if err := s.ground(ctx); err != nil {
		result.Status = reports.Error
		breakFindings(result.Findings)
		for i := range result.Cases {
			c := &result.Cases[i]
			breakFindings(c.Findings)
			c.Status = reports.Worst(reports.WorstOf(c.Findings), reports.Pass)
		}
		result.Findings = append(result.Findings, reports.Finding{
			Status: reports.Error, Message: fmt.Sprintf("not held against the subject, as what the test stood on gave way: %v", err),
		})
	}
}

// ground is nil while the cluster and the emulated Azure are there.
func (s *stage) ground(ctx context.Context) error {
	if err := s.cluster.Health(ctx); err != nil {
		return err
	}
	if e := s.azure.emulator; e != nil {
		return e.Alive(ctx)
	}
	return nil
}

// breakFindings makes errors of what was held against the subject.
func breakFindings(findings []reports.Finding) {
	for i := range findings {
		if findings[i].Status == reports.Fail || findings[i].Status == reports.Warn {
			findings[i].Status = reports.Error
		}
	}
}
