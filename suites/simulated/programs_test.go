package simulated

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// TestWorkloadsThatAskIMDS runs them with none, and with the reference proxy in its place.
func TestWorkloadsThatAskIMDS(t *testing.T) {
	reader := suites.Identity{Name: "reader", Reads: true}
	test := suites.Test{
		ID: "asks", Tier: suites.Proxy, Requirements: []string{"PRX-17"}, Trust: []suites.Trust{{Account: "app", Identity: reader}},
	}
	l, err := NewLab(t.Context(), 0)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	for title, c := range map[string]struct {
		workload string
		attempt  workloads.Attempt
	}{
		"one that supports workload identity": {"go-azidentity", workloads.Attempt{Credential: "managed"}},
		"one from before it":                  {"go-imds", workloads.Attempt{}},
	} {
		t.Run(title, func(t *testing.T) {
			w, err := NewWorld(t.Context(), l, test)
			must(t, err)
			t.Cleanup(func() { must(t, w.Close()) })
			run := func(name string, expect func(t *suites.T, r workloads.Result)) {
				asks := test
				asks.Body = func(ctx context.Context, t *suites.T) {
					expect(t, programs.Run(ctx, t, programs.Pod(ctx, t, name, "app", programs.New(t, "app", c.workload, c.attempt)))["app"].Only())
				}
				if result := w.Run(t.Context(), asks); result.Status != reports.Pass {
					t.Errorf("%s is %s: %v %v", name, result.Status, result.Findings, result.Cases)
				}
			}
			run("without", func(t *suites.T, r workloads.Result) {
				programs.Refused(t, "a workload without IMDS", r, "token", workloads.CredentialUnavailable)
			})
			w.API.Node.IMDS = func(c *Container) http.RoundTripper {
				beside, err := proxy.New(proxy.Options{
					ClientID: c.Env[suites.ClientIDVariable], TenantID: c.Env[suites.TenantIDVariable], AuthorityHost: c.Env[suites.AuthorityHostVariable],
					TokenFile: c.File(c.Env[suites.TokenFileVariable]), IMDS: "http://169.254.169.254", Log: slog.New(slog.DiscardHandler),
					Transport: &http.Client{Transport: c.Pod.Azure()},
				})
				if err != nil {
					panic(err)
				}
				return inProcess{beside}
			}
			run("with", func(t *suites.T, r workloads.Result) {
				programs.HasRead(t, "a workload beside a proxy", r, t.Identity("app", reader).ClientID)
				t.Equal("credential", "ManagedIdentityCredential", r.Credential)
			})
		})
	}
}
