package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func TestRerunRepeatsTheCommandWithAnotherSelection(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"no flags", "/x/wi-e2e run", "wi-e2e run --test a"},
		{"a selection is replaced", "wi-e2e run --tier admission --test=b,c --requirement EXP-03 --keep", "wi-e2e run --keep --test a"},
		{"the part that a shard or a language is goes too", "wi-e2e run --shard 1/3 --durations r.json --language go", "wi-e2e run --test a"},
		{"the seed is drawn anew: order does not matter to one test", "wi-e2e run --seed 42", "wi-e2e run --test a"},
		{"the subject stays", "wi-e2e run --subject helm --chart ./c --set=a=b", "wi-e2e run --subject helm --chart ./c --set=a=b --test a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rerun(strings.Fields(c.args))("a"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if got := rerun([]string{"wi-e2e", "run", "--chart", "my chart's"})("a"); got != `wi-e2e run --chart 'my chart'\''s' --test a` {
		t.Errorf("a word with a space and a quote becomes %s", got)
	}
}

// parse returns the configuration that a command line makes.
func parse(t *testing.T, args ...string) (runner.Config, error) {
	t.Helper()
	var flags configFlags
	var config runner.Config
	cmd := &cobra.Command{Use: "run", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) (err error) {
		config, err = flags.config(cmd)
		return err
	}}
	flags.register(cmd)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return config, err
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := t.TempDir() + "/run.yaml"
	write(t, file, "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\noutput: from-file\nseed: 1\ncluster: {kubernetesVersion: '1.34'}\nselect: {tiers: [issuer]}\n")
	t.Setenv("WI_E2E_SEED", "2")
	t.Setenv("WI_E2E_TIER", "admission,issuer")
	config, err := parse(t, "--config", file, "--tier", "admission")
	if err != nil {
		t.Fatal(err)
	}
	if config.Output != "from-file" || config.Cluster.KubernetesVersion != "1.34" {
		t.Errorf("the file is not heard: %+v", config)
	}
	if config.Seed != 2 {
		t.Errorf("seed %d, want the environment's 2", config.Seed)
	}
	if len(config.Select.Tiers) != 1 || config.Select.Tiers[0] != "admission" {
		t.Errorf("tiers %q, want the flag's alone", config.Select.Tiers)
	}
	if config, err = parse(t); err != nil || config.Output != defaultOutput {
		t.Errorf("output %q, error %v, want %q", config.Output, err, defaultOutput)
	}
}

func TestPathsAndValuesMayHoldCommas(t *testing.T) {
	config, err := parse(t, "--subject", "helm", "--chart", "c", "--set", "list={a,b}", "--set", "c=d", "--image-archive", "a,b.tar", "--test", "skip-names,!idempotent")
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Subject.Helm.Set; len(got) != 2 || got[0] != "list={a,b}" {
		t.Errorf("values %q", got)
	}
	if got := config.Subject.ImageArchives; len(got) != 1 || got[0] != "a,b.tar" {
		t.Errorf("image archives %q", got)
	}
	if got := config.Select.Tests; len(got) != 2 {
		t.Errorf("tests %q", got)
	}
}

func TestRepetitionAndWaivers(t *testing.T) {
	config, err := parse(t, "--repeat", "5", "--waivers", "w.yaml")
	if err != nil || config.Repeat != 5 || config.Waivers.File != "w.yaml" || config.Waivers.Strict != nil {
		t.Errorf("error %v, configuration %+v", err, config)
	}
	config, err = parse(t, "--waivers", "w.yaml", "--waivers-strict=false")
	if err != nil || config.Waivers.Strict == nil || *config.Waivers.Strict {
		t.Errorf("error %v, configuration %+v: strict, although that is turned off", err, config)
	}
	file := t.TempDir() + "/run.yaml"
	write(t, file, "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\nrepeat: 3\nwaivers: {file: from-file.yaml, strict: false}\n")
	config, err = parse(t, "--config", file)
	if err != nil || config.Repeat != 3 || config.Waivers.File != "from-file.yaml" || *config.Waivers.Strict {
		t.Errorf("error %v, configuration %+v", err, config)
	}
	if config, err = parse(t, "--config", file, "--waivers-strict"); err != nil || !*config.Waivers.Strict {
		t.Errorf("error %v: the flag does not win over the file: %+v", err, config)
	}
	if _, err = parse(t, "--waivers-strict=false"); err == nil {
		t.Error("strictness about no waivers is taken")
	}
}

func TestAMalformedEnvironmentVariableIsNamed(t *testing.T) {
	t.Setenv("WI_E2E_SEED", "many")
	if _, err := parse(t); err == nil || !strings.Contains(err.Error(), "WI_E2E_SEED") {
		t.Errorf("error %v does not name WI_E2E_SEED", err)
	}
}
