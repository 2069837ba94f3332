package waivers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/suites"
)

var known = Known{
	Catalogue: []suites.Requirement{{ID: "AA-01"}, {ID: "AA-02"}, {ID: "AA-03"}},
	Tests: []suites.Test{
		{ID: "one", Requirements: []string{"AA-01"}},
		{ID: "both", Requirements: []string{"AA-01", "AA-02"}},
		{ID: "other", Requirements: []string{"AA-02"}},
	},
	Subjects: []string{"helm", "manifest"},
}

const head = "apiVersion: wi-e2e.dev/v1alpha1\nkind: Waivers\nwaivers:\n"

// sample is an entry that is good but for the fields that are changed; an empty value leaves the field out.
func sample(changed ...string) string {
	fields := []string{
		"requirement", "AA-01", "subject", "{kind: helm}", "reason", "not mended yet", "link", "https://issues.example/1", "owner", "team-a", "expiry", "2027-01-31",
	}
	for i := 0; i < len(changed); i += 2 {
		replaced := false
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == changed[i] {
				fields[j+1], replaced = changed[i+1], true
			}
		}
		if !replaced {
			fields = append(fields, changed[i], changed[i+1])
		}
	}
	var b strings.Builder
	lead := "- "
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			b.WriteString(lead + fields[i] + ": " + fields[i+1] + "\n")
			lead = "  "
		}
	}
	return b.String()
}

func TestParseNamesTheEntryAndTheField(t *testing.T) {
	for _, c := range []struct{ name, text, err string }{
		{"a requirement", head + sample(), ""},
		{"a test", head + sample("requirement", "", "test", "one"), ""},
		{"a requirement of a test", head + sample("test", "both"), ""},
		{"a case of a test", head + sample("requirement", "", "test", "one", "case", "pod annotation 3600"), ""},
		{"versions", head + sample("subject", `{kind: helm, versions: ">=1.4.0 <1.6.0"}`), ""},
		{"an expiry in quotes", head + sample("expiry", `"2027-01-31"`), ""},
		{"the same of two subjects", head + sample() + sample("subject", "{kind: manifest}"), ""},
		{"no entry at all", "apiVersion: wi-e2e.dev/v1alpha1\nkind: Waivers\n", ""},

		{"no YAML", "\tx", "read the waivers w.yaml: "},
		{"an empty file", "", `w.yaml: it is apiVersion "", kind ""`},
		{"another kind", "apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\n", `kind "RunConfig", want "wi-e2e.dev/v1alpha1", "Waivers"`},
		{"an unknown key", head + sample() + "waiver: []\n", `unknown field "waiver"`},
		{"a key that comes twice", head + sample() + "kind: Waivers\n", `"kind" already set`},
		{"an unknown field of an entry", head + sample() + sample("requirment", "AA-01", "requirement", "AA-02"), `w.yaml entry 2: json: unknown field "requirment"`},
		{"a field of another type", head + sample("reason", "[a]"), "w.yaml entry 1: json: cannot unmarshal array into Go struct field entry.reason"},
		{"an entry that is none", head + "- AA-01\n", "w.yaml entry 1: json: cannot unmarshal string"},
		{"nothing waived", head + sample("requirement", ""), "w.yaml entry 1: requirement: is missing, and so is test"},
		{"a case without its test", head + sample("case", "x"), "entry 1: test: is missing: a case is one of a test"},
		{"an unknown requirement", head + sample("requirement", "AA-09"), `entry 1: requirement: unknown requirement "AA-09"`},
		{"a requirement without a test", head + sample("requirement", "AA-03"), "entry 1: requirement: AA-03 has no test"},
		{"an unknown test", head + sample("requirement", "", "test", "two"), `entry 1: test: unknown test "two"`},
		{"a test of another requirement", head + sample("test", "other"), "entry 1: test: other is not a test of AA-01"},
		{"no subject", head + sample("subject", ""), "entry 1: subject.kind: is missing"},
		{"an unknown subject", head + sample("subject", "{kind: oci}"), `entry 1: subject.kind: unknown subject "oci" (there are: helm, manifest)`},
		{"an unknown field of the subject", head + sample("subject", "{kind: helm, version: 1.5.0}"), `entry 1: json: unknown field "version"`},
		{"no range of versions", head + sample("subject", "{kind: helm, versions: new}"), `entry 1: subject.versions: "new" is not a range`},
		{"no reason", head + sample("reason", ""), "entry 1: reason: is missing"},
		{"a reason of nothing but spaces", head + sample("reason", `"  "`), "entry 1: reason: is missing"},
		{"no link", head + sample("link", ""), "entry 1: link: is missing"},
		{"a link to nowhere", head + sample("link", "'#12'"), `entry 1: link: "#12" is not a URL`},
		{"a link that is a path", head + sample("link", "https:/issues"), "entry 1: link: "},
		{"no owner", head + sample("owner", ""), "entry 1: owner: is missing"},
		{"no expiry", head + sample("expiry", ""), "entry 1: expiry: is missing"},
		{"an expiry that is no date", head + sample("expiry", "31.1.2027"), `entry 1: expiry: "31.1.2027" is not a date`},
		{"a day that does not exist", head + sample("expiry", "2027-02-30"), `entry 1: expiry: "2027-02-30" is not a date`},
		{"the same twice", head + sample() + sample("reason", "again"), "w.yaml entry 2: waives the same as w.yaml entry 1"},
		{"every bad entry", head + sample("owner", "") + sample() + sample("link", "x"), "entry 1: owner: is missing\nw.yaml entry 3: link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := Parse("w.yaml", []byte(c.text), known)
			switch {
			case c.err == "" && (err != nil || w == nil):
				t.Errorf("refused: %v", err)
			case c.err != "" && (err == nil || w != nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "w.yaml")):
				t.Errorf("error %v, want one with %q", err, c.err)
			}
		})
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	if _, err := Load(t.TempDir()+"/none.yaml", known); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestAWaiverIsAboutTheTestsThatItNames(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"all of a requirement", sample(), []string{"one", "both"}},
		{"the test alone", sample("requirement", "", "test", "both"), []string{"both"}},
		{"the test alone, of the requirement", sample("test", "both"), []string{"both"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := parsed(t, c.text)
			if diff := cmp.Diff(c.want, w.entries[0].tests); diff != "" {
				t.Errorf("tests (-want +got):\n%s", diff)
			}
		})
	}
}

func parsed(t *testing.T, entries ...string) *Waivers {
	t.Helper()
	w, err := Parse("w.yaml", []byte(head+strings.Join(entries, "")), known)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func FuzzParse(f *testing.F) {
	f.Add(head + sample("test", "both", "case", "x", "subject", `{kind: helm, versions: "~1.5 || >2"}`))
	f.Add(head + "- null\n- {}\n")
	f.Add("waivers: {}")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Parse("w.yaml", []byte(text), known)
		if (err == nil) != (w != nil) || err != nil && !strings.Contains(err.Error(), "w.yaml") {
			t.Fatalf("waivers %v, error %v", w, err)
		}
		if err != nil {
			return
		}
		for _, one := range w.entries {
			if len(one.tests) == 0 || one.expires.IsZero() || one.Owner == "" || one.Reason == "" {
				t.Errorf("a bad entry is taken: %+v", one)
			}
		}
		record := record(run("one", fail()))
		w.Waive(&record.Tests[0], record.Subject, today)
		w.Judge(record, today)
	})
}
