package redact

import (
	"bytes"
	"io"
)

// Finding is something that was withheld.
type Finding struct {
	Kind Kind
	Line int // from 1
}

// Writer withholds secrets from a text that is written in pieces, also one that is spread over several. It keeps a bounded part of the
// text back, so that the end comes with Close.
type Writer struct {
	redactor *Redactor
	out      io.Writer
	told     func(Finding)
	buffer   []byte
	line     int // of the buffer's beginning
}

// maxBuffer is how much of a text a Writer keeps. Of so much all but maxMatch is written: what begins later may not be whole.
const maxBuffer = 4 * maxMatch

// NewWriter writes to out. told, if it is not nil, is told what is withheld.
func (r *Redactor) NewWriter(out io.Writer, told func(Finding)) *Writer {
	return &Writer{redactor: r, out: out, told: told, line: 1}
}

// Write implements io.Writer.
func (w *Writer) Write(text []byte) (n int, err error) {
	for len(text) > 0 {
		part := text[:min(len(text), maxBuffer-len(w.buffer))]
		w.buffer = append(w.buffer, part...)
		text, n = text[len(part):], n+len(part)
		if len(w.buffer) == maxBuffer {
			if err := w.flush(maxBuffer - maxMatch); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Close writes the rest. It does not close what it writes to.
func (w *Writer) Close() error { return w.flush(len(w.buffer)) }

// flush writes about as much of the buffer: to a place that is not within a secret or a mark.
func (w *Writer) flush(end int) error {
	spans := w.redactor.find(w.buffer)
	limits := spans
	for _, mark := range markSpans(w.buffer) {
		limits = append(limits, span{from: mark[0], to: mark[1]})
	}
	for _, s := range limits {
		switch {
		case s.from >= end || s.to <= end:
		case s.from > 0:
			end = s.from
		default:
			end = s.to // what is longer than anything is withheld as far as it is known
		}
	}
	// Which one moved the end does not matter: none overlaps another.
	line, at := w.line, 0
	for i, s := range spans {
		if s.from >= end {
			spans = spans[:i]
			break
		}
		line += bytes.Count(w.buffer[at:s.from], []byte("\n"))
		at = s.from
		if w.told != nil {
			w.told(Finding{Kind: s.kind, Line: line})
		}
	}
	w.line += bytes.Count(w.buffer[:end], []byte("\n"))
	text := w.buffer[:end]
	if len(spans) > 0 {
		text = w.redactor.Bytes(apply(text, spans))
	}
	if _, err := w.out.Write(text); err != nil {
		return err
	}
	w.buffer = append(w.buffer[:0], w.buffer[end:]...)
	return nil
}
