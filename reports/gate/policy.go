package gate

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Kind is that of a policy file.
const Kind = "GatePolicy"

// Policy is what a release has to fulfil (GatePolicy of wi-e2e.dev/v1alpha1). What it does not mention is not allowed, or not asked
// for: without skips no test may be skipped, without a maximal age a record may be of any.
type Policy struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// Levels are those whose requirements have to hold; MUST is always one of them.
	Levels []string `json:"levels"`
	// Skips are the reason codes for which a planned test may be skipped.
	Skips []string `json:"skips,omitempty"`
	// Waivers is how many known deviations may be made use of.
	Waivers int `json:"waivers,omitempty"`
	// Coverage is how many per cent of the catalogue's requirements of a level have to be decided, by all records together.
	Coverage map[string]int `json:"coverage,omitempty"`
	// Languages and OS are those of which a workload has to have read its secret, in any of the records.
	Languages []string `json:"languages,omitempty"`
	OS        []string `json:"os,omitempty"`
	// MaxAge bounds the time since a run finished.
	MaxAge metav1.Duration `json:"maxAge,omitzero"`
	// SubjectDigest wants the images that were tested to be the release candidate's, which the caller names.
	SubjectDigest bool `json:"subjectDigest,omitempty"`
	// Baseline wants nothing to be worse than in the records that the caller names.
	Baseline bool `json:"baseline,omitempty"`
	// Attestation wants each record to be signed, by the key that the caller names.
	Attestation bool `json:"attestation,omitempty"`
}

// levels are those that requirements have.
var levels = []string{"MUST", "SHOULD", "INFO"}

var reasonCode = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// LoadPolicy reads a policy strictly: an unknown key is an error.
func LoadPolicy(path string) (Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, fmt.Errorf("read the policy: %w", err)
	}
	p, err := parsePolicy(data)
	if err != nil {
		return Policy{}, fmt.Errorf("read the policy %s: %w", path, err)
	}
	return p, nil
}

func parsePolicy(data []byte) (Policy, error) {
	var p Policy
	if err := yaml.UnmarshalStrict(data, &p); err != nil {
		return Policy{}, err
	}
	if p.APIVersion != reports.APIVersion || p.Kind != Kind {
		return Policy{}, fmt.Errorf("it is apiVersion %q, kind %q, want %q, %q", p.APIVersion, p.Kind, reports.APIVersion, Kind)
	}
	return p, p.validate()
}

// validate reports every contradiction and unknown value.
func (p Policy) validate() error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, l := range p.Levels {
		if !slices.Contains(levels, l) {
			complain("unknown level %q (there are: %s)", l, strings.Join(levels, ", "))
		}
	}
	if !slices.Contains(p.Levels, "MUST") {
		complain("levels lack MUST: a release that breaks a MUST is none")
	}
	for l, percent := range p.Coverage {
		if !slices.Contains(levels, l) {
			complain("coverage: unknown level %q (there are: %s)", l, strings.Join(levels, ", "))
		}
		if percent < 1 || percent > 100 {
			complain("coverage of %s is %d per cent, want 1 to 100", l, percent)
		}
	}
	for _, code := range p.Skips {
		if !reasonCode.MatchString(code) {
			complain("skips: %q is no reason code: lower-case words joined by dashes", code)
		}
	}
	for name, list := range map[string][]string{"levels": p.Levels, "skips": p.Skips, "languages": p.Languages, "os": p.OS} {
		for i, entry := range list {
			if entry == "" || slices.Contains(list[:i], entry) {
				complain("%s: entry %q is empty or there twice", name, entry)
			}
		}
	}
	if p.Waivers < 0 {
		complain("there cannot be %d waivers", p.Waivers)
	}
	if p.MaxAge.Duration < 0 {
		complain("the maximal age is negative")
	}
	return errors.Join(problems...)
}
