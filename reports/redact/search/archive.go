package search

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// maxDepth bounds archives in archives.
const maxDepth = 4

// maxZip bounds a ZIP archive, whose list of files is at its end, so that it has to be in memory.
const maxZip = 256 << 20

// format of a file.
type format string

const (
	plain    format = ""
	gzipped  format = "gzip"
	tarball  format = "tar"
	zipped   format = "zip"
	headSize        = 512
)

// magics begin, or for tar are in the head of, files that are packed. Those without a format of ours cannot be looked into.
var magics = []struct {
	at     int
	magic  string
	format format
}{
	{0, "\x1f\x8b", gzipped},
	{257, "ustar", tarball},
	{0, "PK\x03\x04", zipped},
	{0, "PK\x05\x06", zipped}, // without a file
	{0, "\xfd7zXZ\x00", "xz"},
	{0, "\x28\xb5\x2f\xfd", "zstd"},
	{0, "BZh", "bzip2"},
	{0, "\x04\x22\x4d\x18", "lz4"},
	{0, "7z\xbc\xaf\x27\x1c", "7z"},
	{0, "Rar!\x1a\x07", "rar"},
	{0, "LZIP", "lzip"},
	{0, "\x1f\x9d", "compress"},
}

// packed are names of files that are no text, whatever they begin with.
var packed = []string{".gz", ".tgz", ".tar", ".zip", ".xz", ".txz", ".zst", ".bz2", ".lz4", ".7z", ".rar", ".lz", ".lzma", ".br", ".z"}

func formatOf(head []byte) format {
	for _, m := range magics {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.magic)) {
			return m.format
		}
	}
	return plain
}

// look looks at a file, or at those that are packed in it. It is found as name, and by itself called base.
func (l *looker) look(name, base string, from io.Reader, depth int) error {
	buffered := bufio.NewReaderSize(from, headSize)
	head, err := buffered.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f := formatOf(head)
	if f != plain && depth == maxDepth {
		return fmt.Errorf("there are archives in archives more than %d times", maxDepth)
	}
	switch f {
	case plain:
		if extension := strings.ToLower(path.Ext(base)); len(head) > 0 && slices.Contains(packed, extension) {
			return fmt.Errorf("it is named %s, and is nothing of that kind", extension)
		}
		return l.text(name, buffered)
	case gzipped:
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		return l.look(name, unpackedName(base), unpacked, depth+1)
	case tarball:
		return l.tar(name, buffered, depth)
	case zipped:
		return l.zip(name, buffered, depth)
	}
	return fmt.Errorf("it is compressed (%s), which cannot be looked into", f)
}

// unpackedName is that of what is in a file of gzip.
func unpackedName(name string) string {
	switch {
	case strings.HasSuffix(name, ".tgz"):
		return strings.TrimSuffix(name, ".tgz") + ".tar"
	case strings.HasSuffix(name, ".gz"):
		return strings.TrimSuffix(name, ".gz")
	}
	return name
}

func (l *looker) tar(name string, from io.Reader, depth int) error {
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue // a link or a directory holds nothing
		}
		if err := l.look(name+"!"+header.Name, header.Name, archive, depth+1); err != nil {
			return fmt.Errorf("%s: %w", l.Secrets.String(header.Name), err)
		}
	}
}

func (l *looker) zip(name string, from io.Reader, depth int) error {
	data, err := io.ReadAll(io.LimitReader(&bounded{l, from}, maxZip+1))
	if err != nil {
		return err
	}
	if len(data) > maxZip {
		return errTooLarge
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if entry.FileInfo().IsDir() {
			continue
		}
		if err := l.zipEntry(name, entry, depth); err != nil {
			return fmt.Errorf("%s: %w", l.Secrets.String(entry.Name), err)
		}
	}
	return nil
}

// encrypted is the flag of a ZIP entry for which one has to know a password.
const encrypted = 1

func (l *looker) zipEntry(name string, entry *zip.File, depth int) error {
	if entry.Flags&encrypted != 0 {
		return errors.New("it is encrypted")
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	return l.look(name+"!"+entry.Name, entry.Name, content, depth+1)
}
