package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// redacted stands where a secret was.
const redacted = "(withheld: the run's secret)"

// redact withholds a secret from all files below a directory: programs of somebody else may print it, and cluster logs hold
// what pods print. If that cannot be done everywhere, nothing is kept.
func redact(dir, secret string) error {
	if secret == "" {
		return nil // nobody has read one
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(content, []byte(secret)) {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(content, []byte(secret), []byte(redacted)), 0o600)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("withhold the secret from %s, which is removed: %w", dir, err), os.RemoveAll(dir))
	}
	return nil
}
