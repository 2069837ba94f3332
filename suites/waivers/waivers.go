package waivers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Kind of a file of waivers.
const Kind = "Waivers"

// Waivers are the known deviations of a file. Nil has none.
type Waivers struct{ entries []waiver }

// Known is what a waiver can be about.
type Known struct {
	Catalogue []suites.Requirement
	Tests     []suites.Test
	// Subjects are the kinds of subjects.
	Subjects []string
}

// entry is a waiver as it is written. Everything but the versions, and what it is about, is required.
type entry struct {
	// Requirement, Test or both say what is waived; Case narrows a test down.
	Requirement string       `json:"requirement"`
	Test        string       `json:"test"`
	Case        string       `json:"case"`
	Subject     entrySubject `json:"subject"`
	Reason      string       `json:"reason"`
	Link        string       `json:"link"`
	Owner       string       `json:"owner"`
	// Expiry is the last day on which it holds, such as 2027-01-31, in UTC.
	Expiry string `json:"expiry"`
}

type entrySubject struct {
	Kind string `json:"kind"`
	// Versions is a range, such as ">=1.4.0 <1.6.0"; empty for all.
	Versions string `json:"versions"`
}

// waiver is an entry that was checked.
type waiver struct {
	entry
	name     string
	tests    []string // that it is about
	versions *semver.Constraints
	expires  time.Time // when it holds no longer
}

// Load reads a file of waivers strictly. Its errors name the file, the entry and the field.
func Load(path string, known Known) (*Waivers, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the waivers: %w", err)
	}
	return Parse(path, data, known)
}

// Parse is Load of a file that somebody else has read; path is what its waivers are named after.
func Parse(path string, data []byte, known Known) (*Waivers, error) {
	var file struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Waivers    []json.RawMessage `json:"waivers"`
	}
	text, err := yaml.YAMLToJSONStrict(data)
	if err == nil {
		err = decodeStrictly(text, &file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the waivers %s: %w", path, err)
	}
	if file.APIVersion != reports.APIVersion || file.Kind != Kind {
		return nil, fmt.Errorf("read the waivers %s: it is apiVersion %q, kind %q, want %q, %q", path, file.APIVersion, file.Kind, reports.APIVersion, Kind)
	}
	w := &Waivers{}
	var problems []error
	for i, raw := range file.Waivers {
		one := waiver{name: fmt.Sprintf("%s entry %d", path, i+1)}
		err := decodeStrictly(raw, &one.entry)
		if err == nil {
			err = one.check(known)
		}
		if err == nil {
			if j := slices.IndexFunc(w.entries, func(other waiver) bool { return other.sameAs(one) }); j >= 0 {
				err = fmt.Errorf("waives the same as %s", w.entries[j].name)
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", one.name, err))
			continue
		}
		w.entries = append(w.entries, one)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("read the waivers: %w", errors.Join(problems...))
	}
	return w, nil
}

func decodeStrictly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// sameAs says whether two entries waive the same of the same subject.
func (w waiver) sameAs(other waiver) bool {
	return w.Requirement == other.Requirement && w.Test == other.Test && w.Case == other.Case && w.Subject == other.Subject
}

// check reports the first field that is missing or means nothing, and fills in what the fields mean.
func (w *waiver) check(known Known) error {
	for _, required := range []struct{ field, value string }{
		{"subject.kind", w.Subject.Kind}, {"reason", w.Reason}, {"link", w.Link}, {"owner", w.Owner}, {"expiry", w.Expiry},
	} {
		if strings.TrimSpace(required.value) == "" {
			return fmt.Errorf("%s: is missing", required.field)
		}
	}
	if err := w.resolve(known); err != nil {
		return err
	}
	if !slices.Contains(known.Subjects, w.Subject.Kind) {
		return fmt.Errorf("subject.kind: unknown subject %q (there are: %s)", w.Subject.Kind, strings.Join(known.Subjects, ", "))
	}
	var err error
	if w.Subject.Versions != "" {
		if w.versions, err = semver.NewConstraint(w.Subject.Versions); err != nil {
			return fmt.Errorf("subject.versions: %q is not a range of versions such as \">=1.4.0 <1.6.0\": %w", w.Subject.Versions, err)
		}
	}
	if link, err := url.Parse(w.Link); err != nil || link.Scheme != "https" && link.Scheme != "http" || link.Host == "" {
		return fmt.Errorf("link: %q is not a URL", w.Link)
	}
	day, err := time.Parse(time.DateOnly, w.Expiry)
	if err != nil {
		return fmt.Errorf("expiry: %q is not a date such as 2027-01-31", w.Expiry)
	}
	w.expires = day.AddDate(0, 0, 1)
	return nil
}

// resolve finds the tests that the waiver is about.
func (w *waiver) resolve(known Known) error {
	if w.Requirement == "" && w.Test == "" {
		return errors.New("requirement: is missing, and so is test: one of them says what is waived")
	}
	if w.Case != "" && w.Test == "" {
		return errors.New("test: is missing: a case is one of a test")
	}
	if w.Requirement != "" && !slices.ContainsFunc(known.Catalogue, func(r suites.Requirement) bool { return r.ID == w.Requirement }) {
		return fmt.Errorf("requirement: unknown requirement %q (see: wi-e2e list requirements)", w.Requirement)
	}
	if w.Test != "" {
		i := slices.IndexFunc(known.Tests, func(t suites.Test) bool { return t.ID == w.Test })
		switch {
		case i < 0:
			return fmt.Errorf("test: unknown test %q (see: wi-e2e list tests)", w.Test)
		case w.Requirement != "" && !slices.Contains(known.Tests[i].Requirements, w.Requirement):
			return fmt.Errorf("test: %s is not a test of %s", w.Test, w.Requirement)
		}
		w.tests = []string{w.Test}
		return nil
	}
	for _, t := range known.Tests {
		if slices.Contains(t.Requirements, w.Requirement) {
			w.tests = append(w.tests, t.ID)
		}
	}
	if len(w.tests) == 0 {
		return fmt.Errorf("requirement: %s has no test, so there is nothing to waive", w.Requirement)
	}
	return nil
}
