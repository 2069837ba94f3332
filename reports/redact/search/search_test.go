package search

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	jwt   = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2ln"
	clean = "nothing to see\n"
	leaky = "first line\nsecond " + jwt + "\n"
)

// The writers below write into memory, which never fails.

func gzipOf(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, content)
	_ = w.Close()
	return b.String()
}

func tarOf(name, content string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o755})
	_ = w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: name})
	_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644})
	_, _ = io.WriteString(w, content)
	_ = w.Close()
	return b.String()
}

func zipOf(name, content string, flags uint16) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	_, _ = w.Create("dir/")
	f, _ := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Flags: flags})
	_, _ = io.WriteString(f, content)
	_ = w.Close()
	return b.String()
}

// below makes files in a new directory.
func below(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told is a result without the directory.
func told(r Result, dir string) (found, problems []string) {
	for _, f := range r.Found {
		found = append(found, strings.TrimPrefix(f.String(), dir+"/"))
	}
	for _, p := range r.Problems {
		problems = append(problems, strings.TrimPrefix(p.Error(), dir+"/"))
	}
	return found, problems
}

func TestWhatIsFoundInFiles(t *testing.T) {
	deep := gzipOf(leaky)
	for range maxDepth {
		deep = gzipOf(deep)
	}
	for name, c := range map[string]struct {
		files    map[string]string
		found    []string
		problems []string
	}{
		"nothing":                     {files: map[string]string{"a.log": clean, "b/c.json": "{}", "empty": ""}},
		"a token, by file and line":   {files: map[string]string{"a.log": clean, "b/c.log": leaky}, found: []string{"b/c.log:2: a token"}},
		"in a compressed log":         {files: map[string]string{"0.log.gz": gzipOf(leaky)}, found: []string{"0.log.gz:2: a token"}},
		"in a tar archive":            {files: map[string]string{"x.tar": tarOf("y/a.log", leaky)}, found: []string{"x.tar!y/a.log:2: a token"}},
		"in a compressed tar archive": {files: map[string]string{"x.tgz": gzipOf(tarOf("a.log", leaky))}, found: []string{"x.tgz!a.log:2: a token"}},
		"in a ZIP archive":            {files: map[string]string{"x.zip": zipOf("a.log", leaky, 0)}, found: []string{"x.zip!a.log:2: a token"}},
		"in archives of archives":     {files: map[string]string{"x.zip": zipOf("y.tgz", gzipOf(tarOf("a.log", leaky)), 0)}, found: []string{"x.zip!y.tgz!a.log:2: a token"}},
		"in an archive by another name": {
			files: map[string]string{"results": zipOf("a.log", leaky, 0)}, found: []string{"results!a.log:2: a token"},
		},
		"in a file's name, which is not shown": {files: map[string]string{jwt: clean}, found: []string{"(withheld: a token): its name has a token"}},
		"in the name of a file in an archive":  {files: map[string]string{"x.tar": tarOf(jwt, clean)}, found: []string{"x.tar!(withheld: a token): its name has a token"}},

		"compressed by xz":            {files: map[string]string{"a": "\xfd7zXZ\x00rest", "b.log": leaky}, found: []string{"b.log:2: a token"}, problems: []string{"a: it is compressed (xz), which cannot be looked into"}},
		"compressed by zstd":          {files: map[string]string{"a.zst": "\x28\xb5\x2f\xfdrest"}, problems: []string{"a.zst: it is compressed (zstd), which cannot be looked into"}},
		"compressed by bzip2":         {files: map[string]string{"a.log": "BZh91AY"}, problems: []string{"a.log: it is compressed (bzip2), which cannot be looked into"}},
		"compressed without a magic":  {files: map[string]string{"a.br": "\x0b\x02\x80rest"}, problems: []string{"a.br: it is named .br, and is nothing of that kind"}},
		"xz in a tar archive":         {files: map[string]string{"x.tar": tarOf("a.xz", "\xfd7zXZ\x00")}, problems: []string{"x.tar: a.xz: it is compressed (xz), which cannot be looked into"}},
		"a damaged gzip file":         {files: map[string]string{"a.gz": gzipOf(strings.Repeat(clean, 99))[:40]}, problems: []string{"a.gz: unexpected EOF"}},
		"a gzip file with more in it": {files: map[string]string{"a.gz": gzipOf(clean) + leaky}, problems: []string{"a.gz: gzip: invalid header"}},
		"a damaged tar archive":       {files: map[string]string{"a.tar": tarOf("a", leaky)[:3*512+5]}, problems: []string{"a.tar: a: unexpected EOF"}},
		"a damaged ZIP archive":       {files: map[string]string{"a.zip": zipOf("a", clean, 0)[:40]}, problems: []string{"a.zip: zip: not a valid zip file"}},
		"an encrypted ZIP archive":    {files: map[string]string{"a.zip": zipOf("a", clean, encrypted)}, problems: []string{"a.zip: a: it is encrypted"}},
		"archives without end":        {files: map[string]string{"a.gz": deep}, problems: []string{"a.gz: there are archives in archives more than 4 times"}},
		"too large a file":            {files: map[string]string{"a.log": strings.Repeat("a", 50_001), "b.log": clean}, problems: []string{"a.log: it is too large to be looked at"}},
		"a compressed file that is too large unpacked": {
			files: map[string]string{"a.gz": gzipOf(strings.Repeat("a", 50_001))}, problems: []string{"a.gz: it is too large to be looked at"},
		},
		"a ZIP archive that is too large unpacked": {
			files: map[string]string{"a.zip": zipOf("a", strings.Repeat("a", 50_001), 0)}, problems: []string{"a.zip: a: it is too large to be looked at"},
		},
		"a file of the largest size": {files: map[string]string{"a.log": strings.Repeat("a", 50_000)}},
		"no file":                    {problems: []string{"DIR: there is no file in it, so that nothing is known about it"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := below(t, c.files)
			result := Search{MaxBytes: 50_000}.Paths(t.Context(), dir)
			found, problems := told(result, dir)
			if diff := cmp.Diff(c.found, found); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			for i := range problems {
				problems[i] = strings.Replace(problems[i], dir, "DIR", 1)
			}
			if diff := cmp.Diff(c.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if result.Files != len(c.files) {
				t.Errorf("%d files were looked at, there are %d", result.Files, len(c.files))
			}
		})
	}
}

func TestWhatIsNotLookedAtIsAProblem(t *testing.T) {
	dir := below(t, map[string]string{"real/a.log": leaky})
	if err := os.Mkdir(filepath.Join(dir, "links"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"file": "../real/a.log", "directory": "../real", "broken": "../nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, "links", link)); err != nil {
			t.Fatal(err)
		}
	}
	found, problems := told(Search{}.Paths(t.Context(), filepath.Join(dir, "links")), dir)
	if diff := cmp.Diff([]string{"links/file:2: a token"}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"links/broken: no such file or directory",
		"links/directory: it is a link to a directory, which is not followed: name that directory",
	}, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}

	for name, c := range map[string]struct {
		paths []string
		want  string
	}{
		"no path":                  {nil, "there is nothing to look at"},
		"a path that is not there": {[]string{filepath.Join(dir, "nowhere")}, "no such file or directory"},
		"an empty directory beside one with files": {[]string{filepath.Join(dir, "real"), t.TempDir()}, "there is no file in it"},
		"a device": {[]string{os.DevNull}, "it is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			result := Search{}.Paths(t.Context(), c.paths...)
			if len(result.Problems) != 1 || !strings.Contains(result.Problems[0].Error(), c.want) {
				t.Errorf("the problems are %v, want %q", result.Problems, c.want)
			}
		})
	}
}

func TestASearchThatIsInterruptedIsNotClean(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user has had enough"))
	result := Search{}.Paths(ctx, below(t, map[string]string{"a": clean}))
	if len(result.Problems) == 0 || !strings.Contains(result.Problems[0].Error(), "had enough") {
		t.Errorf("the problems are %v", result.Problems)
	}
}
