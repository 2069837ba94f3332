package suites

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
)

// Level says what a violation of a requirement means for a run.
type Level string

const (
	Must   Level = "MUST"   // fails the run
	Should Level = "SHOULD" // a warning, unless the run is strict
	Info   Level = "INFO"   // reported only
)

// Requirement is one rule of a conformant installation.
type Requirement struct {
	// Section is the title of the one that the rule is in.
	Section   string `json:"-"`
	ID        string `json:"id"`
	Level     Level  `json:"level"`
	Statement string `json:"statement"`
	// Source is where the rule comes from.
	Source string `json:"source"`
	// Since is the first version of the open-source webhook that the rule holds for; empty: all.
	Since string `json:"since,omitempty"`
	// Pending names the issue that brings the rule's test, for a rule that no tier can decide yet.
	Pending string `json:"pending,omitempty"`
	// PendingPart says which part of the rule that is, if the rest has a test.
	PendingPart string `json:"pendingPart,omitempty"`
}

// AppliesTo says whether a subject of that profile is held to the requirement.
func (r Requirement) AppliesTo(p subject.Profile) bool { return r.Since == "" || p.AtLeast(r.Since) }

//go:embed requirements.yaml
var requirementsYAML []byte

// Catalogue is every requirement, in the order of the specification.
func Catalogue() ([]Requirement, error) {
	var file struct {
		Sections []struct {
			Title        string        `json:"title"`
			Source       string        `json:"source"`
			Requirements []Requirement `json:"requirements"`
		} `json:"sections"`
	}
	if err := yaml.UnmarshalStrict(requirementsYAML, &file); err != nil {
		return nil, fmt.Errorf("read the requirement catalogue: %w", err)
	}
	var all []Requirement
	for _, section := range file.Sections {
		for _, r := range section.Requirements {
			if r.Source == "" {
				r.Source = section.Source
			}
			r.Section = section.Title
			r.Statement = strings.TrimSpace(r.Statement)
			all = append(all, r)
		}
	}
	return all, nil
}

var (
	requirementID = regexp.MustCompile(`^[A-Z]{2,3}-[0-9]{2}$`)
	testID        = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// Validate checks that catalogue and tests fit: every requirement has a test or names the issue that
// brings one or the rest of it, every test names known requirements, ids are unique and well formed.
func Validate(catalogue []Requirement, tests []Test) error {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	tested := map[string]bool{}
	seen := map[string]bool{}
	for _, t := range tests {
		if seen[t.ID] {
			complain("test %s exists twice", t.ID)
		}
		seen[t.ID] = true
		if !testID.MatchString(t.ID) {
			complain("test id %q is not lower-case words joined by dashes", t.ID)
		}
		if t.Title == "" || t.Body == nil {
			complain("test %s has no title or no body", t.ID)
		}
		if len(t.Requirements) == 0 {
			complain("test %s names no requirement", t.ID)
		}
		for _, id := range t.Requirements {
			tested[id] = true
		}
		problems = append(problems, validateTrust(t)...)
	}
	known := map[string]bool{}
	for _, r := range catalogue {
		if known[r.ID] {
			complain("requirement %s exists twice", r.ID)
		}
		known[r.ID] = true
		switch {
		case !requirementID.MatchString(r.ID):
			complain("requirement id %q is not like EXP-03", r.ID)
		case r.Level != Must && r.Level != Should && r.Level != Info:
			complain("requirement %s has level %q", r.ID, r.Level)
		case r.Statement == "" || r.Source == "":
			complain("requirement %s has no statement or no source", r.ID)
		case !tested[r.ID] && r.Pending == "":
			complain("requirement %s has no test and names no issue that brings one", r.ID)
		case tested[r.ID] && r.Pending != "" && r.PendingPart == "":
			complain("requirement %s has a test and still says that one is pending (%s), and not of which part", r.ID, r.Pending)
		case r.PendingPart != "" && (!tested[r.ID] || r.Pending == ""):
			complain("requirement %s has a pending part, which goes with a test and an issue", r.ID)
		}
		if r.Since != "" {
			if _, err := subject.ParseProfile(r.Since); err != nil {
				complain("requirement %s: since: %v", r.ID, err)
			}
		}
	}
	for _, t := range tests {
		for _, id := range t.Requirements {
			if !known[id] {
				complain("test %s names the unknown requirement %s", t.ID, id)
			}
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("the catalogue and the tests do not fit:\n  %s", strings.Join(problems, "\n  "))
	}
	return nil
}
