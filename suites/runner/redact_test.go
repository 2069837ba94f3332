package runner

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/reports/redact/search"
)

// logsOf has one file below a new directory.
func logsOf(t *testing.T, name, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "pods", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLogsAreKeptWithoutSecrets(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2ln"
	secrets := &redact.Redactor{}
	secrets.Add("the-literal-0123")
	mark := redact.Secret.Mark()
	for title, c := range map[string]struct{ content, want string }{
		"a line of a log":            {"read the-literal-0123\n", "read " + mark + "\n"},
		"twice in a line":            {"the-literal-0123the-literal-0123", mark + mark},
		"between bytes of any kind":  {"\x00\xffthe-literal-0123\x00", "\x00\xff" + mark + "\x00"},
		"a token":                    {"token " + token + "\n", "token " + redact.Token.Mark() + "\n"},
		"a file without it":          {"read the-literal-012 3\n", "read the-literal-012 3\n"},
		"an empty file":              {"", ""},
		"a part of it is not secret": {"the-literal-", "the-literal-"},
	} {
		t.Run(title, func(t *testing.T) {
			from, to := logsOf(t, "app.log", c.content), filepath.Join(t.TempDir(), "logs")
			if err := withhold(from, to, secrets); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(to, "pods", "app.log"))
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, error %v; want %q", got, err, c.want)
			}
		})
		t.Run(title+", compressed by the kubelet", func(t *testing.T) {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			_, _ = io.WriteString(w, c.content) // never fails in memory, as Close
			_ = w.Close()
			from, to := logsOf(t, "0.log.gz", packed.String()), filepath.Join(t.TempDir(), "logs")
			if err := withhold(from, to, secrets); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(filepath.Join(to, "pods", "0.log.gz"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			r, err := gzip.NewReader(file)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != c.want {
				t.Errorf("got %q, error %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestNoLogsAreKeptWhereSecretsCannotBeWithheldFromAll(t *testing.T) {
	secrets := &redact.Redactor{}
	to := filepath.Join(t.TempDir(), "logs")
	if err := withhold(filepath.Join(t.TempDir(), "missing"), to, secrets); err == nil {
		t.Error("no error for a directory that is not there")
	}
	from := logsOf(t, "a.log", "fine")
	if err := os.WriteFile(filepath.Join(from, "pods", "b.log"), []byte("\x1f\x8bno gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := withhold(from, to, secrets)
	if err == nil || !strings.Contains(err.Error(), "b.log") || !strings.Contains(err.Error(), "removed") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("something is kept: %v", err)
	}
}

func TestWithoutLogsThereIsNoDirectoryForThem(t *testing.T) {
	to := filepath.Join(t.TempDir(), "logs")
	if err := withhold(t.TempDir(), to, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(to); !os.IsNotExist(err) {
		t.Errorf("%s: %v", to, err)
	}
}

func TestWhatARunSavesHasNoSecret(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2ln"
	secrets := &redact.Redactor{}
	secrets.Add("the-literal-0123")
	finding := reports.Finding{Status: reports.Fail, Message: "got " + token + " and the-literal-0123"}
	record := &reports.Record{APIVersion: reports.APIVersion, Kind: reports.Kind, Tests: []reports.Test{{
		ID: "a", Requirements: []string{"AA-01"}, Status: reports.Fail, Cases: []reports.Case{{Name: "c", Status: reports.Fail, Checks: 1, Findings: []reports.Finding{finding}}},
	}}}
	r := &run{output: t.TempDir(), record: record, secrets: secrets, observer: quiet(t)}
	err := r.phase(t.Context(), "azure", func(context.Context) error {
		r.note("a note with " + token)
		return errors.New("an error with the-literal-0123")
	})
	if err == nil {
		t.Fatal("the phase did not break")
	}
	r.finish(t.Context())
	result := search.Search{Secrets: secrets}.Paths(t.Context(), r.output)
	if len(result.Found) > 0 || len(result.Problems) > 0 || result.Files != 3 {
		t.Errorf("in %d files there is %v (%v)", result.Files, result.Found, result.Problems)
	}
	if got, want := record.Tests[0].Cases[0].Findings[0].Message, "got "+redact.Token.Mark()+" and "+redact.Secret.Mark(); got != want {
		t.Errorf("the summary would be made of %q, want %q", got, want)
	}
	if record.Verdict.ExitCode != reports.ExitEnvironment || r.record != record {
		t.Errorf("the verdict is %+v", record.Verdict)
	}
}
