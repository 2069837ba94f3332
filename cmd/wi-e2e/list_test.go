package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

func TestTheDocumentOfTheRequirementsIsUpToDate(t *testing.T) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := writeRequirements(&want, catalogue, runner.Tests()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Bytes(), got) {
		t.Errorf("docs/requirements.md is stale: go generate ./cmd/wi-e2e (-want +got):\n%s", cmp.Diff(want.String(), string(got)))
	}
}

var (
	sampleRequirements = []suites.Requirement{
		{Section: "Selection", ID: "AA-01", Level: suites.Must, Statement: "Only `a_b` of\n<pods>.", Source: "section 1"},
		{Section: "Selection", ID: "AA-02", Level: suites.Should, Statement: "Others.", Source: "section 1", Since: "1.2.0"},
		{Section: "Windows", ID: "BB-01", Level: suites.Must, Statement: "Nodes.", Source: "section 2", Pending: "#8"},
		{Section: "Windows", ID: "BB-02", Level: suites.Must, Statement: "Images.", Source: "section 2", Pending: "#9", PendingPart: "the *old* ones"},
	}
	sampleTests = []suites.Test{
		{ID: "labels", Tier: suites.Admission, Title: "Labels *count*", Requirements: []string{"AA-01"}},
		{ID: "images", Tier: suites.Exchange, Title: "Images are there", Requirements: []string{"BB-02", "AA-01"}},
	}
)

func TestTheDocumentTellsRuleSourceVersionsAndTests(t *testing.T) {
	var got bytes.Buffer
	if err := writeRequirements(&got, sampleRequirements, sampleTests); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(got.String(), "tests one rule.\n")
	want := "\n## Selection\n" +
		"\n### AA-01 (MUST)\n\nOnly `a_b` of \\<pods>.\n\n- Source: section 1\n- Since: all versions\n" +
		"- Test `labels` (admission): Labels \\*count\\*\n- Test `images` (exchange): Images are there\n" +
		"\n### AA-02 (SHOULD)\n\nOthers.\n\n- Source: section 1\n- Since: 1.2.0\n" +
		"\n## Windows\n" +
		"\n### BB-01 (MUST)\n\nNodes.\n\n- Source: section 2\n- Since: all versions\n- Not tested yet: all of it (issue #8)\n" +
		"\n### BB-02 (MUST)\n\nImages.\n\n- Source: section 2\n- Since: all versions\n- Not tested yet: the \\*old\\* ones (issue #9)\n" +
		"- Test `images` (exchange): Images are there\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestCoverageIsPrintedBothWaysAndExitsWithItsGaps(t *testing.T) {
	mutants := []suites.Mutant{{ID: "every-pod", Requirement: "AA-01"}, {ID: "no-images", Requirement: "BB-02"}}
	var out bytes.Buffer
	if err := printCoverage(&out, sampleRequirements, sampleTests, mutants); err != nil {
		t.Errorf("without a gap: %v", err)
	}
	for _, want := range []string{
		"AA-01 MUST labels,images every-pod", "AA-02 SHOULD none none", "BB-02 MUST images no-images",
		"every-pod AA-01 labels,images", "no-images BB-02 images", "BB-01 #8 all of it", "BB-02 #9 the *old* ones", "4 requirements, 2 tests, 2 mutants, 0 gaps",
	} {
		if !strings.Contains(inSingleSpaces(out.String()), want+"\n") {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "BB-01  MUST") {
		t.Errorf("a rule that no tier decides is among those that are:\n%s", out.String())
	}

	out.Reset()
	var code exitError
	err := printCoverage(&out, sampleRequirements, sampleTests, mutants[:1])
	if !errors.As(err, &code) || int(code) != reports.ExitFailed {
		t.Errorf("with a gap: %v, want exit code %d", err, reports.ExitFailed)
	}
	if !strings.Contains(out.String(), "\ngap: BB-02 has no mutant") || strings.Count(out.String(), "gap: ") != 1 {
		t.Errorf("the gap is not named, or another is:\n%s", out.String())
	}
}

// inSingleSpaces undoes the columns.
func inSingleSpaces(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

func TestListRequirementsRefusesWhatItCannotPrint(t *testing.T) {
	for args, want := range map[string]string{
		"--output html": `unknown output "html"`, "--coverage --output markdown": "coverage is printed as text", "--tier nightly": `unknown tier "nightly"`,
	} {
		cmd := listRequirementsCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(strings.Fields(args))
		err := cmd.Execute()
		var usage *runner.UsageError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, errUsage) && !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error with %q", args, err, want)
		}
	}
}

func TestAMutantNamesATestOfItsRule(t *testing.T) {
	for _, m := range mutants.All() {
		ofRule := func(test suites.Test) bool { return test.ID == m.Test }
		if m.Test != "" && !slices.ContainsFunc(suites.TestsOf(m.Requirement, runner.Tests()), ofRule) {
			t.Errorf("%s names %s, which is no test of %s", m.ID, m.Test, m.Requirement)
		}
	}
}
