package runner

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/suites"
)

func lasting(d time.Duration) SoakConfig { return SoakConfig{Duration: metav1.Duration{Duration: d}} }

func TestValidateSoak(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		err    string
	}{
		{"an hour", Config{Soak: lasting(time.Hour)}, ""},
		{"a second", Config{Soak: lasting(time.Second)}, "too short to see anything"},
		{"less than nothing", Config{Soak: lasting(-time.Hour)}, "cannot last"},
		{"twice", Config{Soak: lasting(time.Hour), Repeat: 2}, "run once and as a whole"},
		{"in shards", Config{Soak: lasting(time.Hour), Shard: "1/2"}, "run once and as a whole"},
		{"with the real Azure", Config{Soak: lasting(time.Hour), Azure: AzureConfig{Mode: realAzure}}, "needs the emulated Azure"},
	} {
		t.Run(c.name, func(t *testing.T) { expectUsage(t, c.config.Validate(), c.err) })
	}
}

func TestOnlyASoakHasTheTestsOfItsTier(t *testing.T) {
	all := []suites.Test{{ID: "quick", Tier: suites.Admission}, {ID: "long", Tier: suites.Soak}}
	for _, c := range []struct {
		name     string
		soak     SoakConfig
		selected []suites.Test
		want     string // the tests, or what the error says
	}{
		{"a run leaves it out", SoakConfig{}, all, "[quick]"},
		{"a soak has nothing else", lasting(time.Hour), all, "[long]"},
		{"one that goes on, too", SoakConfig{Resume: true}, all, "[long]"},
		{"a run of nothing else has no duration", SoakConfig{}, all[1:], "wi-e2e soak --duration"},
		{"a soak of other tests makes no sense", lasting(time.Hour), all[:1], "none of the selected tests is of the tier soak"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, err := (&Config{Soak: c.soak}).soakTests(c.selected)
			got := fmt.Sprint(err)
			if err == nil {
				var ids []string
				for _, test := range kept {
					ids = append(ids, test.ID)
				}
				got = fmt.Sprint(ids)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAnInterruptedSoakGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	before := checkpoint{
		Run: "0a1b2c3d", Provider: "local", Cluster: "dev", Duration: metav1.Duration{Duration: 8 * time.Hour}, Passed: metav1.Duration{Duration: 3 * time.Hour},
		Tests: map[string]json.RawMessage{"soak-webhook": json.RawMessage(`{"counts":{"admitted":7}}`)},
	}
	data, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, CheckpointFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	config := Config{Output: dir, Soak: SoakConfig{Resume: true}}
	found, err := config.prepareSoak()
	if err != nil {
		t.Fatal(err)
	}
	if config.Cluster.Provider != "local" || config.Cluster.Name != "dev" || config.Soak.Duration.Duration != 8*time.Hour || found.Passed.Duration != 3*time.Hour {
		t.Errorf("it goes on as %+v, %+v", config.Cluster, found)
	}
	for _, c := range []struct {
		name   string
		config Config
		err    string
	}{
		{"a new one does not overwrite it", Config{Output: dir, Soak: lasting(time.Hour)}, "interrupted after 3h0m0s of 8h0m0s"},
		{"it does not change its duration", Config{Output: dir, Soak: SoakConfig{Resume: true, Duration: metav1.Duration{Duration: time.Hour}}}, "leave --duration out"},
		{"it does not change its cluster", Config{Output: dir, Cluster: ClusterConfig{Name: "other"}, Soak: SoakConfig{Resume: true}}, "is on cluster dev"},
		{"there is none elsewhere", Config{Output: t.TempDir(), Soak: SoakConfig{Resume: true}}, "no interrupted soak"},
		{"a run looks for none", Config{Output: dir}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.config.prepareSoak()
			expectUsage(t, err, c.err)
		})
	}
	if err := found.gone(fmt.Errorf("get: %w", cluster.ErrNotFound)); !strings.Contains(err.Error(), "cluster dev, on which the soak was interrupted, is gone") {
		t.Error(err)
	}
}
