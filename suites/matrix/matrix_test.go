package matrix

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/suites"
)

var update = flag.Bool("update", false, "write the golden files anew")

const head = "apiVersion: wi-e2e.dev/v1alpha1\nkind: Matrix\n"

// jobsOf are the jobs of a matrix without its head.
func jobsOf(t *testing.T, yaml string) []Job {
	t.Helper()
	m, err := Parse([]byte(head + yaml))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := m.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func names(jobs []Job) string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.Name)
	}
	return strings.Join(all, " ")
}

func TestFormats(t *testing.T) {
	data, err := os.ReadFile("testdata/matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := m.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	for name, print := range map[string]func(io.Writer, []Job) error{"github.json": GitHub, "azure-pipelines.json": AzurePipelines, "table.txt": Table} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := print(&got, jobs); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if strings.HasSuffix(name, ".json") {
				if lines := bytes.Count(got.Bytes(), []byte("\n")); lines != 1 {
					t.Errorf("%d lines, want one", lines)
				}
				var pretty bytes.Buffer // people review the golden file
				if err := json.Indent(&pretty, got.Bytes(), "", "  "); err != nil {
					t.Fatal(err)
				}
				got = pretty
			}
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLegsOfAzurePipelinesHaveNothingButStrings(t *testing.T) {
	var got bytes.Buffer
	if err := AzurePipelines(&got, jobsOf(t, "providers: [local]\nshards: 2")); err != nil {
		t.Fatal(err)
	}
	var legs map[string]map[string]string
	if err := json.Unmarshal(got.Bytes(), &legs); err != nil || legs["local_1_of_2"]["args"] != "--provider local --shard 1/2" {
		t.Errorf("the legs are %s (%v)", got.Bytes(), err)
	}
}

func TestJobs(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"a matrix of nothing is a run", "", "run"},
		{"an axis has a job for each of its values", "providers: [local, kind]", "local kind"},
		{"axes are combined, the last the fastest", "providers: [local, kind]\nkubernetes: ['1.34', '1.36']", "local_1_34 local_1_36 kind_1_34 kind_1_36"},
		{"a name begins with a letter", "kubernetes: ['1.36']", "v1_36"},
		{"an exclusion matches what it names", "providers: [a, b]\nos: [linux, windows]\nexclude: [{provider: a}]", "b_linux b_windows"},
		{"an exclusion of two values needs both", "providers: [a, b]\nos: [linux, windows]\nexclude: [{provider: a, os: windows}]", "a_linux b_linux b_windows"},
		{"what is included comes beside", "providers: [a]\ninclude: [{provider: b, azure: real}]", "a b_real"},
		{"what is included is not excluded", "providers: [a, b]\nexclude: [{provider: b}]\ninclude: [{provider: b, os: linux}]", "a b_linux"},
		{"without axes there is what is included", "include: [{provider: b}]", "b"},
		{"shards are jobs of their own", "providers: [a]\nshards: 3", "a_1_of_3 a_2_of_3 a_3_of_3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := names(jobsOf(t, c.yaml)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestShardsOfACombinationShareAGroupAndItsTests(t *testing.T) {
	for i, j := range jobsOf(t, "providers: [a]\nshards: 2\ncost: {a: {setUp: 2, tests: 10, nodes: 3, price: 1}}") {
		if j.Group != "a" || j.Shard != fmt.Sprintf("%d/2", i+1) || j.minutes != 7 {
			t.Errorf("job %d is %+v, want the group a, a shard, and the set-up and half of the tests: 7 minutes", i+1, j)
		}
	}
}

// Every tier is of exactly one system, so that the two of them together leave nothing out.
func TestSystemsShareTheTiers(t *testing.T) {
	var tiers []string
	for _, j := range jobsOf(t, "os: [linux, windows]") {
		tiers = append(tiers, strings.Fields(strings.ReplaceAll(j.Args, "--tier", ""))...)
	}
	var want []string
	for _, tier := range suites.Tiers {
		want = append(want, string(tier))
	}
	slices.Sort(tiers)
	slices.Sort(want)
	if !slices.Equal(tiers, want) {
		t.Errorf("linux and windows have the tiers %v, want %v", tiers, want)
	}
}

func TestGitHubTakesNoMoreThan256Jobs(t *testing.T) {
	var list []string
	for i := range 128 {
		list = append(list, fmt.Sprintf("p%d", i))
	}
	axis := "providers: [" + strings.Join(list, ", ") + "]\n"
	if err := GitHub(io.Discard, jobsOf(t, axis+"shards: 2")); err != nil {
		t.Errorf("256 jobs: %v", err)
	}
	if err := GitHub(io.Discard, jobsOf(t, axis+"shards: 2\ninclude: [{language: go}]")); err == nil || !strings.Contains(err.Error(), "258 jobs, GitHub takes 256") {
		t.Errorf("258 jobs: %v", err)
	}
	if err := AzurePipelines(io.Discard, jobsOf(t, axis+"shards: 3")); err != nil {
		t.Errorf("that limit is not of Azure Pipelines: %v", err)
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"another kind", "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig", `kind "RunConfig"`},
		{"another version", "apiVersion: v1\nkind: Matrix", `apiVersion "v1"`},
		{"an unknown key", head + "provider: [a]", `unknown field "provider"`},
		{"an unknown key of an exclusion", head + "exclude: [{providers: a}]", `unknown field "providers"`},
		{"a key twice", head + "shards: 1\nshards: 2", "already set"},
		{"a value twice", head + "providers: [a, a]", "a is there twice"},
		{"an empty value", head + "providers: ['']", "is empty"},
		{"a value that a shell would run", head + "kubernetes: ['1.36; id']", "does not take as they are"},
		{"a value that GitHub would expand", head + "providers: ['${{ secrets.X }}']", "does not take as they are"},
		{"a value that is a flag", head + "languages: [--keep]", "does not take as they are"},
		{"a chart that a shell would run", head + "subjects: [{name: a, kind: helm, chart: $(id)}]", "does not take as they are"},
		{"a subject without kind", head + "subjects: [{name: a}]", "subject a has no kind"},
		{"an unknown system", head + "os: [macos]", `unknown "macos"`},
		{"an unknown system that is included", head + "include: [{os: macos}]", `unknown os "macos"`},
		{"an unknown subject that is included", head + "include: [{subject: a}]", `"a" is none of the subjects`},
		{"a value that is included and a shell would run", head + "include: [{azure: a b}]", `"a b" is none of the azure`},
		{"an exclusion of everything", head + "providers: [a]\nexclude: [{}]", "exclude 1 names nothing"},
		{"an exclusion that matches nothing", head + "providers: [a]\nexclude: [{provider: b}]", "exclude 1 matches no combination"},
		{"an exclusion of what is excluded already", head + "providers: [a, b]\nexclude: [{provider: b}, {provider: b}]", "exclude 2 matches no combination"},
		{"nothing is left", head + "providers: [a]\nexclude: [{provider: a}]", "everything is excluded"},
		{"an inclusion of what there is", head + "providers: [a]\ninclude: [{provider: a}]", "include 1 is there already"},
		{"names that are alike", head + "kubernetes: ['1.3', '1-3']", "two jobs would have the name v1_3"},
		{"a negative number of shards", head + "shards: -1", "shards: -1"},
		{"too many shards", head + "shards: 101", "shards: 101"},
		{"a negative cost", head + "cost: {a: {tests: 1, price: -1}}", "cost of a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.file))
			if err == nil {
				_, err = m.Jobs()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// FuzzParse holds the jobs of whatever is a matrix to what pipelines and shells need of them.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/matrix.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(head + "providers: [a, b]\nkubernetes: ['1.3']\nshards: 3\nexclude: [{provider: b}]")
	f.Add(head + "include: [{os: windows, azure: real}]")
	name := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	args := regexp.MustCompile(`^[A-Za-z0-9._:/@+=, -]*$`)
	f.Fuzz(func(t *testing.T, file string) {
		m, err := Parse([]byte(file))
		if err != nil {
			return
		}
		jobs, err := m.Jobs()
		if err != nil {
			return
		}
		if len(jobs) == 0 {
			t.Error("no job, and no error")
		}
		seen := map[string]bool{}
		for _, j := range jobs {
			if !name.MatchString(j.Name) || seen[j.Name] {
				t.Errorf("name %q is invalid or there twice", j.Name)
			}
			seen[j.Name] = true
			if !args.MatchString(j.Args) {
				t.Errorf("arguments %q are not words of a shell", j.Args)
			}
		}
		for _, print := range []func(io.Writer, []Job) error{AzurePipelines, Table} {
			if err := print(io.Discard, jobs); err != nil {
				t.Error(err)
			}
		}
	})
}
