package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

func TestTheCatalogueAndTheTestsFit(t *testing.T) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if err := suites.Validate(catalogue, Tests()); err != nil {
		t.Fatal(err)
	}
}

func TestParseConfig(t *testing.T) {
	const head = "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\n"
	for _, c := range []struct{ name, text, err string }{
		{"a good one", head + "subject: {kind: helm, helm: {chart: ./chart, set: [a=b]}}\nselect: {tiers: [issuer]}\n", ""},
		{"an unknown key", head + "clutser: {}\n", `unknown field "clutser"`},
		{"an unknown nested key", head + "cluster: {providr: local}\n", `unknown field "providr"`},
		{"another kind", "apiVersion: v1\nkind: Pod\n", `it is apiVersion "v1", kind "Pod"`},
		{"no YAML", "\tx", "read the configuration"},
		{"an empty file", "", `it is apiVersion "", kind ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseConfig("file.yaml", []byte(c.text))
			expectUsage(t, err, c.err)
		})
	}
}

func expectUsage(t *testing.T, err error, want string) {
	t.Helper()
	var usage *UsageError
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want a UsageError with %q", err, want)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\nseed: 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig("file.yaml", []byte(text))
		var usage *UsageError
		if err != nil && !errors.As(err, &usage) {
			t.Errorf("error %v is no UsageError", err)
		}
		if err == nil {
			_ = c.Validate() // must not panic
		}
	})
}

func TestValidateConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		err    string
	}{
		{"nothing set", Config{}, ""},
		{"an unknown provider", Config{Cluster: ClusterConfig{Provider: "gke"}}, `unknown provider "gke" (there are: local, kind, aks, existing)`},
		{"an unknown subject", Config{Subject: SubjectConfig{Kind: "oci"}}, `unknown subject "oci"`},
		{"local with a kubeconfig", Config{Cluster: ClusterConfig{Provider: "local", Kubeconfig: "x"}}, "leave one of them out"},
		{"kind with a kubeconfig", Config{Cluster: ClusterConfig{Provider: "kind", Kubeconfig: "x"}}, "the provider is kind: leave one of them out"},
		{"a kind cluster of two nodes", Config{Cluster: ClusterConfig{Provider: "kind", Topology: "workers", Reuse: true}}, ""},
		{"nodes for another provider than kind", Config{Cluster: ClusterConfig{Topology: "workers"}}, "go with --provider kind"},
		{"unknown nodes", Config{Cluster: ClusterConfig{Provider: "kind", Topology: "three"}}, `unknown topology "three" (there are: single, workers, two-control-planes)`},
		{"nodes for a named cluster", Config{Cluster: ClusterConfig{Provider: "kind", Topology: "workers", Name: "dev"}}, "for clusters without a name"},
		{"a version for a node image", Config{Cluster: ClusterConfig{Provider: "kind", NodeImage: "x", KubernetesVersion: "1.36"}}, "a node image has its Kubernetes version"},
		{"a version for an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x", KubernetesVersion: "1.36"}}, "only for a cluster that the run makes"},
		{"a version for a named cluster", Config{Cluster: ClusterConfig{Name: "dev", KubernetesVersion: "1.36"}}, "only for a cluster that the run makes"},
		{"an issuer to publish", Config{Cluster: ClusterConfig{PublishIssuer: true}}, ""},
		{"an issuer to publish of an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x", PublishIssuer: true}}, "a cluster that the run makes for itself"},
		{"an issuer to publish of a named cluster", Config{Cluster: ClusterConfig{Name: "dev", PublishIssuer: true}}, "a cluster that the run makes for itself"},
		{"an issuer to publish of a cluster that stays", Config{Cluster: ClusterConfig{Provider: "kind", Reuse: true, PublishIssuer: true}}, "a cluster that the run makes for itself"},
		{"a name for an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x", Name: "dev"}}, "named by kubeconfig and context"},
		{"manifest without file", Config{Subject: SubjectConfig{Kind: "manifest"}}, "--manifest FILE"},
		{"a manifest for another subject", Config{Subject: SubjectConfig{Manifest: "x"}}, "--manifest FILE"},
		{"a manifest to upgrade from", Config{Subject: SubjectConfig{Kind: "manifest", Manifest: "x", UpgradeFrom: "y"}}, ""},
		{"a chart to upgrade from", Config{Subject: SubjectConfig{Kind: "helm", Helm: HelmConfig{Chart: "x", Version: "1.6.0"}, UpgradeFrom: "y"}}, ""},
		{"something to upgrade the reference from, which has its own", Config{Subject: SubjectConfig{UpgradeFrom: "y"}}, "goes with subject manifest or helm"},
		{"something to upgrade what is installed from", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Subject: SubjectConfig{UpgradeFrom: "y"}}, "goes with subject manifest or helm"},
		{"helm without chart", Config{Subject: SubjectConfig{Kind: "helm"}}, "--chart"},
		{"values without helm", Config{Subject: SubjectConfig{Helm: HelmConfig{Set: []string{"a=b"}}}}, "go with subject helm"},
		{"a namespace for the reference", Config{Subject: SubjectConfig{Namespace: "x"}}, "a namespace goes with"},
		{"a namespace for what is installed", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Subject: SubjectConfig{Namespace: "x"}}, ""},
		{"the reference on an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Subject: SubjectConfig{Kind: "reference"}}, "not ours"},
		{"an archive on an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Subject: SubjectConfig{Kind: "manifest", Manifest: "m", ImageArchives: []string{"a"}}}, "push the images"},
		{"an archive for what is installed", Config{Subject: SubjectConfig{Kind: "preinstalled", ImageArchives: []string{"a"}}}, "that the run installs"},
		{"minimum SDKs", Config{Workloads: WorkloadsConfig{SDKVersions: "minimum"}}, ""},
		{"unknown SDKs", Config{Workloads: WorkloadsConfig{SDKVersions: "oldest"}}, `unknown SDK versions "oldest" (there are: newest, minimum)`},
		{"a repository for an existing cluster", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Workloads: WorkloadsConfig{Repository: "localhost:5000/x"}}, ""},
		{"a repository for a cluster of ours", Config{Workloads: WorkloadsConfig{Repository: "registry.example/x"}}, "goes with a cluster that is not ours"},
		{"a repository that is a URL", Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Workloads: WorkloadsConfig{Repository: "https://registry.example/x"}}, "the repository for images: "},
		{"an image for a cluster of ours", Config{Image: "registry.example/wi-e2e:1"}, "goes with a cluster that is not ours"},
		{"tests repeated less than never", Config{Repeat: -1}, "cannot be repeated -1 times"},
		{"waivers", Config{Waivers: WaiversConfig{File: "w.yaml", Strict: new(bool)}}, ""},
		{"strictness about no waivers", Config{Waivers: WaiversConfig{Strict: new(bool)}}, "goes with a file of them"},
		{"a malformed profile", Config{Subject: SubjectConfig{Profile: "new"}}, `profile "new"`},
	} {
		t.Run(c.name, func(t *testing.T) { expectUsage(t, c.config.Validate(), c.err) })
	}
}

func TestWhatWasPlannedButNotDoneIsAnError(t *testing.T) {
	plan := &suites.Plan{Tests: []suites.Planned{
		{Test: suites.Test{ID: "ran", Requirements: []string{"AA-01"}}},
		{Test: suites.Test{ID: "vanished", Requirements: []string{"AA-02"}}},
		{Test: suites.Test{ID: "skipped-itself", Requirements: []string{"AA-03"}}},
		{Test: suites.Test{ID: "vacuous", Requirements: []string{"AA-04"}}},
		{Test: suites.Test{ID: "skipped", Requirements: []string{"AA-05"}}, Skip: &reports.Skipped{Reason: "r", Text: "t"}},
	}}
	record := &reports.Record{Tests: []reports.Test{
		{ID: "ran", Requirements: []string{"AA-01"}, Status: reports.Pass, Cases: []reports.Case{{Status: reports.Pass, Checks: 1}}},
		{ID: "skipped-itself", Requirements: []string{"AA-03"}, Status: reports.Skip},
		{ID: "vacuous", Requirements: []string{"AA-04"}, Status: reports.Pass, Cases: []reports.Case{{Status: reports.Pass}}},
		{ID: "skipped", Requirements: []string{"AA-05"}, Status: reports.Skip, Skip: &reports.Skipped{Reason: "r", Text: "t"}},
	}}
	var catalogue []suites.Requirement
	for _, id := range []string{"AA-01", "AA-02", "AA-03", "AA-04", "AA-05", "AA-06"} {
		catalogue = append(catalogue, suites.Requirement{ID: id, Level: suites.Must})
	}
	catalogue = append(catalogue, suites.Requirement{ID: "AA-07", Pending: "#9"})
	guardAgainstVacuity(record, plan, catalogue)
	got := map[string]reports.Status{}
	for _, q := range record.Requirements {
		got[q.ID] = q.Status
	}
	want := map[string]reports.Status{"AA-01": reports.Pass, "AA-02": reports.Error, "AA-03": reports.Error, "AA-04": reports.Error, "AA-05": reports.Skip}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]reports.Untested{{ID: "AA-07", Issue: "#9"}}, record.Untested); diff != "" {
		t.Error(diff)
	}
}

func TestVerdict(t *testing.T) {
	test := func(s reports.Status) reports.Test {
		return reports.Test{ID: string(s), Status: s, Cases: []reports.Case{{Status: s, Checks: 1}}}
	}
	for _, c := range []struct {
		name        string
		record      reports.Record
		interrupted bool
		leaked      []string
		status      reports.Status
		code        int
	}{
		{"all passed", reports.Record{Tests: []reports.Test{test(reports.Pass)}}, false, nil, reports.Pass, 0},
		{"a planned skip stays green", reports.Record{Tests: []reports.Test{test(reports.Pass), {Status: reports.Skip}}}, false, nil, reports.Pass, 0},
		{"a warning stays green and is told", reports.Record{Tests: []reports.Test{test(reports.Pass), test(reports.Warn)}}, false, nil, reports.Warn, 0},
		{"a failure", reports.Record{Tests: []reports.Test{test(reports.Pass), test(reports.Fail)}}, false, nil, reports.Fail, 1},
		{"an error outweighs a failure", reports.Record{Tests: []reports.Test{test(reports.Error), test(reports.Fail)}}, false, nil, reports.Error, 3},
		{"a flake that the subject failed in", reports.Record{Tests: []reports.Test{
			test(reports.Pass), {Status: reports.Flake, Cases: []reports.Case{{Status: reports.Flake}}, Attempts: []reports.Attempt{{Status: reports.Fail}, {Status: reports.Pass}}},
		}}, false, nil, reports.Flake, 1},
		{"a flake that only the harness broke in", reports.Record{Tests: []reports.Test{
			test(reports.Pass), {Status: reports.Flake, Cases: []reports.Case{{Status: reports.Flake}}, Attempts: []reports.Attempt{{Status: reports.Error}, {Status: reports.Pass}}},
		}}, false, nil, reports.Flake, 0},
		{"a waived failure", reports.Record{Tests: []reports.Test{test(reports.Pass), test(reports.Warn)}, Waivers: []reports.Waiver{{Findings: 1}}}, false, nil, reports.Warn, 0},
		{"waivers that do not hold", reports.Record{Tests: []reports.Test{test(reports.Pass)}, Phases: []reports.Phase{{Name: "waivers", Status: reports.Fail}}}, false, nil, reports.Fail, 1},
		{"an error outweighs waivers that do not hold", reports.Record{Tests: []reports.Test{test(reports.Error)}, Phases: []reports.Phase{{Name: "waivers", Status: reports.Fail}}}, false, nil, reports.Error, 3},
		{"a broken phase", reports.Record{Phases: []reports.Phase{{Name: "cluster", Status: reports.Error}}}, false, nil, reports.Error, 3},
		{"a vacuous requirement", reports.Record{Tests: []reports.Test{test(reports.Pass)}, Requirements: []reports.Requirement{{Status: reports.Error}}}, false, nil, reports.Error, 3},
		{"nothing at all", reports.Record{}, false, nil, reports.Error, 3},
		{"nothing but skips", reports.Record{Tests: []reports.Test{{Status: reports.Skip}}}, false, nil, reports.Error, 3},
		{"something left behind", reports.Record{Tests: []reports.Test{test(reports.Pass)}}, false, []string{"namespace"}, reports.Error, 5},
		{"interrupted", reports.Record{Tests: []reports.Test{test(reports.Pass)}}, true, nil, reports.Error, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.record.Judge(c.interrupted, c.leaked)
			if got.Status != c.status || got.ExitCode != c.code || got.Reason == "" {
				t.Errorf("got %+v, want %s and exit code %d", got, c.status, c.code)
			}
		})
	}
}
