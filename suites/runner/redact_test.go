package runner

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRedactWithholdsTheSecretEverywhere(t *testing.T) {
	const secret = "canary-0123"
	for title, c := range map[string]struct{ content, want string }{
		"a line of a log":            {"read canary-0123\n", "read " + redacted + "\n"},
		"twice in a line":            {"canary-0123canary-0123", redacted + redacted},
		"between bytes of any kind":  {"\x00\xffcanary-0123\x00", "\x00\xff" + redacted + "\x00"},
		"a file without it":          {"read canary-012 3\n", "read canary-012 3\n"},
		"an empty file":              {"", ""},
		"a part of it is not secret": {"canary-", "canary-"},
	} {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "pods", "app.log")
			if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := redact(dir, secret); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file)
			if err != nil || string(got) != c.want {
				t.Errorf("got %q, error %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestRedactKeepsNothingThatItCannotRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("canary-0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Root may read everything but what is not there.
	missing := filepath.Join(dir, "missing")
	if err := redact(missing, "canary-0123"); err == nil {
		t.Error("no error for a directory that is not there")
	}
	if err := redact(dir, ""); err != nil {
		t.Errorf("without a secret: %v", err)
	}
	if content, _ := os.ReadFile(filepath.Join(dir, "a.log")); string(content) != "canary-0123" {
		t.Errorf("without a secret the file became %q", content)
	}
}
