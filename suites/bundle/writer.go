package bundle

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
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
	secret  func() string

	mu   sync.Mutex
	left int
	full bool // something was left out
}

// NewWriter writes below dir, which it makes when there is something to write. secret is the value to withhold beside tokens; it is asked
// each time, as a run has none at first, and may be "".
func NewWriter(dir string, maxFile, maxAll int, secret func() string) *Writer {
	return &Writer{dir: dir, maxFile: maxFile, left: maxAll, secret: secret}
}

// Write writes a file, unless all that may be written is. Of a long content the end is kept, and the first line says how much is missing.
func (w *Writer) Write(name string, content []byte) (written bool, err error) {
	content = tail(Redact(content, w.secret()), w.maxFile)
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

const withheld = "(withheld)"

// token is what a JWT looks like, or the beginning of one that was cut off: base64 of an object's first key.
var token = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*){0,4}`)

// Redact withholds whatever looks like a token, and a secret, as it is and in base64. "" is no secret.
func Redact(content []byte, secret string) []byte {
	content = token.ReplaceAll(content, []byte(withheld))
	if secret == "" {
		return content
	}
	for _, form := range []string{secret, base64.RawStdEncoding.EncodeToString([]byte(secret))} {
		content = bytes.ReplaceAll(content, []byte(form), []byte(withheld))
	}
	return content
}
