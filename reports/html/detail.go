package html

import "unicode/utf8"

// detail bounds the page. A page that a browser takes half a minute to open, or a mail server does not take at all, tells nobody
// anything; so that beyond these limits the page says what it leaves to the record.
type detail struct {
	lean bool // cases without anything to tell are counted, and not listed
	left int  // bytes of evidence
	cut  bool // some evidence was cut
}

const (
	listedCases  = 20_000
	evidenceSize = 3 << 20
	excerptSize  = 16 << 10 // of one message or diff
	briefSize    = 160      // of one when the evidence is used up
)

func detailFor(tests []*test) *detail {
	cases := 0
	for _, t := range tests {
		for _, v := range t.Variants {
			cases += len(v.Cases)
		}
	}
	return &detail{lean: cases > listedCases, left: evidenceSize}
}

// said is what the page says of its limits; empty when it has everything.
func (d *detail) said() string {
	switch {
	case d.lean && d.cut:
		return "This is large: cases that just passed are counted and not listed, and long evidence is cut. All of it is in the record."
	case d.lean:
		return "This is large: cases that just passed are counted and not listed. They are in the record."
	case d.cut:
		return "Long evidence is cut. All of it is in the record."
	}
	return ""
}

// excerpt is as much of a text as there is room for. Its end says that there is more.
func (d *detail) excerpt(s string) string {
	limit := excerptSize
	if d.left < len(s) {
		limit = briefSize
	}
	if len(s) > limit {
		d.cut = true
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit] + "\n… more in the record"
	}
	d.left = max(0, d.left-len(s))
	return s
}
