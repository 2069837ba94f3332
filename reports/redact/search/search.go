// Package search looks in files, directories and archives for what package redact withholds.
//
// It fails closed: what cannot be looked at as a whole is a problem, as is to have looked at nothing. It changes no file, and tells of what it
// finds only where that is and of which kind.
package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// Search is what to look for, and how far.
type Search struct {
	Secrets *redact.Redactor
	// MaxBytes is how much of a file is looked at, counting what is packed in it; 0 is DefaultMaxBytes. A larger one is a problem.
	MaxBytes int64
	// Progress is told each file; nil for nobody.
	Progress func(file string)
}

// DefaultMaxBytes is far more than any file of a run has.
const DefaultMaxBytes = 1 << 30

// Found is a secret. The place of it has none.
type Found struct {
	// File is the path, and, for one in an archive, after each '!' its name in there.
	File string
	Line int // 0: it is in the file's name
	Kind redact.Kind
}

func (f Found) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: its name has %s", f.File, f.Kind)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Kind)
}

// Result of a search. Without Problems all files were looked at, and there was at least one below each path.
type Result struct {
	Files    int
	Found    []Found
	Problems []error
}

// Paths looks at files, and at all files below directories.
func (s Search) Paths(ctx context.Context, paths ...string) Result {
	l := &looker{Search: s, ctx: ctx}
	for _, path := range paths {
		before := l.result.Files + len(l.result.Problems)
		if err := filepath.WalkDir(path, l.visit); err != nil {
			l.problem(path, err)
		}
		if l.result.Files+len(l.result.Problems) == before {
			l.problem(path, errors.New("there is no file in it, so that nothing is known about it"))
		}
	}
	if len(paths) == 0 {
		l.result.Problems = append(l.result.Problems, errors.New("there is nothing to look at"))
	}
	return l.result
}

// looker is a search that is going on.
type looker struct {
	Search
	ctx    context.Context
	result Result
	left   int64 // of MaxBytes, for the file of this moment
}

// problem tells of a file that was not looked at as a whole.
func (l *looker) problem(file string, err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the file is named already
	}
	l.result.Problems = append(l.result.Problems, fmt.Errorf("%s: %w", l.Secrets.String(file), err))
}

// visit is a fs.WalkDirFunc. It goes on after problems.
func (l *looker) visit(path string, entry fs.DirEntry, err error) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	if err != nil {
		l.problem(path, err)
		return nil
	}
	if entry.IsDir() {
		return nil
	}
	info, err := os.Stat(path) // what a link leads to goes into an artifact
	switch {
	case err != nil:
		l.problem(path, err)
	case info.IsDir():
		l.problem(path, errors.New("it is a link to a directory, which is not followed: name that directory"))
	case !info.Mode().IsRegular():
		l.problem(path, fmt.Errorf("it is no file (%s)", info.Mode().Type()))
	default:
		l.file(path)
	}
	return nil
}

func (l *looker) file(path string) {
	if l.Progress != nil {
		l.Progress(l.Secrets.String(path))
	}
	file, err := os.Open(path)
	if err != nil {
		l.problem(path, err)
		return
	}
	defer file.Close()
	l.result.Files++
	l.left = cmp.Or(l.MaxBytes, DefaultMaxBytes)
	if err := l.look(path, path, file, 0); err != nil {
		l.problem(path, err)
	}
}

var errTooLarge = errors.New("it is too large to be looked at")

// text looks at a text to its end.
func (l *looker) text(name string, from io.Reader) error {
	if name := filepath.Base(name); l.Secrets.Holds(name) {
		l.result.Found = append(l.result.Found, Found{File: l.Secrets.String(name), Kind: l.kindOf(name)})
	}
	shown := l.Secrets.String(name)
	w := l.Secrets.NewWriter(io.Discard, func(f redact.Finding) {
		l.result.Found = append(l.result.Found, Found{File: shown, Line: f.Line, Kind: f.Kind})
	})
	_, err := io.Copy(w, &bounded{l, from})
	return errors.Join(err, w.Close())
}

func (l *looker) kindOf(text string) (kind redact.Kind) {
	w := l.Secrets.NewWriter(io.Discard, func(f redact.Finding) { kind = f.Kind })
	_, _ = io.WriteString(w, text) // into nothing
	_ = w.Close()
	return kind
}

// bounded reads no more than is left of the file's bound, and nothing once the search is to end.
type bounded struct {
	*looker
	from io.Reader
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	n, err := b.from.Read(into)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
