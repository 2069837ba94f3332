package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plantedToken is a token of nobody.
const plantedToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJl"

func TestReportVerifySecrets(t *testing.T) {
	dir := t.TempDir()
	clean, leaky, packed, empty := filepath.Join(dir, "clean"), filepath.Join(dir, "leaky"), filepath.Join(dir, "packed"), filepath.Join(dir, "empty")
	for _, d := range []string{clean, leaky, packed, empty} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(clean, "a.log"), "fine\n")
	write(t, filepath.Join(leaky, "a.log"), "first\ntoken "+plantedToken+"\n")
	write(t, filepath.Join(packed, "a.log"), "fine\n")
	write(t, filepath.Join(packed, "b.xz"), "\xfd7zXZ\x00")
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stdout string
	}{
		{"nothing is found", []string{clean}, 0, "no secret in 1 files\n"},
		{"a token is found", []string{clean, leaky}, 1, filepath.Join(leaky, "a.log") + ":2: a token\n"},
		{"something cannot be looked into", []string{packed}, 3, ""},
		{"something is found, and something cannot be looked into", []string{leaky, packed}, 3, filepath.Join(leaky, "a.log") + ":2: a token\n"},
		{"an empty directory", []string{empty}, 3, ""},
		{"a path that is not there", []string{filepath.Join(dir, "nowhere")}, 3, ""},
		{"no path", nil, 2, ""},
		{"with a key", []string{clean, "--key", "x"}, 2, ""},
		{"with a record", []string{clean, "--record", "x"}, 2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, code := command(t, append([]string{"report", "verify", "--secrets"}, c.args...)...)
			if code != c.code || stdout != c.stdout {
				t.Errorf("exit code %d, %q, want %d, %q", code, stdout, c.code, c.stdout)
			}
		})
	}
}

func TestErrorsAreToldWithoutSecrets(t *testing.T) {
	t.Setenv("SYSTEM_ACCESSTOKEN", "an-opaque-token-0123")
	for name, args := range map[string][]string{
		"an argument":          {"run", plantedToken},
		"a flag":               {"run", "--" + plantedToken},
		"a value":              {"run", "--tier", plantedToken},
		"a file's name":        {"report", "show", plantedToken},
		"a token of the job's": {"report", "show", "an-opaque-token-0123"},
	} {
		t.Run(name, func(t *testing.T) {
			root := rootCommand()
			root.SetArgs(args)
			err := root.ExecuteContext(t.Context())
			if err == nil {
				t.Fatal("there is no error")
			}
			if raw := err.Error(); !strings.Contains(raw, plantedToken) && !strings.Contains(raw, "an-opaque-token") {
				t.Fatalf("the error says nothing of what was given, so that nothing is tested: %s", raw)
			}
			var told bytes.Buffer
			complain(&told, err)
			if strings.Contains(told.String(), "c2lnbmF0dXJl") || strings.Contains(told.String(), "an-opaque-token") || !strings.Contains(told.String(), "(withheld: a ") {
				t.Errorf("told is %q", told.String())
			}
		})
	}
}
