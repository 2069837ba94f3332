package suites

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCoverageNamesWhatIsMissing(t *testing.T) {
	rule := func(level Level) []Requirement { return []Requirement{{ID: "AA-01", Level: level}} }
	tested := []Test{{ID: "t", Requirements: []string{"AA-02", "AA-01"}}}
	proved := []Mutant{{"m", "AA-01"}}
	for _, c := range []struct {
		name      string
		catalogue []Requirement
		tests     []Test
		mutants   []Mutant
		gaps      []string
	}{
		{"nothing", rule(Must), tested, proved, nil},
		{"a test of a MUST", rule(Must), nil, nil, []string{"AA-01 has no test"}},
		{"a mutant of a MUST", rule(Must), tested, nil, []string{"AA-01 has no mutant, so nothing shows that its tests can fail"}},
		{"a mutant of a SHOULD is not missed", rule(Should), tested, nil, nil},
		{"a rule that is pending is not missed", []Requirement{{ID: "AA-01", Level: Must, Pending: "#9"}}, nil, nil, nil},
		{"of a rule that is pending in part, the rest is", []Requirement{{ID: "AA-01", Level: Must, Pending: "#9", PendingPart: "Windows"}}, tested, nil,
			[]string{"AA-01 has no mutant, so nothing shows that its tests can fail"}},
		{"the requirement of a mutant", rule(Must), tested, append([]Mutant{{"stray", "AA-09"}}, proved...), []string{`mutant stray violates the unknown requirement "AA-09"`}},
		{"the test that could kill a mutant", rule(Should), nil, proved, []string{"mutant m violates AA-01, of which there is no test"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, gaps := Coverage(c.catalogue, c.tests, c.mutants)
			if diff := cmp.Diff(c.gaps, gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCoverageJoinsRequirementsTestsAndMutants(t *testing.T) {
	catalogue := []Requirement{{ID: "AA-01", Level: Must}, {ID: "AA-02", Level: Must}}
	tests := []Test{{ID: "one", Requirements: []string{"AA-01"}}, {ID: "both", Requirements: []string{"AA-01", "AA-02"}}}
	covered, gaps := Coverage(catalogue, tests, []Mutant{{"a", "AA-01"}, {"b", "AA-02"}, {"c", "AA-01"}})
	if len(gaps) > 0 {
		t.Errorf("gaps %q", gaps)
	}
	got := map[string][2][]string{}
	for _, c := range covered {
		var ids []string
		for _, test := range c.Tests {
			ids = append(ids, test.ID)
		}
		got[c.ID] = [2][]string{ids, c.Mutants}
	}
	want := map[string][2][]string{"AA-01": {{"one", "both"}, {"a", "c"}}, "AA-02": {{"both"}, {"b"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}
