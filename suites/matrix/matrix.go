// Package matrix makes the jobs of a pipeline from a file that says what a subject is to be tested on: providers, Kubernetes versions,
// subjects, languages, systems, Azure.
//
// It is pure: it knows neither clusters nor whether a job can run. Whoever prints a matrix holds the arguments of each job against the
// command (cmd/wi-e2e/matrix.go).
package matrix

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Kind is that of the file, whose apiVersion is that of the reports.
const Kind = "Matrix"

// Matrix is every combination of its axes, less what is excluded, and what is included beside. An axis that is left out leaves the choice
// to 'wi-e2e run'.
type Matrix struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	Providers  []string  `json:"providers,omitempty"`
	Kubernetes []string  `json:"kubernetes,omitempty"`
	Subjects   []Subject `json:"subjects,omitempty"`
	Languages  []string  `json:"languages,omitempty"`
	OS         []string  `json:"os,omitempty"` // linux, windows: the tiers that need it
	Azure      []string  `json:"azure,omitempty"`
	// Shards is how many jobs share a combination; 0 means one.
	Shards int `json:"shards,omitempty"`

	// Exclude leaves out every combination of the axes that has all the values which an entry names.
	Exclude []Combination `json:"exclude,omitempty"`
	// Include are further combinations.
	Include []Combination `json:"include,omitempty"`
	// Cost is what a run costs, by provider.
	Cost map[string]Cost `json:"cost,omitempty"`
}

// Subject is a webhook under test, as 'wi-e2e run' takes it.
type Subject struct {
	// Name tells it apart in the names of jobs and in combinations.
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Chart    string `json:"chart,omitempty"`
	Version  string `json:"version,omitempty"` // of the chart
	Manifest string `json:"manifest,omitempty"`
}

// Combination has a value of each axis, or some of them.
type Combination struct {
	Provider   string `json:"provider,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"`
	Subject    string `json:"subject,omitempty"` // its name
	Language   string `json:"language,omitempty"`
	OS         string `json:"os,omitempty"`
	Azure      string `json:"azure,omitempty"`
}

// Cost of a run on a provider, as its users know it.
type Cost struct {
	// SetUp is in minutes, of each shard; Tests is what all shards share.
	SetUp float64 `json:"setUp,omitempty"`
	Tests float64 `json:"tests"`
	// Nodes that are paid for meanwhile, and the price of one for an hour, in a currency that is the user's business.
	Nodes float64 `json:"nodes,omitempty"`
	Price float64 `json:"price,omitempty"`
}

// Job is one run of wi-e2e.
type Job struct {
	// Name is unique, of letters, digits and underscores, and begins with a letter.
	Name string `json:"name"`
	// Args of 'wi-e2e run'. A shell takes each of their words as it is.
	Args string `json:"args"`
	Combination
	// Group is the name that the shards of a combination have in common.
	Group string `json:"group"`
	Shard string `json:"shard,omitempty"` // i/n

	minutes float64
	cost    Cost
}

// Parse reads a matrix strictly: an unknown key is an error.
func Parse(data []byte) (*Matrix, error) {
	var m Matrix
	if err := yaml.UnmarshalStrict(data, &m); err != nil {
		return nil, err
	}
	if m.APIVersion != reports.APIVersion || m.Kind != Kind {
		return nil, fmt.Errorf("it is apiVersion %q, kind %q, want %q, %q", m.APIVersion, m.Kind, reports.APIVersion, Kind)
	}
	return &m, m.validate()
}

