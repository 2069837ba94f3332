// Package html makes of records one page for people: the verdict first, then what broke with its evidence, then everything else
// that the record has.
//
// The page is a single file. It loads nothing, works from a disk, and forbids itself everything else by its own Content Security
// Policy. The package judges nothing, counts nothing anew, and reads no file but the ones that are embedded in it.
package html

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"

	"github.com/wi-e2e/wi-e2e/reports"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

//go:embed script.js
var scriptJS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"text":    printable,
	"prose":   prose,
	"seconds": seconds,
	"mark":    mark,
	"counted": counted,
	"opened":  opened,
}).Parse(pageHTML))

// Render writes the page of a run, or of several that are to be read side by side.
func Render(w io.Writer, records ...*reports.Record) error {
	if len(records) == 0 {
		return fmt.Errorf("render the HTML report: there is no record")
	}
	p := newPage(slices.SortedStableFunc(slices.Values(records), func(a, b *reports.Record) int { return a.Run.Started.Compare(b.Run.Started) }))
	p.Style, p.Script = template.CSS(styleCSS), template.JS(scriptJS) // both are our own files
	p.Policy = policy()

	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("render the HTML report of run %s: %w", records[0].Run.ID, err)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write the HTML report: %w", err)
	}
	return nil
}

// Write writes the page to path, whole or not at all.
func Write(path string, records ...*reports.Record) error {
	var b bytes.Buffer
	if err := Render(&b, records...); err != nil {
		return err
	}
	return reports.WriteFile(path, b.Bytes())
}

// policy allows the page its own style and script, by their content, and a picture for its tab. No host is ever asked.
func policy() string {
	return "default-src 'none'; style-src " + source(styleCSS) + "; script-src " + source(scriptJS) +
		"; img-src data:; base-uri 'none'; form-action 'none'"
}

func source(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
