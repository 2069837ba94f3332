package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// command runs the program's command line and returns what it prints and exits with.
func command(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err := root.ExecuteContext(t.Context())
	var exit exitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		code = int(exit)
	case errors.Is(err, errUsage):
		code = reports.ExitUsage
	default:
		code = reports.ExitEnvironment
	}
	if err != nil {
		t.Log(err)
	}
	return stdout.String(), code
}

// saved is a record of tests of those statuses on the disk; alter may be nil.
func saved(t *testing.T, dir, name string, alter func(*reports.Record), statuses ...reports.Status) string {
	t.Helper()
	r := &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind, Run: reports.Run{ID: name, Version: "v1", Finished: time.Now()},
		Subject: reports.Subject{Kind: "helm", Version: "v1.5.1", Images: []reports.Image{{Name: "webhook", Digest: "sha256:" + strings.Repeat("01", 32)}}},
	}
	for i, status := range statuses {
		test := reports.Test{ID: string(rune('a' + i)), Title: "a test", Tier: "admission", Status: status, Requirements: []string{"EXP-03"}, Started: time.Now()}
		test.Cases = []reports.Case{{Name: "x", Status: status, Checks: 1}}
		if status != reports.Pass {
			test.Cases[0].Findings = []reports.Finding{{Status: status, Message: "m"}}
		}
		r.Tests = append(r.Tests, test)
	}
	if alter != nil {
		alter(r)
	}
	q := reports.Requirement{ID: "EXP-03", Level: "MUST"}
	q.Status, q.Tests, q.Cases = r.Fared(q.ID)
	r.Requirements = []reports.Requirement{q}
	r.Count()
	r.Verdict = r.Judge(false, nil)
	path := filepath.Join(dir, name, "record.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReportVerbs(t *testing.T) {
	dir := t.TempDir()
	pass, fail := saved(t, dir, "pass", nil, reports.Pass, reports.Pass), saved(t, dir, "fail", nil, reports.Pass, reports.Fail)
	shard := func(index int) func(*reports.Record) {
		return func(r *reports.Record) {
			r.Run.Shard = &reports.Shard{Index: index, Total: 2, Plan: []string{"a", "b"}}
			r.Tests[0].ID = []string{"a", "b"}[index-1]
		}
	}
	first, second := saved(t, dir, "first", shard(1), reports.Pass), saved(t, dir, "second", shard(2), reports.Pass)
	private, public := keyFiles(t, dir)
	list, merged, signed := filepath.Join(dir, "list.json"), filepath.Join(dir, "merged.json"), filepath.Join(dir, "signed.json")
	policy := filepath.Join(dir, "gate.yaml")
	write(t, policy, "apiVersion: wi-e2e.dev/v1alpha1\nkind: GatePolicy\nlevels: [MUST]\n")
	garbage := filepath.Join(dir, "garbage")
	write(t, garbage, "{")

	// In this order: later steps read what earlier ones write.
	for _, c := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"markdown", "report render --format markdown " + pass, 0, "## ✅ wi-e2e: pass"},
		{"JUnit", "report render --format junit " + fail, 0, `failures="1"`},
		{"CTRF", "report render --format ctrf " + fail, 0, `"failed": 1`},
		{"a conformance report", "report render --format conformance " + pass, 0, "kind: ConformanceReport"},
		{"a badge", "report render --format badge " + pass, 0, "conformant v1.5.1, 1 rule"},
		{"a page", "report render --format html " + pass, 0, "<html"},
		{"a page of several", "report render --format html " + pass + " " + fail, 0, "<html"},
		{"one format of several records", "report render --format junit " + pass + " " + fail, 2, ""},
		{"a format that there is not", "report render --format pdf " + pass, 2, ""},
		{"no format", "report render " + pass, 2, ""},
		{"no record", "report render --format junit", 2, ""},
		{"a record that cannot be read", "report render --format junit " + garbage, 2, ""},
		{"the summary", "report show " + fail, 0, "FAIL  1 of 2 tests failed"},
		{"the summaries of two", "report show " + pass + " " + fail, 0, "PASS  2 tests"},
		{"nothing changed", "report diff " + pass + " " + pass, 0, "nothing changed"},
		{"a regression", "report diff " + pass + " " + fail, 1, "test b: pass → fail"},
		{"what is fixed", "report diff " + fail + " " + pass, 0, "test b: fail → pass"},
		{"one record alone", "report diff " + fail, 2, ""},
		{"a history", "report history " + filepath.Dir(filepath.Dir(pass)), 0, "4 runs"},
		{"a history of nothing", "report history " + filepath.Dir(private), 2, ""},
		{"a list of runs", "report merge --output " + list + " " + pass + " " + fail, 0, ""},
		{"a page of a list", "report render --format html " + list, 0, "<html"},
		{"shards", "report merge --output " + merged + " " + first + " " + second, 0, ""},
		{"what shards make", "report show " + merged, 0, "PASS  2 tests with 2 cases"},
		{"a shard that is missing", "report merge --output " + merged + " " + first, 2, ""},
		{"a merge to nowhere", "report merge " + first + " " + second, 2, ""},
		{"a signature", "report attest --key " + private + " --output " + signed + " " + pass, 0, ""},
		{"a signature of a list", "report attest --key " + private + " " + list, 2, ""},
		{"a signature without a key", "report attest " + pass, 2, ""},
		{"a signature with the public key", "report attest --key " + public + " " + pass, 2, ""},
		{"a signature that is good", "report verify --key " + public + " --record " + pass + " " + signed, 0, "PASSED webhook@sha256:0101"},
		{"a signature of another record", "report verify --key " + public + " --record " + fail + " " + signed, 1, ""},
		{"a signature of nothing", "report verify --key " + public + " " + garbage, 1, ""},
		{"a signature by nobody", "report verify " + signed, 2, ""},
		{"the gate", "gate --policy " + policy + " " + pass, 0, "\nPASSED\n"},
		{"the gate with a signature", "gate --policy " + policy + " --key " + public + " --attestation " + signed + " " + pass, 0, "pass     attestation"},
		{"the gate with the signature of another", "gate --policy " + policy + " --key " + public + " --attestation " + signed + " " + fail, 4, "REFUSED  attestation"},
		{"the gate refuses", "gate --policy " + policy + " " + fail, 4, "EXP-03 (MUST) is fail"},
		{"the gate refuses a shard", "gate --policy " + policy + " " + first, 4, "merge the shards first"},
		{"the gate with a digest", "gate --policy " + policy + " --digest sha256:" + strings.Repeat("01", 32) + " " + pass, 0, "pass     digest"},
		{"the gate with another digest", "gate --policy " + policy + " --digest sha256:" + strings.Repeat("02", 32) + " " + pass, 4, "REFUSED  digest"},
		{"the gate with half a digest", "gate --policy " + policy + " --digest sha256:01 " + pass, 2, ""},
		{"the gate with a digest of nothing", "gate --policy " + policy + " --digest " + strings.Repeat("01", 32) + " " + pass, 2, ""},
		{"the gate with a baseline", "gate --policy " + policy + " --baseline " + pass + " " + pass, 0, "pass     baseline"},
		{"the gate with a better baseline", "gate --policy " + policy + " --baseline " + pass + " " + fail, 4, "REFUSED  baseline"},
		{"the gate without a policy", "gate " + pass, 2, ""},
		{"the gate with a policy that is none", "gate --policy " + garbage + " " + pass, 2, ""},
		{"the gate without a record", "gate --policy " + policy, 2, ""},
		{"the gate with a record that is none", "gate --policy " + policy + " " + garbage, 2, ""},
		{"the gate with a baseline that is none", "gate --policy " + policy + " --baseline " + garbage + " " + pass, 2, ""},
		{"the gate with a key that is none", "gate --policy " + policy + " --key " + garbage + " " + pass, 2, ""},
		{"the gate with an attestation that is not there", "gate --policy " + policy + " --attestation " + garbage + "x " + pass, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := command(t, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want %d; no %q in\n%.2000s", code, c.code, c.want, out)
			}
		})
	}
}

// keyFiles makes a pair of keys in a folder of their own.
func keyFiles(t *testing.T, dir string) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(keys, "key.pem"), filepath.Join(keys, "key.pub.pem")
	write(t, private, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	write(t, public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER})))
	return private, public
}

func TestTheStepSummaryIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary.md")
	write(t, path, "of a step before\n")
	records, err := reports.LoadAll(saved(t, t.TempDir(), "r", nil, reports.Pass))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GITHUB_STEP_SUMMARY", path)
	if err := stepSummary(records[0]); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(got), "of a step before\n## ✅ wi-e2e: pass") {
		t.Errorf("%q, error %v", got, err)
	}
	t.Setenv("GITHUB_STEP_SUMMARY", filepath.Dir(path))
	if err := stepSummary(records[0]); err == nil {
		t.Error("a folder was written to")
	}
	t.Setenv("GITHUB_STEP_SUMMARY", "")
	if err := stepSummary(records[0]); err != nil {
		t.Errorf("without GitHub: %v", err)
	}
}
