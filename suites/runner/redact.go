package runner

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// withhold copies the files below a directory, without secrets: programs of somebody else may print what they read, and cluster logs hold what
// pods print. If that cannot be done everywhere, nothing is kept. Links and the like are left out.
func withhold(from, to string, secrets *redact.Redactor) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return withholdFile(path, filepath.Join(to, name), secrets)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("withhold secrets from what goes to %s, which is removed: %w", to, err), os.RemoveAll(to))
	}
	return nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// withholdFile copies one file. What the kubelet has compressed is compressed again.
func withholdFile(from, to string, secrets *redact.Redactor) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buffered := bufio.NewReader(source)
	if magic, _ := buffered.Peek(len(gzipMagic)); bytes.Equal(magic, gzipMagic) {
		err = withholdCompressed(target, buffered, secrets)
	} else {
		err = withholdText(target, buffered, secrets)
	}
	if err = errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(from), err)
	}
	return nil
}

func withholdText(to io.Writer, from io.Reader, secrets *redact.Redactor) error {
	w := secrets.NewWriter(to, nil)
	_, err := io.Copy(w, from)
	return errors.Join(err, w.Close())
}

func withholdCompressed(to io.Writer, from io.Reader, secrets *redact.Redactor) error {
	unpacked, err := gzip.NewReader(from)
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(to)
	return errors.Join(withholdText(packed, unpacked, secrets), packed.Close())
}
