package redact

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCopyWithholdsFromEveryStringAndLeavesTheOriginal(t *testing.T) {
	type status string
	type inner struct{ Text string }
	type outer struct {
		Text    string
		Status  status
		Pointer *inner
		None    *inner
		List    []inner
		Texts   []string
		Nothing []string
		Empty   []string
		Pair    [2]string
		Map     map[string]inner
		Counts  map[status]int
		At      time.Time
		Number  float64
	}
	at := time.Date(2026, 11, 23, 6, 0, 0, 5, time.UTC)
	made := func(text string) outer {
		return outer{
			Text: text, Status: "pass", Pointer: &inner{text}, List: []inner{{text}, {"b"}}, Texts: []string{"a", text}, Empty: []string{}, Pair: [2]string{"a", text},
			Map: map[string]inner{"k": {text}}, Counts: map[status]int{"pass": 3}, At: at, Number: 0.5,
		}
	}
	r := &Redactor{}
	r.Add("the-literal")
	given := made("a the-literal and " + jwt)
	if diff := cmp.Diff(made("a "+Secret.Mark()+" and "+Token.Mark()), Copy(r, given)); diff != "" {
		t.Errorf("the copy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(made("a the-literal and "+jwt), given); diff != "" {
		t.Errorf("the original was changed:\n%s", diff)
	}
}
