package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports/gate"
)

// The ready pipelines run where no test of ours does. These tests hold what can be held against the code: every command line, matrix and policy
// in them, and what they are permitted.

const repository = "../.."

// pipelines are the files of a pipeline each, by their path in the repository.
func pipelines(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, pattern := range []string{".github/workflows/*.yaml", ".pipelines/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil || len(paths) != 3 {
			t.Fatalf("%s are %q (%v), want three", pattern, paths, err)
		}
		for _, path := range paths {
			var pipeline map[string]any
			read(t, path, &pipeline)
			name, _ := filepath.Rel(repository, path)
			all[name] = pipeline
		}
	}
	return all
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
}

// scripts are the texts that shells run.
func scripts(node any) []string {
	var all []string
	switch node := node.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			text, isText := node[key].(string)
			if isText && slices.Contains([]string{"run", "bash", "script", "inlineScript"}, key) {
				all = append(all, text)
				continue
			}
			all = append(all, scripts(node[key])...)
		}
	case []any:
		for _, child := range node {
			all = append(all, scripts(child)...)
		}
	}
	return all
}

var (
	// invocation is wi-e2e with its arguments, to the end of the command.
	invocation = regexp.MustCompile(`bin/wi-e2e( [^|;)<>&}\n]*)`)
	longFlag   = regexp.MustCompile(`--([a-z-]+)`)
	// more is what a script adds to the arguments of run.
	more = regexp.MustCompile(`ARGS\+="([^"]*)"`)
	// appended is what a script puts into the flags that it keeps in a variable, and kept the variable where it is used, before an argument.
	appended = regexp.MustCompile(`(\w+)\+?=\((-[^)]*)\)`)
	kept     = regexp.MustCompile(` "\$\{\w+\[@\]\}"( report/)`)
	// expansion is a word with braces in it, variable one with none, or a pattern.
	expansion = regexp.MustCompile(`"?\$\{[^}]*\}[^\s"]*"?`)
	variable  = regexp.MustCompile(`"[^"]*\$[^"]*"|\$\w+|\S*\*\S*`)
)

// invocations are the arguments of each wi-e2e that a script runs. What a variable holds, or a pattern matches, is a 1; args stands for $ARGS.
func invocations(script, args string) [][]string {
	script = strings.ReplaceAll(script, "\\\n", " ")
	script = strings.ReplaceAll(script, "$ARGS", args)
	for _, flag := range appended.FindAllStringSubmatch(script, -1) {
		script = strings.Replace(script, `"${`+flag[1]+`[@]}"`, flag[2]+` "${`+flag[1]+`[@]}"`, 1)
	}
	script = kept.ReplaceAllString(script, "$1")
	script = expansion.ReplaceAllString(script, "1")
	var all [][]string
	for _, match := range invocation.FindAllStringSubmatch(script, -1) {
		all = append(all, strings.Fields(variable.ReplaceAllString(match[1], "1")))
	}
	return all
}

// checkInvocation says what the command would say of the arguments before it does anything.
func checkInvocation(t *testing.T, args []string) {
	t.Helper()
	cmd, rest, err := rootCommand().Find(args)
	if err == nil && (cmd.HasSubCommands() || !cmd.Runnable()) {
		t.Errorf("wi-e2e %s: there is no such verb", strings.Join(args, " "))
		return
	}
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	for _, required := range longFlag.FindAllStringSubmatch(cmd.Use, -1) {
		if err == nil && !cmd.Flags().Changed(required[1]) {
			t.Errorf("wi-e2e %s: it takes %s", strings.Join(args, " "), required[0])
		}
	}
	if err == nil && cmd.Name() == "run" {
		err = checkRun(rest)
	}
	if err != nil {
		t.Errorf("wi-e2e %s: %v", strings.Join(args, " "), err)
	}
}

func TestEveryCommandLineOfThePipelinesIsOneThatWeTake(t *testing.T) {
	for name, pipeline := range pipelines(t) {
		t.Run(name, func(t *testing.T) {
			jobs, err := loadMatrix(filepath.Join(repository, ".pipelines/matrix", filepath.Base(name)))
			if err != nil {
				t.Fatal(err)
			}
			verbs := map[string]int{}
			for _, script := range scripts(pipeline) {
				for _, match := range more.FindAllStringSubmatch(script, -1) {
					for _, name := range longFlag.FindAllStringSubmatch(match[1], -1) {
						if runCommand().Flags().Lookup(name[1]) == nil {
							t.Errorf("wi-e2e run has no %s", name[0])
						}
					}
				}
				for _, job := range jobs {
					for _, args := range invocations(script, job.Args) {
						checkInvocation(t, args)
						verbs[args[0]]++
					}
				}
			}
			if got := slices.Sorted(maps.Keys(verbs)); !slices.Equal(slices.DeleteFunc(got, func(v string) bool { return v == "report" }), []string{"gate", "matrix", "run"}) {
				t.Errorf("the scripts run the verbs %q, so that the reader of scripts is broken, or they are", got)
			}
		})
	}
	t.Run("gather.sh", func(t *testing.T) {
		script, err := os.ReadFile(filepath.Join(repository, ".pipelines/gather.sh"))
		if err != nil {
			t.Fatal(err)
		}
		lines := invocations(string(script), "")
		if len(lines) != 7 {
			t.Errorf("the script has %d command lines, want 7: %q", len(lines), lines)
		}
		for _, args := range lines {
			checkInvocation(t, args)
		}
	})
}

