package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/fixtures/doctor"
	"github.com/wi-e2e/wi-e2e/suites"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// diagnoses are what is printed, by golden file.
var diagnoses = map[string]diagnosis.Diagnosis{
	"broken": {
		Findings: []diagnosis.Finding{
			{
				ID: "stale-client-id", Requirement: "SA-04", Severity: diagnosis.Error, Object: "container app of pod shop/cart",
				Problem: `AZURE_CLIENT_ID is "a" as when the pod was created; the annotation is "b" now`, Remedy: "kubectl -n shop rollout restart deployment/cart",
			},
			{
				ID: "pod-not-running", Requirement: "VOL-06", Severity: diagnosis.Warning, Object: "pod shop/cart",
				Problem: "the container waits: CrashLoopBackOff\nback-off \x1b[31m<5m0s>", Remedy: "kubectl describe",
			},
		},
		InOrder:    []diagnosis.Check{{Statement: "the webhook has mutated the pod", Requirements: []string{"SEL-01", "SEL-03"}}},
		NotChecked: []string{"the exchange of the token at Entra ID: not wanted (--no-probe)"},
	},
	"warnings": {
		Findings: []diagnosis.Finding{{
			ID: "skip-comma", Requirement: "SKP-01", Severity: diagnosis.Warning, Object: "pod shop/cart", Problem: "a comma is no separator", Remedy: "use a semicolon",
		}},
		InOrder: []diagnosis.Check{}, NotChecked: []string{},
	},
	"healthy": {
		Findings: []diagnosis.Finding{}, NotChecked: []string{},
		InOrder: []diagnosis.Check{{Statement: "the pod runs", Requirements: []string{"VOL-06"}}},
	},
}

var aPod = diagnosed{Pod: "shop/cart"}

var rulesOfTheTest = []suites.Requirement{
	{ID: "SA-04", Level: suites.Must, Statement: "Annotations are read at pod creation only."},
	{ID: "SKP-01", Level: suites.Must, Statement: "A comma is no separator."},
	{ID: "VOL-06", Level: suites.Must, Statement: "In a running pod the file exists."},
}

func TestADiagnosisIsPrintedAsInTheGoldenFiles(t *testing.T) {
	for name, d := range diagnoses {
		for form, print := range map[string]func(*bytes.Buffer) error{
			".golden.txt":        func(b *bytes.Buffer) error { return writeDiagnosis(b, aPod, d, rulesOfTheTest, false) },
			"-colour.golden.txt": func(b *bytes.Buffer) error { return writeDiagnosis(b, aPod, d, rulesOfTheTest, true) },
			".golden.json":       func(b *bytes.Buffer) error { return writeDiagnosisJSON(b, aPod, d, rulesOfTheTest) },
		} {
			t.Run(name+form, func(t *testing.T) {
				var got bytes.Buffer
				if err := print(&got); err != nil {
					t.Fatal(err)
				}
				expectGolden(t, name+form, got.String())
				if form == ".golden.txt" && strings.Contains(got.String(), "\x1b") {
					t.Error("an escape sequence is in plain text")
				}
			})
		}
	}
}

func TestAClustersDiagnosisIsPrintedAsInTheGoldenFile(t *testing.T) {
	var got bytes.Buffer
	d := diagnosis.Diagnosis{
		Findings: []diagnosis.Finding{
			{
				ID: "webhook-rights", Requirement: "SA-04", Severity: diagnosis.Error, Object: "service account system/webhook",
				Problem: "the webhook may not get serviceaccounts", Remedy: "apply the roles again",
			},
			{ID: "run-rights", Severity: diagnosis.Warning, Object: "you", Problem: "you may not create namespaces", Remedy: "run as somebody who may"},
		},
		InOrder: []diagnosis.Check{{Statement: "a node is ready"}, {Statement: "the webhook is installed", Requirements: []string{"SEL-04"}}},
	}
	if err := writeDiagnosis(&got, diagnosed{Cluster: "dev"}, d, rulesOfTheTest, false); err != nil {
		t.Fatal(err)
	}
	expectGolden(t, "cluster.golden.txt", got.String())
}

func expectGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "diagnose", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWriterThatFailsIsTold(t *testing.T) {
	for name, print := range map[string]func() error{
		"text": func() error { return writeDiagnosis(broken{}, aPod, diagnoses["broken"], rulesOfTheTest, false) },
		"JSON": func() error { return writeDiagnosisJSON(broken{}, aPod, diagnoses["broken"], rulesOfTheTest) },
	} {
		if err := print(); !errors.Is(err, errBroken) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestFindingsCiteRequirementsOfTheCatalogue(t *testing.T) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Concat(diagnosis.Requirements(), doctor.Requirements()) {
		if !slices.ContainsFunc(catalogue, func(r suites.Requirement) bool { return r.ID == id }) {
			t.Errorf("%s is not in the catalogue", id)
		}
	}
}

func TestWrongUseOfDiagnoseIsToldBeforeAnythingIsAsked(t *testing.T) {
	for name, c := range map[string]struct{ args, says string }{
		"no pod":                  {"diagnose pod --cluster c", "NAMESPACE/NAME"},
		"two pods":                {"diagnose pod a/b c/d --cluster c", "one argument"},
		"no namespace":            {"diagnose pod cart --cluster c", `"cart" is not NAMESPACE/NAME`},
		"no name":                 {"diagnose pod shop/ --cluster c", `"shop/" is not NAMESPACE/NAME`},
		"a kind":                  {"diagnose pod shop/pod/cart --cluster c", "is not NAMESPACE/NAME"},
		"no cluster":              {"diagnose pod shop/cart", "which cluster?"},
		"two clusters":            {"diagnose pod shop/cart --cluster c --kubeconfig k", "leave one of them out"},
		"another output":          {"diagnose pod shop/cart --cluster c --output yaml", `not "yaml"`},
		"an image without probe":  {"diagnose pod shop/cart --cluster c --no-probe --image i", "leave one of them out"},
		"something else than pod": {"diagnose deployment shop/cart", `"deployment"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wiE2E(t, strings.Fields(c.args)...); got.code != 2 || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
		})
	}
	t.Run("a cluster that is not there", func(t *testing.T) {
		ownState(t)
		if got := wiE2E(t, "diagnose", "pod", "shop/cart", "--kubeconfig", "/nowhere/config"); got.code != 3 || !strings.Contains(got.stderr, "/nowhere/config") {
			t.Errorf("exit code %d, %s", got.code, got.stderr)
		}
	})
	t.Run("help", func(t *testing.T) {
		got := wiE2E(t, "diagnose", "pod", "--help")
		for _, says := range []string{"Exit codes", "wi-e2e diagnose pod shop/cart-7d9c --cluster dev", "--no-probe", "--image IMAGE"} {
			if !strings.Contains(got.stdout, says) {
				t.Errorf("it does not say %q:\n%s", says, got.stdout)
			}
		}
	})
}
