package main

import (
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
)

// TestARunOnAnEmulatedAKS walks the road of AKS: Resource Manager, the issuer of the profile, credentials, the add-on, deletion.
func TestARunOnAnEmulatedAKS(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	got := wiE2E(t, "run", "--provider", "aks", "--windows-nodes", "--tier", "issuer,windows", "--output", output)
	if got.code != reports.ExitPass {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	if !strings.Contains(got.stderr, "budget: 90 minutes with 3 nodes of Standard_D2s_v5, which is 4.5 node-hours at most") {
		t.Errorf("what it may cost is not told:\n%s", got.stderr)
	}
	record := load(t, output)
	if c, s := record.Cluster, record.Subject; c.Provider != "aks" || !strings.HasPrefix(c.Issuer, "https://") || s.Kind != "preinstalled" || s.Namespace != "kube-system" {
		t.Errorf("cluster %+v, subject %+v", c, s)
	}
	expectNothingLeft(t, state)
	if got := wiE2E(t, "gc"); got.code != 0 || !strings.Contains(got.stdout, "nothing is left behind") {
		t.Errorf("gc: exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
}

func TestADryRunMakesNothing(t *testing.T) {
	state := ownState(t)
	got := wiE2E(t, "run", "--provider", "aks", "--azure", "real", "--region", "westeurope,northeurope", "--dry-run")
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	for _, want := range []string{" wi-e2e-run-<run> ", "in westeurope or else northeurope", "node-hours"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, got.stdout)
		}
	}
	expectNothingLeft(t, state)
	if got := wiE2E(t, "run", "--provider", "local", "--dry-run"); got.code != reports.ExitUsage || !strings.Contains(got.stderr, "--provider aks") {
		t.Errorf("on a local cluster: exit code %d: %s", got.code, got.stderr)
	}
}
