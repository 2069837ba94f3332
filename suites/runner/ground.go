package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/reports"
)

// groundBudget bounds the look at what a test stood on.
const groundBudget = 10 * time.Second

// acquit keeps what a test holds against the subject only if what it stood on is still there: a program that gets no token from an
// emulator that was killed, or a pod that no kubelet starts, says nothing about a webhook. Nor does one that refuses pods because the API
// server that it asks is being restarted: stood are the API servers from before the test, nil if it does not matter which they were.
func (s *stage) acquit(ctx context.Context, result *reports.Test, stood []string) {
	if result.Status != reports.Fail && result.Status != reports.Warn {
		return
	}
	if err := s.gaveWay(ctx, stood); err != nil {
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

// gaveWay is what happened to the ground since a test began, or nil. A test that was interrupted is not asked about.
func (s *stage) gaveWay(ctx context.Context, stood []string) error {
	if ctx.Err() != nil {
		return lostBy(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, groundBudget)
	defer cancel()
	if err := s.ground(ctx); err != nil {
		return err
	}
	if stood == nil {
		return nil
	}
	if now := s.apiServers(ctx); now != nil && !slices.Equal(stood, now) {
		return fmt.Errorf("the API server was restarted meanwhile (it was %s, and is %s)", strings.Join(stood, ", "), strings.Join(now, ", "))
	}
	return nil
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

const (
	// lookEvery is how often a run looks after its cluster while tests run.
	lookEvery = 5 * time.Second
	// lostAfter is longer than what tests break on purpose, an API server that starts anew with other keys, takes to be whole again.
	lostAfter = time.Minute
)

// lostCluster is why tests end before they have finished: the last of what its health was, for lostAfter.
type lostCluster struct{ error }

// lostBy is nil unless ctx ended because the cluster is lost.
func lostBy(ctx context.Context) error {
	if lost, ok := errors.AsType[lostCluster](context.Cause(ctx)); ok {
		return lost
	}
	return nil
}

// whileClusterLives ends the context when the cluster is lost: each of the tests that are left would wait until its time is up for pods
// that nobody starts.
func (s *stage) whileClusterLives(ctx context.Context) (living context.Context, stop func()) {
	living, lose := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		var ill time.Time // since when; zero while it is well
		for {
			select {
			case <-living.Done():
				return
			case <-tick.C:
			}
			limited, cancel := context.WithTimeout(living, groundBudget)
			err := s.cluster.Health(limited)
			cancel()
			switch {
			case err == nil:
				ill = time.Time{}
			case ill.IsZero():
				ill = time.Now()
			case time.Since(ill) >= lostAfter:
				lose(lostCluster{fmt.Errorf("the cluster is lost, for %s: %w", lostAfter, err)})
				return
			}
		}
	})
	return living, func() { lose(nil); looking.Wait() }
}

// identityLeases is the label of the leases by which API servers tell that they are there (APIServerIdentity, on since Kubernetes 1.26).
const identityLeases = "apiserver.kubernetes.io/identity=kube-apiserver"

// apiServers are the identities of the API servers, each of which is new with every start; nil where that cannot be read.
func (s *stage) apiServers(ctx context.Context) []string {
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("ground"))
	if err != nil {
		return nil
	}
	leases, err := kube.CoordinationV1().Leases(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: identityLeases})
	if err != nil {
		return nil
	}
	var holders []string
	for _, l := range leases.Items {
		holders = append(holders, ptr.Deref(l.Spec.HolderIdentity, ""))
	}
	slices.Sort(holders)
	return holders
}

// breakFindings makes errors of what was held against the subject.
func breakFindings(findings []reports.Finding) {
	for i := range findings {
		if findings[i].Status == reports.Fail || findings[i].Status == reports.Warn {
			findings[i].Status = reports.Error
		}
	}
}
