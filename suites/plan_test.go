package suites

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
)

var (
	sampleCatalogue = []Requirement{
		{ID: "AA-01", Level: Must, Statement: "a", Source: "s"},
		{ID: "AA-02", Level: Should, Statement: "b", Source: "s"},
		{ID: "BB-01", Level: Must, Statement: "c", Source: "s", Since: "1.6.0"},
		{ID: "BB-02", Level: Must, Statement: "d", Source: "s", Pending: "#9"},
	}
	nothing     = func(context.Context, *T) {}
	sampleTests = []Test{
		{ID: "one", Title: "One", Tier: Admission, Requirements: []string{"AA-01"}, Body: nothing},
		{ID: "two", Title: "Two", Tier: Admission, Requirements: []string{"AA-02"}, Body: nothing},
		{ID: "alone", Title: "Alone", Tier: Admission, Requirements: []string{"AA-01"}, Serial: true, Body: nothing},
		{ID: "newer", Title: "Newer", Tier: Admission, Requirements: []string{"BB-01"}, Body: nothing},
		{ID: "owner", Title: "Owner", Tier: Issuer, Requirements: []string{"AA-01"}, Needs: []Capability{ControlPlaneAccess}, Body: nothing},
	}
)

func ids(tests []Test) []string {
	var out []string
	for _, t := range tests {
		out = append(out, t.ID)
	}
	return out
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		name      string
		selection Selection
		want      []string
		err       string
	}{
		{"an empty selection is everything", Selection{}, []string{"one", "two", "alone", "newer", "owner"}, ""},
		{"a tier", Selection{Tiers: []string{"issuer"}}, []string{"owner"}, ""},
		{"named tests, in their own order", Selection{Tests: []string{"two", "one"}}, []string{"one", "two"}, ""},
		{"an exclusion alone leaves the rest", Selection{Tests: []string{"!one"}}, []string{"two", "alone", "newer", "owner"}, ""},
		{"an exclusion beats a name", Selection{Tests: []string{"one", "two", "!one"}}, []string{"two"}, ""},
		{"a requirement", Selection{Requirements: []string{"AA-01"}}, []string{"one", "alone", "owner"}, ""},
		{"all conditions hold together", Selection{Tiers: []string{"admission"}, Requirements: []string{"AA-01"}, Tests: []string{"!alone"}}, []string{"one"}, ""},
		{"an unknown language", Selection{Languages: []string{"cobol"}}, nil, `unknown language "cobol" (there are: dotnet, go, java, javascript, python)`},
		{"an unknown tier", Selection{Tiers: []string{"x"}}, nil, `unknown tier "x" (there are: admission, exchange, proxy, windows, operations, issuer, soak)`},
		{"an unknown test", Selection{Tests: []string{"x"}}, nil, `unknown test "x"`},
		{"an unknown excluded test", Selection{Tests: []string{"!x"}}, nil, `unknown test "x"`},
		{"an unknown requirement", Selection{Requirements: []string{"XX-01"}}, nil, `unknown requirement "XX-01"`},
		{"several mistakes are told at once", Selection{Tiers: []string{"x"}, Tests: []string{"y"}}, nil, `"x" (there are: admission, exchange, proxy, windows, operations, issuer, soak); unknown test "y"`},
		{"a contradiction", Selection{Tiers: []string{"issuer"}, Tests: []string{"one"}}, nil, "the selection matches no test"},
		{"a requirement without a test yet", Selection{Requirements: []string{"BB-02"}}, nil, "BB-02 has no test yet, issue #9 brings it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Select(c.selection, sampleCatalogue, sampleTests)
			if c.err != "" {
				var selection *SelectionError
				if !errors.As(err, &selection) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want a SelectionError with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, ids(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSelectOfLanguagesLeavesOutTheProgramsOfOthers(t *testing.T) {
	goes, python, probe := WorkloadImage("go-azidentity"), WorkloadImage("python-msal"), SelfImage
	tests := []Test{
		{ID: "none"}, {ID: "probe", Needs: []Capability{probe}}, {ID: "go", Needs: []Capability{Nodes, goes, probe}},
		{ID: "python", Needs: []Capability{python}}, {ID: "both", Needs: []Capability{goes, python}},
	}
	for _, c := range []struct {
		languages string
		want      string
	}{
		{"go", "none probe go"},
		{"python", "none probe python"},
		{"java", "none probe"},
		{"python go", "none probe go python both"},
	} {
		selected, err := Select(Selection{Languages: strings.Fields(c.languages)}, sampleCatalogue, tests)
		if got := strings.Join(ids(selected), " "); err != nil || got != c.want {
			t.Errorf("of %s: %s (%v), want %s", c.languages, got, err, c.want)
		}
	}
}

func TestPlanSkipsWhatClusterOrSubjectCannotDo(t *testing.T) {
	plan, err := NewPlan(sampleTests, sampleCatalogue, Facts{Profile: "1.5.1"}, 7)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, p := range plan.Tests {
		if p.Skip != nil {
			reasons[p.Test.ID] = p.Skip.Reason
			if p.Skip.Text == "" {
				t.Errorf("the skip of %s has no text", p.Test.ID)
			}
		}
	}
	if diff := cmp.Diff(map[string]string{"newer": "not-in-version", "owner": "no-control-plane-access"}, reasons); diff != "" {
		t.Error(diff)
	}
	if last := plan.Tests[len(plan.Tests)-2].Test.ID; last != "alone" {
		t.Errorf("the serial test of the tier is not its last: %s stands there", last)
	}
}

func TestPlanRunsEverythingWhereEverythingIsPossible(t *testing.T) {
	plan, err := NewPlan(sampleTests, sampleCatalogue, Facts{Profile: subject.Latest, Capabilities: []Capability{ControlPlaneAccess}}, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plan.Tests {
		if p.Skip != nil {
			t.Errorf("%s is skipped: %v", p.Test.ID, p.Skip)
		}
	}
}

func TestPlanIsAFunctionOfItsSeed(t *testing.T) {
	order := func(seed int64) []string {
		plan, err := NewPlan(sampleTests, sampleCatalogue, Facts{Profile: subject.Latest}, seed)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range plan.Tests {
			out = append(out, p.Test.ID)
		}
		return out
	}
	orders := map[string]bool{}
	for seed := range int64(20) {
		if diff := cmp.Diff(order(seed), order(seed)); diff != "" {
			t.Fatalf("seed %d gives two orders: %s", seed, diff)
		}
		orders[strings.Join(order(seed), " ")] = true
	}
	if len(orders) < 2 {
		t.Error("20 seeds give one order")
	}
}

func TestAPlanOfWhichNothingRunsIsAnError(t *testing.T) {
	only := slices.DeleteFunc(slices.Clone(sampleTests), func(t Test) bool { return t.ID != "owner" })
	if _, err := NewPlan(only, sampleCatalogue, Facts{Profile: subject.Latest}, 1); !errors.Is(err, ErrEmptyPlan) {
		t.Errorf("error %v, want %v", err, ErrEmptyPlan)
	}
}

func TestViolationStatus(t *testing.T) {
	for _, c := range []struct {
		name         string
		requirements []string
		strict       bool
		want         reports.Status
	}{
		{"a MUST fails", []string{"AA-01"}, false, reports.Fail},
		{"a SHOULD warns", []string{"AA-02"}, false, reports.Warn},
		{"a SHOULD fails a strict run", []string{"AA-02"}, true, reports.Fail},
		{"a MUST beside a SHOULD fails", []string{"AA-02", "AA-01"}, false, reports.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ViolationStatus(Test{Requirements: c.requirements}, sampleCatalogue, c.strict); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEveryCapabilityHasAReason(t *testing.T) {
	for _, c := range []Capability{SubjectPods, KnownIssuer, ControlPlaneAccess, CustomTokenEndpoint, NoCustomTokenEndpoint, Nodes, WindowsNodes, AzureAvailable, PreviousVersion, ShortTokens, RenewalTime} {
		if m := missing[c]; m.Reason == "" || m.Text == "" {
			t.Errorf("capability %s has no skip reason", c)
		}
	}
}

func TestATestWhoseImageIsMissingIsSkippedForThat(t *testing.T) {
	selected := []Test{
		{ID: "one", Tier: Admission, Requirements: []string{"AA-01"}},
		{ID: "two", Tier: Exchange, Requirements: []string{"AA-01"}, Needs: []Capability{WorkloadImage("go-msal")}},
	}
	plan, err := NewPlan(selected, sampleCatalogue, Facts{Capabilities: []Capability{WorkloadImage("go-azidentity")}, Profile: subject.Latest}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if skip := plan.Tests[1].Skip; skip == nil || skip.Reason != "image-unavailable" || !strings.Contains(skip.Text, "go-msal") {
		t.Errorf("the test without its image: %+v", skip)
	}
}

func TestATestForABuildOfWindowsIsSkippedWithoutItsNodes(t *testing.T) {
	selected := []Test{
		{ID: "one", Tier: Windows, Requirements: []string{"AA-01"}, Needs: []Capability{WindowsNodes, WindowsNodesOf("10.0.20348")}},
		{ID: "two", Tier: Windows, Requirements: []string{"AA-01"}, Needs: []Capability{WindowsNodes, WindowsNodesOf("10.0.26100")}},
	}
	skips := func(capabilities ...Capability) map[string]string {
		plan, err := NewPlan(selected, sampleCatalogue, Facts{Capabilities: capabilities, Profile: subject.Latest}, 1)
		if err != nil && !errors.Is(err, ErrEmptyPlan) {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, p := range plan.Tests {
			if p.Skip != nil {
				texts[p.Test.ID] = p.Skip.Reason + ": " + p.Skip.Text
			}
		}
		return texts
	}
	none := "no-windows-nodes: the cluster has no ready node with Windows"
	if diff := cmp.Diff(map[string]string{"one": none, "two": none}, skips(Nodes)); diff != "" {
		t.Errorf("without any (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"two": none + " 10.0.26100"}, skips(WindowsNodes, WindowsNodesOf("10.0.20348"))); diff != "" {
		t.Errorf("with those of one build (-want +got):\n%s", diff)
	}
}

func TestTheSkipOfAMissingImageSaysWhatTheFactsSay(t *testing.T) {
	why := reports.Skipped{Reason: "no-minimum-version", Text: "EXC-01 names none"}
	facts := Facts{
		Capabilities: []Capability{WorkloadImage("java-msal")},
		Missing:      map[Capability]reports.Skipped{WorkloadImage("go-msal"): why, WorkloadImage("java-msal"): {Reason: "never-asked"}},
		Profile:      subject.Latest,
	}
	for _, c := range []struct {
		name  string
		needs []Capability
		want  *reports.Skipped
	}{
		{"an image that the facts know of", []Capability{WorkloadImage("go-msal")}, &why},
		{"behind one that is there", []Capability{WorkloadImage("java-msal"), WorkloadImage("go-msal")}, &why},
		{"one that is there is not missing, whatever they say", []Capability{WorkloadImage("java-msal")}, nil},
		{"an image that they know nothing of", []Capability{WorkloadImage("node-msal")}, &reports.Skipped{
			Reason: "image-unavailable", Text: "the cluster has no image node-msal, and images cannot be put on it",
		}},
		{"what is no image has its own reason", []Capability{Nodes, WorkloadImage("go-msal")}, &reports.Skipped{
			Reason: "no-nodes", Text: missing[Nodes].Text,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := skip(Test{Requirements: []string{"AA-01"}, Needs: c.needs}, sampleCatalogue, facts)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("skip (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	withTest := func(change func(*Test)) []Test {
		tests := slices.Clone(sampleTests)
		change(&tests[0])
		return tests
	}
	for _, c := range []struct {
		name      string
		catalogue []Requirement
		tests     []Test
		want      string
	}{
		{"a requirement without a test", append(slices.Clone(sampleCatalogue), Requirement{ID: "CC-01", Level: Must, Statement: "x", Source: "s"}), sampleTests, "CC-01 has no test"},
		{"a pending requirement with a test", []Requirement{{ID: "AA-01", Level: Must, Statement: "x", Source: "s", Pending: "#1"}}, sampleTests, "AA-01 has a test and still says"},
		{"a pending part without a test", append(slices.Clone(sampleCatalogue), Requirement{ID: "CC-01", Level: Must, Statement: "x", Source: "s", Pending: "#1", PendingPart: "y"}), sampleTests, "CC-01 has a pending part"},
		{"a pending part without an issue", []Requirement{{ID: "AA-01", Level: Must, Statement: "x", Source: "s", PendingPart: "y"}}, sampleTests, "AA-01 has a pending part"},
		{"a requirement twice", append(slices.Clone(sampleCatalogue), sampleCatalogue[0]), sampleTests, "AA-01 exists twice"},
		{"an unknown level", []Requirement{{ID: "AA-01", Level: "MAY", Statement: "x", Source: "s"}}, sampleTests, `level "MAY"`},
		{"a malformed id", []Requirement{{ID: "AA-1", Level: Must, Statement: "x", Source: "s", Pending: "#1"}}, sampleTests, `"AA-1" is not like`},
		{"a malformed version", []Requirement{{ID: "AA-01", Level: Must, Statement: "x", Source: "s", Since: "soon"}}, sampleTests, "AA-01: since"},
		{"a test of an unknown requirement", sampleCatalogue, withTest(func(t *Test) { t.Requirements = []string{"ZZ-01"} }), "names the unknown requirement ZZ-01"},
		{"a test of no requirement", sampleCatalogue, withTest(func(t *Test) { t.Requirements = nil }), "names no requirement"},
		{"a test twice", sampleCatalogue, append(slices.Clone(sampleTests), sampleTests[0]), "one exists twice"},
		{"a malformed test id", sampleCatalogue, withTest(func(t *Test) { t.ID = "One Two" }), `"One Two" is not lower-case`},
		{"a trust without Azure", sampleCatalogue, withTest(func(t *Test) { t.Trust = []Trust{{Account: "a", Identity: Identity{Name: "i"}}} }), "has trusts and does not need azure"},
		{"a trust without an account", sampleCatalogue, withTest(func(t *Test) { t.Trust = []Trust{{Identity: Identity{Name: "i"}}} }), "needs an account and an identity"},
		{"a trust twice", sampleCatalogue, withTest(func(t *Test) {
			t.Trust = []Trust{{Account: "a", Identity: Identity{Name: "i"}}, {Account: "a", Identity: Identity{Name: "i", Reads: true}}}
		}), "account a and identity i are listed twice"},
		{"an altered trust without a refusal", sampleCatalogue, withTest(func(t *Test) {
			t.Trust = []Trust{{Account: "a", Identity: Identity{Name: "i"}, Altered: func(c azure.FederatedCredential) azure.FederatedCredential { return c }}}
		}), "needs the code of its refusal"},
		{"a refusal of a trust that is not altered", sampleCatalogue, withTest(func(t *Test) {
			t.Trust = []Trust{{Account: "a", Identity: Identity{Name: "i"}, Refused: "AADSTS700213"}}
		}), "needs the code of its refusal"},
		{"a test without body", sampleCatalogue, withTest(func(t *Test) { t.Body = nil }), "no title or no body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Validate(c.catalogue, c.tests); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if err := Validate(sampleCatalogue, sampleTests); err != nil {
		t.Errorf("a good catalogue is refused: %v", err)
	}
}
