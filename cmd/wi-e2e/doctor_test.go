package main

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestTheDoctorNamesWhatIsWrong runs the command without an installation, and beside a sound one. That it names the faults of OPS-06 is
// what the test of that rule shows, which is run in between.
func TestTheDoctorNamesWhatIsWrong(t *testing.T) {
	needRoot(t)
	state := ownState(t)
	_, remove := createCluster(t, state, "doctor")
	defer remove()
	if got := wiE2E(t, "doctor", "--cluster", "doctor", "--output", "json"); got.code != 1 || !slices.Contains(findings(t, got), "error webhook-missing") {
		t.Errorf("without an installation: exit code %d, %s", got.code, got.stdout)
	}
	if got := wiE2E(t, "run", "--cluster", "doctor", "--keep", "--test", "doctor-names-faults", "--output", t.TempDir()); got.code != 0 {
		t.Fatalf("put faults into the reference: %s", got.stdout)
	}
	got := wiE2E(t, "doctor", "--cluster", "doctor", "--output", "json")
	// The issuer of a local cluster is not public.
	if found := findings(t, got); got.code != 0 || !slices.Equal(found, []string{"warning issuer-not-public"}) {
		t.Errorf("exit code %d, findings %q\n%s", got.code, found, got.stdout)
	}
}

// findings are the severity and the ID of each.
func findings(t *testing.T, of result) []string {
	t.Helper()
	var document struct {
		Findings []struct{ Severity, ID string }
	}
	if err := json.Unmarshal([]byte(of.stdout), &document); err != nil {
		t.Fatalf("%v: %s%s", err, of.stdout, of.stderr)
	}
	var all []string
	for _, f := range document.Findings {
		all = append(all, f.Severity+" "+f.ID)
	}
	return all
}