func TestFilesThatThePipelinesNameAreThereAndRead(t *testing.T) {
	file := regexp.MustCompile(`\.pipelines/[a-z/-]+\.(yaml|sh)`)
	target := regexp.MustCompile(`(?m)\bmake ([a-z-]+)$`)
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for name, pipeline := range pipelines(t) {
		all := strings.Join(scripts(pipeline), "\n")
		named := file.FindAllString(all, -1)
		own := filepath.Base(name)
		for _, want := range []string{".pipelines/matrix/" + own, ".pipelines/gate/" + own, ".pipelines/gather.sh"} {
			if !slices.Contains(named, want) {
				t.Errorf("%s does not use %s", name, want)
			}
		}
		for _, path := range named {
			if _, err := os.Stat(filepath.Join(repository, path)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if filepath.Base(path) != own && filepath.Base(path) != "gather.sh" {
				t.Errorf("%s uses %s of another pipeline", name, path)
			}
		}
		targets := target.FindAllStringSubmatch(all, -1)
		if len(targets) != 2 {
			t.Errorf("%s makes %q, want build and setup", name, targets)
		}
		for _, match := range targets {
			if !strings.Contains(string(makefile), "\n"+match[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", name, match[1])
			}
		}
		if _, err := gate.LoadPolicy(filepath.Join(repository, ".pipelines/gate", own)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// publication is what a step does, of GitHub's or of Azure Pipelines.
type publication struct {
	ID        string         `json:"id"`
	If        string         `json:"if"`
	Condition string         `json:"condition"`
	Uses      string         `json:"uses"`
	With      map[string]any `json:"with"`
	Run       string         `json:"run"`
	Bash      string         `json:"bash"`
	Publish   string         `json:"publish"`
	Task      string         `json:"task"`
	Inputs    map[string]any `json:"inputs"`
}

// published is the directory that the step makes readable to others; "" for none, and for our binary.
func (p publication) published() string {
	path := p.Publish
	switch {
	case strings.HasPrefix(p.Uses, "actions/upload-artifact@"):
		path, _ = p.With["path"].(string)
	case strings.HasPrefix(p.Task, "PublishTestResults@"):
		path, _ = p.Inputs["testResultsFiles"].(string)
	}
	path, _, _ = strings.Cut(path, "/")
	return strings.TrimPrefix(path, "bin")
}

func TestNothingIsPublishedInWhichThereMayBeSecrets(t *testing.T) {
	for name, pipeline := range pipelines(t) {
		var jobs []any
		switch all := pipeline["jobs"].(type) {
		case []any:
			jobs = all
		case map[string]any:
			jobs = slices.Collect(maps.Values(all))
		}
		publications := 0
		for _, job := range jobs {
			data, err := yaml.Marshal(job.(map[string]any)["steps"])
			if err != nil {
				t.Fatal(err)
			}
			var steps []publication
			if err := yaml.Unmarshal(data, &steps); err != nil {
				t.Fatal(err)
			}
			for i, step := range steps {
				path := step.published()
				if path == "" {
					continue
				}
				publications++
				command := "bin/wi-e2e report verify --secrets " + path
				verified := slices.IndexFunc(steps[:i], func(s publication) bool {
					return slices.Contains(strings.Split(strings.TrimSpace(s.Run+s.Bash), "\n"), command)
				})
				if verified < 0 {
					t.Errorf("%s: %s is published, and no step before runs %q", name, path, command)
					continue
				}
				before := steps[verified]
				if before.If+before.Condition != "always()" {
					t.Errorf("%s: whether secrets are in %s is looked at on the condition %q only", name, path, before.If+before.Condition)
				}
				want := "always() && steps." + before.ID + ".outcome == 'success'"
				if strings.HasPrefix(name, ".pipelines") {
					want = "and(always(), eq(variables.clean, 'yes'))"
					if lines := strings.Split(before.Bash, "\n"); lines[0] != "set -euo pipefail" || !strings.Contains(before.Bash, command+"\necho \"##vso[task.setvariable variable=clean]yes\"\n") {
						t.Errorf("%s: the variable is set although secrets may be in %s: %s", name, path, before.Bash)
					}
				}
				if got := step.If + step.Condition; got != want {
					t.Errorf("%s: %s is published on the condition %q, want %q", name, path, got, want)
				}
			}
		}
		if want := map[bool]int{false: 2, true: 3}[strings.HasPrefix(name, ".pipelines")]; publications != want {
			t.Errorf("%s: %d steps publish something, want %d", name, publications, want)
		}
	}
}

func TestAPullRequestIsGivenNoSecret(t *testing.T) {
	for _, path := range []string{".github/workflows/pull-request.yaml", ".pipelines/pull-request.yaml"} {
		data, err := os.ReadFile(filepath.Join(repository, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, forbidden := range []string{"secrets.", "vars.", "id-token", "environment:", "pull_request_target", "azureSubscription", "AzureCLI", "System.AccessToken"} {
			if strings.Contains(string(data), forbidden) {
				t.Errorf("%s has %s", path, forbidden)
			}
		}
	}
	jobs, err := loadMatrix(filepath.Join(repository, ".pipelines/matrix/pull-request.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Azure != "emulated" {
			t.Errorf("job %s has Azure %q", j.Name, j.Azure)
		}
	}
}

// workflow is what is looked at of a workflow of GitHub's.
type workflow struct {
	Permissions map[string]string `json:"permissions"`
	Jobs        map[string]struct {
		If          string            `json:"if"`
		Needs       any               `json:"needs"`
		Permissions map[string]string `json:"permissions"`
		Steps       []struct {
			Uses string         `json:"uses"`
			Run  string         `json:"run"`
			With map[string]any `json:"with"`
		} `json:"steps"`
	} `json:"jobs"`
}

func TestWorkflowsArePermittedNoMoreThanTheyNeed(t *testing.T) {
	permitted := map[string]map[string]string{
		"pull-request": {},
		"nightly":      {"run": "id-token: write"},
		"release":      {"run": "id-token: write", "report": "actions: read"},
	}
	for name, jobs := range permitted {
		var w workflow
		data, err := os.ReadFile(filepath.Join(repository, ".github/workflows", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, &w); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"contents": "read"}; !maps.Equal(w.Permissions, want) {
			t.Errorf("%s: its jobs are permitted %v, want %v", name, w.Permissions, want)
		}
		for id, job := range w.Jobs {
			var more []string
			for scope, access := range job.Permissions {
				if scope != "contents" || access != "read" {
					more = append(more, scope+": "+access)
				}
			}
			if got := strings.Join(more, ", "); got != jobs[id] {
				t.Errorf("%s: job %s is permitted %q beside reading, want %q", name, id, got, jobs[id])
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s: job %s leaves its token in the working copy", name, id)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: job %s has an expression in a script, which could be made to be a command: %s", name, id, step.Run)
				}
			}
		}
		if len(jobs) > 0 && w.Jobs["matrix"].If != "github.repository == 'wi-e2e/wi-e2e'" {
			t.Errorf("%s: a fork would run it: its first job has the condition %q", name, w.Jobs["matrix"].If)
		}
		for _, id := range []string{"run", "report"} {
			if needs := w.Jobs[id].Needs; needs != "matrix" && !slices.ContainsFunc(asList(needs), func(n any) bool { return n == "matrix" }) {
				t.Errorf("%s: job %s does not need matrix, whose condition keeps forks out", name, id)
			}
		}
	}
}

func asList(value any) []any {
	list, _ := value.([]any)
	return list
}

func TestActionsArePinnedByCommit(t *testing.T) {
	pinned := regexp.MustCompile(`^\s*(- )?uses: actions/[a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	commits := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(repository, ".github/workflows/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\n")
			if !strings.Contains(line, "uses:") {
				continue
			}
			if !pinned.MatchString(line) {
				t.Errorf("%s: %q is not an action of GitHub's own, pinned by a commit whose version is said", path, line)
				continue
			}
			action, commit, _ := strings.Cut(line[strings.Index(line, "actions/"):], "@")
			if other, ok := commits[action]; ok && other != commit {
				t.Errorf("%s: %s is %s here, and %s elsewhere", path, action, commit, other)
			}
			commits[action] = commit
		}
	}
}

func TestAzurePipelinesHaveTheGoOfTheModule(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(string(module))[1]
	for name := range pipelines(t) {
		data, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		tasks, right := strings.Count(string(data), "GoTool@0"), strings.Count(string(data), `inputs: {version: "`+version+`"}`)
		if strings.HasPrefix(name, ".pipelines") && (tasks == 0 || tasks != right) {
			t.Errorf("%s: of %d Go installations %d are of %s", name, tasks, right, version)
		}
	}
}
