package html

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

// everyStatus is a record of a run with failures, errors, a flake, waivers, warnings, skips and untested rules.
func everyStatus(t *testing.T) *reports.Record {
	t.Helper()
	r, err := reports.Load(filepath.Join("testdata", "every-status.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rendered(t *testing.T, records ...*reports.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, records...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The golden page is without style and script, which have files of their own.
func TestThePageIsTheGoldenOne(t *testing.T) {
	got := string(rendered(t, everyStatus(t)))
	for _, part := range []string{styleCSS, scriptJS} {
		if !strings.Contains(got, part) {
			t.Fatalf("the page does not have %.40q as it stands", part)
		}
		got = strings.Replace(got, part, "", 1)
	}
	got = regexp.MustCompile(`sha256-.*?&#39;`).ReplaceAllString(got, "(hash)&#39;")
	golden.Compare(t, "every-status.golden.html", []byte(got))
}
