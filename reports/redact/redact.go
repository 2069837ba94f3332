// Package redact withholds secrets from what a run leaves behind: tokens, private keys, credentials, and the secret that workloads read.
//
// It stands before every sink, at the places that all that goes into one has to pass:
//
//   - the record, and by it every report, summary and annotation: reports.Record.Withhold, called where a run saves its record, and where
//     reports.Parse reads one, so that a report of somebody else's record is clean, too;
//   - what a run, or any other verb, says on the console: reports.Console;
//   - the bundles of failures: bundle.Writer; the logs of a cluster: runner.withhold, before they are in the output directory;
//   - errors that the command prints, and diagnoses: complain and printDiagnosis in cmd/wi-e2e;
//   - the ledger, which refuses an entry that holds a secret: without its name nobody would find again what it names.
//
// Secrets are recognized in two ways. Literals are values that somebody added, in the encodings that programs print. Patterns are what
// credentials look like (patterns.go), as precisely as they can be told from hashes, digests, public keys and claims, which stay: a redactor
// that hides what people need is turned off. A secret that was cut off before it came here is recognized only if its beginning is there.
package redact

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Kind of what is withheld, in the words that are put in its place. They are letters and spaces, which no encoding changes.
type Kind string

// The kinds.
const (
	Secret     Kind = "a secret of the run"
	Token      Kind = "a token"
	PrivateKey Kind = "a private key"
	Credential Kind = "a credential"
	StorageKey Kind = "a storage account key"
	Signature  Kind = "the signature of a URL"
)

// Kinds are all of them.
var Kinds = []Kind{Secret, Token, PrivateKey, Credential, StorageKey, Signature}

// Mark is what stands where something was withheld.
func (k Kind) Mark() string { return "(withheld: " + string(k) + ")" }

// maxMatch bounds what is withheld as one, and so what a Writer has to look ahead. No server takes a longer token.
const maxMatch = 64 << 10

// Redactor withholds what looks like a secret, and the literals that it was told. The zero value and nil know no literal. Its methods may be called at
// the same time.
type Redactor struct {
	mu       sync.RWMutex
	literals [][]byte // in lower case
}

// Add has the redactor withhold a value, as it is and in the encodings that programs print. "" is none.
func (r *Redactor) Add(secret string) {
	if secret == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, form := range forms(secret) {
		r.literals = append(r.literals, lower([]byte(form)))
	}
}

// Bytes is the text without secrets. It is the text itself if there is none.
func (r *Redactor) Bytes(text []byte) []byte {
	// What is left between marks is looked at again until nothing is found: each time there is less of it.
	for {
		spans := r.find(text)
		if len(spans) == 0 {
			return text
		}
		text = apply(text, spans)
	}
}

// String is the text without secrets.
func (r *Redactor) String(text string) string {
	if len(text) < shortest {
		return text
	}
	return string(r.Bytes([]byte(text)))
}

// shortest text that is looked at: nothing that is worth withholding is shorter.
const shortest = 4

// Holds says whether something of the text would be withheld.
func (r *Redactor) Holds(text string) bool { return len(r.find([]byte(text))) > 0 }

// span of a text that is to be withheld.
type span struct {
	from, to int
	kind     Kind
}

// marks are what the redactor itself, and the programs that withhold their own tokens, put in a secret's place.
var marks = regexp.MustCompile(`\(withheld(: (` + strings.Join(kindWords(), "|") + `))?\)`)

func kindWords() []string {
	var words []string
	for _, k := range Kinds {
		words = append(words, string(k))
	}
	return words
}

var markStart = []byte("(withheld")

// markSpans are where marks are. Nothing is recognized in them or across them.
func markSpans(text []byte) [][]int {
	if !bytes.Contains(text, markStart) {
		return nil
	}
	return marks.FindAllIndex(text, -1)
}

// find returns what is to be withheld, in order and without overlaps.
func (r *Redactor) find(text []byte) []span {
	var all []span
	from := 0
	for _, mark := range append(markSpans(text), []int{len(text), len(text)}) {
		for _, s := range r.findBetween(text[from:mark[0]]) {
			all = append(all, span{from + s.from, from + s.to, s.kind})
		}
		from = mark[1]
	}
	return all
}

// findBetween is find in a text without marks.
func (r *Redactor) findBetween(text []byte) []span {
	if len(text) < shortest {
		return nil
	}
	folded := lower(text)
	var all []span
	each := func(needle []byte, found func(at int)) {
		for at := 0; ; at++ {
			next := bytes.Index(folded[at:], needle)
			if next < 0 {
				return
			}
			at += next
			found(at)
		}
	}
	if r != nil {
		r.mu.RLock()
		for _, literal := range r.literals {
			each(literal, func(at int) { all = append(all, span{at, at + len(literal), Secret}) })
		}
		r.mu.RUnlock()
	}
	for _, p := range patterns {
		for _, anchor := range p.anchors {
			each([]byte(anchor), func(at int) {
				if from, to := p.match(text[:min(len(text), at+maxMatch)], at, at+len(anchor)); to > from {
					all = append(all, span{from, to, p.kind})
				}
			})
		}
	}
	return merge(all)
}

// merge makes one of those that overlap, of the kind of the one that begins first, or is longer.
func merge(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	var merged []span
	for _, s := range all {
		if last := len(merged) - 1; last >= 0 && s.from < merged[last].to {
			merged[last].to = max(merged[last].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// apply puts marks where the spans are.
func apply(text []byte, spans []span) []byte {
	var out bytes.Buffer
	from := 0
	for _, s := range spans {
		out.Write(text[from:s.from])
		out.WriteString(s.kind.Mark())
		from = s.to
	}
	out.Write(text[from:])
	return out.Bytes()
}

// lower is the text with ASCII's capital letters made small, byte by byte: offsets in it are those of the text.
func lower(text []byte) []byte {
	folded := make([]byte, len(text))
	for i, b := range text {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		folded[i] = b
	}
	return folded
}
