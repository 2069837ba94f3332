package bundle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// Bounds of a run's bundles.
const (
	MaxFile = 256 << 10
	MaxAll  = 64 << 20
)

// Writer writes files below a directory: redacted, and no more than so many bytes. Its methods may be called at the same time.
type Writer struct {
	dir     string
	maxFile int
	secrets *redact.Redactor

	mu   sync.Mutex
	left int
	full bool // something was left out
}

// NewWriter writes below dir, which it makes when there is something to write, without the secrets.
func NewWriter(dir string, maxFile, maxAll int, secrets *redact.Redactor) *Writer {
	return &Writer{dir: dir, maxFile: maxFile, left: maxAll, secrets: secrets}
}

// Write writes a file, unless all that may be written is. Of a long content the end is kept, and the first line says how much is missing.
func (w *Writer) Write(name string, content []byte) (written bool, err error) {
	content = tail(w.secrets.Bytes(content), w.maxFile) // a token that is cut in two could not be recognized any more
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(content) > w.left {
		w.full = true
		return false, fmt.Errorf("%s is left out: the bundles of this run have reached their size", name)
	}
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	w.left -= len(content)
	return true, nil
}

// Full says whether something was left out because all that may be written is.
func (w *Writer) Full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// tail keeps the last lines of a content that is longer than limit.
func tail(content []byte, limit int) []byte {
	if len(content) <= limit {
		return content
	}
	cut := len(content) - limit
	if end := bytes.IndexByte(content[cut:], '\n'); end >= 0 && cut+end+1 < len(content) {
		cut += end + 1
	}
	return append(fmt.Appendf(nil, "(the first %d bytes are left out)\n", cut), content[cut:]...)
}
