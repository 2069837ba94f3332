package runner

import (
	"context"
	"path"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/bundle"
)

// bundleBudget bounds the collection of one bundle: a cluster that does not answer must not hold up the run.
const bundleBudget = 30 * time.Second

// keepBundle keeps what is around a test that did not pass. What the waivers make a warning of is known already.
func (s *stage) keepBundle(ctx context.Context, result *reports.Test, namespace string) {
	s.run.waivers.Waive(result, s.run.record.Subject, s.run.record.Run.Started)
	if ctx.Err() != nil || result.Status != reports.Fail && result.Status != reports.Error {
		return
	}
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("bundle"))
	if err != nil {
		return // the test's own client was made of the same configuration
	}
	from := bundle.Source{Kube: kube}
	if s.installed != nil {
		from.Subject = s.installed.Service
	}
	if s.env.Azure != nil {
		from.Evidence = s.env.Azure.Evidence
	}
	ctx, cancel := context.WithTimeout(ctx, bundleBudget)
	defer cancel()
	if from.Collect(ctx, s.bundles, result.ID, namespace, result.Started) {
		result.Bundle = path.Join(BundleDir, result.ID)
	}
}
