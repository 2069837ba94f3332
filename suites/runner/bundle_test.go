package runner

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/bundle"
	"github.com/wi-e2e/wi-e2e/suites/waivers"
)

// bundling is a stage whose bundles go to dir, on a cluster that answers status to everything.
func bundling(t *testing.T, status int) (s *stage, dir string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"kind": "MutatingWebhookConfigurationList", "apiVersion": "admissionregistration.k8s.io/v1", "items": [{"metadata": {"name": "a"}}]}`))
	}))
	t.Cleanup(server.Close)
	s = newStage(t, &namespacesOnly{url: server.URL}, Config{})
	dir = t.TempDir()
	s.bundles = bundle.NewWriter(dir, bundle.MaxFile, bundle.MaxAll, nil)
	s.env.NotPassed = s.keepBundle
	return s, dir
}

func execute(t *testing.T, s *stage, body func(context.Context, *suites.T)) reports.Test {
	test := suites.Test{ID: "asks", Title: "It asks", Tier: suites.Admission, Requirements: []string{"AA-01"}, Body: body}
	s.run.runTests(t.Context(), s, &suites.Plan{Tests: []suites.Planned{{Test: test}}})
	return s.run.record.Tests[0]
}

func fails(_ context.Context, t *suites.T) { t.Check(false, "no") }

func TestAFailedTestHasABundleBesideTheRecord(t *testing.T) {
	s, dir := bundling(t, http.StatusOK)
	got := execute(t, s, fails)
	if got.Status != reports.Fail || got.Bundle != "bundle/asks" {
		t.Errorf("the test is %s with the bundle %q", got.Status, got.Bundle)
	}
	if _, err := os.Stat(filepath.Join(dir, "asks", "webhooks.yaml")); err != nil {
		t.Error(err)
	}
}

func TestATestThatPassesHasNoBundle(t *testing.T) {
	s, dir := bundling(t, http.StatusOK)
	if got := execute(t, s, func(_ context.Context, t *suites.T) { t.Check(true, "") }); got.Bundle != "" {
		t.Errorf("the bundle is %q", got.Bundle)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v (%v)", left, err)
	}
}

func TestAWaivedFailureHasNoBundle(t *testing.T) {
	s, dir := bundling(t, http.StatusOK)
	file := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(file, []byte(waiversHead+waiverOf("asks", "2027-01-31")), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.run.waivers, err = waivers.Load(file, waivers.Known{Tests: []suites.Test{{ID: "asks", Requirements: []string{"AA-01"}}}, Subjects: Subjects}); err != nil {
		t.Fatal(err)
	}
	s.run.record.Subject.Kind, s.run.record.Run.Started = "helm", time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	if got := execute(t, s, fails); got.Status != reports.Warn || got.Bundle != "" {
		t.Errorf("the test is %s with the bundle %q", got.Status, got.Bundle)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is %v (%v)", left, err)
	}
}

// A cluster that refuses everything leaves a bundle that says so. The verdict is the test's.
func TestABundleThatCannotBeCollectedChangesNoVerdict(t *testing.T) {
	s, dir := bundling(t, http.StatusInternalServerError)
	got := execute(t, s, fails)
	if got.Status != reports.Fail || len(got.Findings)+len(got.Cases) != 1 {
		t.Errorf("the test became %+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "asks", "not-read.txt")); err != nil {
		t.Error(err)
	}
}
