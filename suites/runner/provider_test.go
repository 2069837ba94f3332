package runner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/statedir"
)

func TestANamedClustersProviderIsTheOneThatHasIt(t *testing.T) {
	for name, c := range map[string]struct {
		made     string // the state directory of the provider that has the cluster
		asked    string
		want     string
		wantsWhy string
	}{
		"made locally":        {"clusters", "", "local", "it has the cluster dev"},
		"made in containers":  {"kind", "", "kind", "it has the cluster dev"},
		"asked for elsewhere": {"kind", "local", "local", "asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			dir, err := statedir.Dir(c.made)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "dev"), 0o700); err != nil { // of which nothing more is known
				t.Fatal(err)
			}
			config := Config{Cluster: ClusterConfig{Name: "dev", Provider: c.asked}}
			chosen, why, _ := config.provider(t.Context()) // whether it can be used is the machine's business
			if chosen == nil || chosen.Name() != c.want || why != c.wantsWhy {
				t.Errorf("chose %v, %q; want %s, %q", chosen, why, c.want, c.wantsWhy)
			}
		})
	}
}