// word is what a shell and both pipelines take as it is.
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+=,-]*$`)

// maxShards is far more than a run has use for.
const maxShards = 100

// Values of the axis OS.
const (
	linux   = "linux"
	windows = string(suites.Windows)
)

func (m *Matrix) validate() error {
	for _, axis := range m.axes() {
		for i, value := range axis.values {
			if !word.MatchString(value) {
				return fmt.Errorf("%s: %q is empty, or has characters that a shell or pipeline does not take as they are", axis.name, value)
			}
			if slices.Contains(axis.values[:i], value) {
				return fmt.Errorf("%s: %s is there twice", axis.name, value)
			}
		}
	}
	for _, os := range m.OS {
		if os != linux && os != windows {
			return fmt.Errorf("os: unknown %q (there are: %s, %s)", os, linux, windows)
		}
	}
	for _, s := range m.Subjects {
		for _, value := range []string{s.Kind, s.Chart, s.Version, s.Manifest} {
			if value != "" && !word.MatchString(value) {
				return fmt.Errorf("subject %s: %q has characters that a shell or pipeline does not take as they are", s.Name, value)
			}
		}
		if s.Kind == "" {
			return fmt.Errorf("subject %s has no kind", s.Name)
		}
	}
	if m.Shards < 0 || m.Shards > maxShards {
		return fmt.Errorf("shards: %d is not from 1 to %d", m.Shards, maxShards)
	}
	for provider, c := range m.Cost {
		if min(c.SetUp, c.Tests, c.Nodes, c.Price) < 0 {
			return fmt.Errorf("cost of %s: something is negative", provider)
		}
	}
	for i, c := range m.Include {
		for _, axis := range m.axes() {
			// Of the subjects there is more to know than the name.
			if value := axis.of(c); value != "" && (!word.MatchString(value) || axis.name == "subjects" && !slices.Contains(axis.values, value)) {
				return fmt.Errorf("include %d: %q is none of the %s", i+1, value, axis.name)
			}
		}
		if c.OS != "" && c.OS != linux && c.OS != windows {
			return fmt.Errorf("include %d: unknown os %q (there are: %s, %s)", i+1, c.OS, linux, windows)
		}
	}
	for i, c := range m.Exclude {
		if c == (Combination{}) {
			return fmt.Errorf("exclude %d names nothing, so it would exclude everything", i+1)
		}
	}
	return nil
}

// axis is one with its name, its values, and where a combination has it.
type axis struct {
	name   string
	values []string
	of     func(Combination) string
	set    func(*Combination, string)
}

func (m *Matrix) axes() []axis {
	var subjects []string
	for _, s := range m.Subjects {
		subjects = append(subjects, s.Name)
	}
	at := func(name string, values []string, field func(*Combination) *string) axis {
		return axis{
			name: name, values: values, of: func(c Combination) string { return *field(&c) },
			set: func(c *Combination, value string) { *field(c) = value },
		}
	}
	return []axis{
		at("providers", m.Providers, func(c *Combination) *string { return &c.Provider }),
		at("kubernetes", m.Kubernetes, func(c *Combination) *string { return &c.Kubernetes }),
		at("subjects", subjects, func(c *Combination) *string { return &c.Subject }),
		at("languages", m.Languages, func(c *Combination) *string { return &c.Language }),
		at("os", m.OS, func(c *Combination) *string { return &c.OS }),
		at("azure", m.Azure, func(c *Combination) *string { return &c.Azure }),
	}
}

// maxJobs bounds a matrix before it is made: no pipeline takes as many.
const maxJobs = 10_000

// Jobs are those of the matrix, in the order of its axes.
func (m *Matrix) Jobs() ([]Job, error) {
	combinations := []Combination{{}}
	for _, axis := range m.axes() {
		if len(axis.values) == 0 {
			continue
		}
		var next []Combination
		for _, c := range combinations {
			for _, value := range axis.values {
				axis.set(&c, value)
				next = append(next, c)
			}
		}
		if combinations = next; len(combinations) > maxJobs {
			return nil, fmt.Errorf("the axes have more than %d combinations", maxJobs)
		}
	}
	if combinations[0] == (Combination{}) && len(m.Include) > 0 {
		combinations = nil // without axes, what is included is all
	}
	for i, rule := range m.Exclude {
		left := slices.DeleteFunc(slices.Clone(combinations), func(c Combination) bool { return m.matches(rule, c) })
		if len(left) == len(combinations) {
			return nil, fmt.Errorf("exclude %d matches no combination that is left: it is misspelled, or not needed", i+1)
		}
		combinations = left
	}
	for i, c := range m.Include {
		if slices.Contains(combinations, c) {
			return nil, fmt.Errorf("include %d is there already", i+1)
		}
		combinations = append(combinations, c)
	}
	if len(combinations) == 0 {
		return nil, fmt.Errorf("everything is excluded")
	}
	var jobs []Job
	for _, c := range combinations {
		jobs = append(jobs, m.shards(c)...)
	}
	names := map[string]bool{}
	for _, j := range jobs {
		if names[j.Name] {
			return nil, fmt.Errorf("two jobs would have the name %s: their values differ only in characters that a name does not have", j.Name)
		}
		names[j.Name] = true
	}
	return jobs, nil
}

// matches says whether a combination has all the values of a rule.
func (m *Matrix) matches(rule, c Combination) bool {
	return !slices.ContainsFunc(m.axes(), func(a axis) bool { return a.of(rule) != "" && a.of(rule) != a.of(c) })
}

// shards are the jobs of a combination.
func (m *Matrix) shards(c Combination) []Job {
	var parts []string
	for _, axis := range m.axes() {
		if value := axis.of(c); value != "" {
			parts = append(parts, value)
		}
	}
	group := nameOf(cmp.Or(strings.Join(parts, "_"), "run"))
	args := strings.Join(m.args(c), " ")
	cost := m.Cost[c.Provider]
	total := max(m.Shards, 1)
	var jobs []Job
	for i := range total {
		j := Job{Name: group, Group: group, Args: args, Combination: c, cost: cost, minutes: cost.SetUp + cost.Tests/float64(total)}
		if total > 1 {
			j.Shard = fmt.Sprintf("%d/%d", i+1, total)
			j.Name = fmt.Sprintf("%s_%d_of_%d", group, i+1, total)
			j.Args = strings.TrimSpace(args + " --shard " + j.Shard)
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// args are those of 'wi-e2e run'.
func (m *Matrix) args(c Combination) []string {
	var args []string
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("--provider", c.Provider)
	add("--kubernetes-version", c.Kubernetes)
	for _, s := range m.Subjects {
		if s.Name == c.Subject {
			add("--subject", s.Kind)
			add("--chart", s.Chart)
			add("--chart-version", s.Version)
			add("--manifest", s.Manifest)
		}
	}
	add("--language", c.Language)
	for _, tier := range suites.Tiers {
		if c.OS != "" && (tier == suites.Windows) == (c.OS == windows) {
			add("--tier", string(tier))
		}
	}
	add("--azure", c.Azure)
	return args
}

// noName is what a name does not have.
var noName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// nameOf makes a name of values. Both pipelines want it to begin with a letter.
func nameOf(values string) string {
	name := noName.ReplaceAllString(values, "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "v" + name
	}
	return name
}
