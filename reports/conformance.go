package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// ConformanceKind is the kind of a conformance report.
const ConformanceKind = "ConformanceReport"

// Conformance renders the record as an API object in the manner of the Gateway API's conformance reports: what was tested, and a
// profile per tier. The core of a profile are the tests of at least one MUST, the extended part all others. A profile's numbers are of tests, so
// that all profiles together are the record's.
func Conformance(r *Record) ([]byte, error) {
	report := conformanceReport{
		APIVersion: APIVersion, Kind: ConformanceKind, Date: r.Run.Finished, Run: r.Run.ID, SuiteVersion: r.Run.Version,
		KubernetesVersion: r.Cluster.Kubernetes, Provider: r.Cluster.Provider,
		Implementation: conformanceImplementation{Kind: r.Subject.Kind, Version: r.Subject.Version, Profile: r.Subject.Profile, Images: r.Subject.Images},
		Verdict:        r.Verdict, Requirements: map[string]map[string]int{},
	}
	if r.Azure != nil {
		report.Azure = joined(r.Azure.Mode, r.Azure.Cloud)
	}
	must := map[string]bool{}
	for _, q := range r.Requirements {
		must[q.ID] = q.Level == "MUST"
		statistics(report.Requirements, q.Level)[string(Worst(q.Status))]++
	}
	for _, u := range r.Untested {
		// A part that is not tested yet belongs to a rule that is among the requirements already.
		if u.Part == "" {
			report.Untested = append(report.Untested, u.ID)
		}
	}
	for _, t := range r.Tests {
		i := slices.IndexFunc(report.Profiles, func(p *conformanceProfile) bool { return p.Name == t.Tier })
		if i < 0 {
			i = len(report.Profiles)
			report.Profiles = append(report.Profiles, &conformanceProfile{Name: t.Tier})
		}
		part := &report.Profiles[i].Extended
		if slices.ContainsFunc(t.Requirements, func(id string) bool { return must[id] }) {
			part = &report.Profiles[i].Core
		}
		if *part == nil {
			*part = &conformancePart{Statistics: map[string]int{}}
		}
		(*part).add(r, t)
	}
	for _, p := range report.Profiles {
		p.Core.judge()
		p.Extended.judge()
	}
	data, err := yaml.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("encode the conformance report of run %s: %w", r.Run.ID, err)
	}
	return data, nil
}

type conformanceReport struct {
	APIVersion        string                    `json:"apiVersion"`
	Kind              string                    `json:"kind"`
	Date              time.Time                 `json:"date"`
	Run               string                    `json:"run"`
	SuiteVersion      string                    `json:"wiE2EVersion"`
	KubernetesVersion string                    `json:"kubernetesVersion,omitempty"`
	Provider          string                    `json:"provider,omitempty"`
	Azure             string                    `json:"azure,omitempty"`
	Implementation    conformanceImplementation `json:"implementation"`
	Verdict           Verdict                   `json:"verdict"`
	Profiles          []*conformanceProfile     `json:"profiles"`
	// Requirements are counted by level, then by status.
	Requirements map[string]map[string]int `json:"requirements"`
	// Untested are rules that no test decides.
	Untested []string `json:"untested,omitempty"`
}

type conformanceImplementation struct {
	Kind    string  `json:"kind"`
	Version string  `json:"version,omitempty"`
	Profile string  `json:"profile,omitempty"` // the version whose contract it was held to
	Images  []Image `json:"images,omitempty"`
}

type conformanceProfile struct {
	Name     string           `json:"name"`
	Core     *conformancePart `json:"core,omitempty"`
	Extended *conformancePart `json:"extended,omitempty"`
}

type conformancePart struct {
	Result     string               `json:"result"`
	Statistics map[string]int       `json:"statistics"`
	Failed     []string             `json:"failedTests,omitempty"`
	Broken     []string             `json:"brokenTests,omitempty"` // which say nothing about the subject
	Flaky      []string             `json:"flakyTests,omitempty"`
	Waived     []string             `json:"waivedTests,omitempty"`
	Skipped    []conformanceSkipped `json:"skippedTests,omitempty"`
}

type conformanceSkipped struct {
	Test   string `json:"test"`
	Reason string `json:"reason"`
	Text   string `json:"text,omitempty"`
}

func (p *conformancePart) add(r *Record, t Test) {
	status := Worst(t.Status)
	p.Statistics[string(status)]++
	switch status {
	case Fail:
		p.Failed = append(p.Failed, t.ID)
	case Error:
		p.Broken = append(p.Broken, t.ID)
	case Flake:
		p.Flaky = append(p.Flaky, t.ID)
	case Skip:
		skipped := conformanceSkipped{Test: t.ID, Reason: "none-recorded"}
		if t.Skip != nil {
			skipped.Reason, skipped.Text = t.Skip.Reason, Visible(t.Skip.Text)
		}
		p.Skipped = append(p.Skipped, skipped)
	}
	if len(r.waiversOf(t)) > 0 {
		p.Waived = append(p.Waived, t.ID)
	}
}

// judge is a success only where nothing is missing and nothing is waived: a partial one says what is.
func (p *conformancePart) judge() {
	switch {
	case p == nil:
	case len(p.Failed)+len(p.Broken) > 0:
		p.Result = "failure"
	case len(p.Skipped)+len(p.Waived)+len(p.Flaky) > 0:
		p.Result = "partial"
	default:
		p.Result = "success"
	}
}

func statistics(of map[string]map[string]int, level string) map[string]int {
	level = strings.ToUpper(named(level))
	if of[level] == nil {
		of[level] = map[string]int{}
	}
	return of[level]
}
