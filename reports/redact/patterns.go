package redact

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// pattern is what a kind of secret looks like.
type pattern struct {
	kind Kind
	// anchors, in lower case, are in every one of them; matching is tried wherever one is.
	anchors []string
	// match returns what is to be withheld because of the anchor between at and end; nothing if to is not more than from. It looks no
	// further back than the anchor, but for the few bytes of a key's first line.
	match func(text []byte, at, end int) (from, to int)
}

var patterns = append(secretPatterns(),
	pattern{kind: Token, anchors: []string{"eyj"}, match: matchJWT},
	pattern{kind: Token, anchors: []string{"zxlk"}, match: matchEncodedJWT},
	pattern{kind: PrivateKey, anchors: []string{"private key-----"}, match: matchPEM},
	pattern{kind: PrivateKey, anchors: []string{"ls0tls1crudjti"}, match: matchEncodedPEM},
	pattern{kind: Credential, anchors: []string{"authorization"}, match: matchAuthorization},
	pattern{kind: Credential, anchors: []string{
		"access_token", "accesstoken", "refresh_token", "refreshtoken", "client_assertion", "clientassertion", "client_secret", "clientsecret",
	}, match: matchNamed},
	pattern{kind: StorageKey, anchors: []string{"accountkey"}, match: matchNamed},
	pattern{kind: StorageKey, anchors: []string{`value"`, `value\"`}, match: group(storageKey)},
	// The parameter of a shared access signature, in a URL, in HTML, and in JSON.
	pattern{kind: Signature, anchors: []string{"?sig=", "&sig=", ";sig=", "u0026sig="}, match: group(signature)},
)

// after withholds the anchor with what follows, if that matches.
func after(what *regexp.Regexp) func(text []byte, at, end int) (from, to int) {
	return func(text []byte, at, end int) (from, to int) {
		found := what.FindIndex(text[end:])
		if found == nil {
			return 0, 0
		}
		return at, end + found[1]
	}
}

// group withholds the first group of what follows the anchor.
func group(what *regexp.Regexp) func(text []byte, at, end int) (from, to int) {
	return func(text []byte, _, end int) (from, to int) {
		found := what.FindSubmatchIndex(text[end:])
		if found == nil {
			return 0, 0
		}
		return end + found[2], end + found[3]
	}
}

// maxHeader bounds the header of a token, certificates in it included.
const maxHeader = 4 << 10

// afterHeader is the rest of a JWS or JWE, or the beginning of it if that was cut off.
var afterHeader = regexp.MustCompile(`^[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){0,3}`)

// matchJWT takes for a token what follows a header that names an algorithm. A header on its own is none, nor are claims.
func matchJWT(text []byte, at, _ int) (from, to int) {
	dot := bytes.IndexFunc(text[at:min(len(text), at+maxHeader)], func(r rune) bool { return !isBase64URL(r) })
	if dot < 0 || text[at+dot] != '.' {
		return 0, 0
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(decodeBase64(string(text[at:at+dot])), &header) != nil || header.Algorithm == "" {
		return 0, 0
	}
	rest := afterHeader.FindIndex(text[at+dot+1:])[1] // which matches nothing, too
	if rest == 0 {
		return 0, 0
	}
	return at, at + dot + 1 + rest
}

func isBase64URL(r rune) bool {
	return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// base64Text is a value of a Secret's data, for one.
var base64Text = regexp.MustCompile(`^[A-Za-z0-9+/_-]+={0,2}`)

// matchEncodedJWT is a token in base64.
func matchEncodedJWT(text []byte, at, _ int) (from, to int) {
	found := base64Text.FindIndex(text[at:])
	if found == nil {
		return 0, 0
	}
	decoded := decodeBase64(string(text[at : at+found[1]]))
	if _, to := matchJWT(decoded, 0, 0); to == 0 {
		return 0, 0
	}
	return at, at + found[1]
}

var (
	pemBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]{0,20}$`)
	pemEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]{0,20}PRIVATE KEY-----`)
	// pemText is the text of a key without its end, also on lines of a log, of YAML or in a string of JSON.
	pemText = regexp.MustCompile(`^(?:[A-Za-z0-9+/=\s]|\\+[nrt])*`)
)

// minKey is fewer characters than the text of the shortest key has: a line that only names the format is no key.
const minKey = 32

// matchPEM is a private key, or the beginning of one. Between its lines there may be what a log writes before each.
func matchPEM(text []byte, at, end int) (from, to int) {
	before := max(0, at-40)
	begin := pemBegin.FindIndex(text[before:at])
	if begin == nil {
		return 0, 0
	}
	body := pemText.FindIndex(text[end:])[1]
	to = end + body
	if last := pemEnd.FindIndex(text[end:]); last != nil {
		body, to = last[0], end+last[1]
	}
	if keyCharacters(text[end:end+body]) < minKey {
		return 0, 0
	}
	return before + begin[0], to
}

func keyCharacters(text []byte) (n int) {
	for _, b := range text {
		if r := rune(b); isBase64URL(r) && r != '-' && r != '_' || r == '+' || r == '/' {
			n++
		}
	}
	return n
}

// matchEncodedPEM is a file with a private key in base64: tls.key of a Secret, or client-key-data of a kubeconfig. Certificates are
// left alone.
func matchEncodedPEM(text []byte, at, _ int) (from, to int) {
	found := base64Text.FindIndex(text[at:])
	if found == nil || !bytes.Contains(decodeBase64(string(text[at:at+found[1]])), []byte("PRIVATE KEY-----")) {
		return 0, 0
	}
	return at, at + found[1]
}

// credentials are what follows the name of the header: the scheme stays. A challenge has parameters there, and prose no scheme.
var credentials = regexp.MustCompile(`^\\*["']?\s{0,3}:[\[\s"'\\]{0,6}(?i:bearer|basic|digest|negotiate|ntlm|pop|sharedkey|sharedkeylite) +([A-Za-z0-9+/=._~:-]{8,})`)

func matchAuthorization(text []byte, at, end int) (from, to int) {
	from, to = group(credentials)(text, at, end)
	if to == 0 || isWord(text[from:to]) {
		return 0, 0
	}
	return from, to
}

// isWord says whether a text is one of letters only, as prose is made of.
func isWord(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r < 'a' || r > 'z' })
}

const (
	// named is a value: nothing that stands for one, as $VARIABLE, <placeholder> and ***.
	named = `((?:[^\s"'&,;<>\\(){}\[\]$*]|\\+u00(?:2[bBfF]|3[dD])|\\+/)(?:[^\s"'&,;<>\\]|\\+u00(?:2[bBfF]|3[dD])|\\+/){7,})`
	// unquoted is a value after a colon, as YAML and prose have it: prose has no such words.
	minUnquoted = 20
)

var (
	// A form, a query or a connection string; JSON; and a variable of a container, in YAML or JSON.
	assigned = regexp.MustCompile(`^\\*["']?\s{0,3}=\s{0,3}\\*["']?` + named)
	quoted   = regexp.MustCompile(`^\\*["']?\s{0,3}:\s{0,3}\\*["']` + named)
	variable = regexp.MustCompile(`^\\*["']?,?\s{1,40}\\*["']?value\\*["']?\s{0,3}:\s{0,3}\\*["']?` + named)
	inJSON   = regexp.MustCompile(`^\\*["'],\\*["']value\\*["']:\\*["']` + named)
	colon    = regexp.MustCompile(`^\\*["']?:\s{0,3}` + named)
)

// matchNamed is the value of a parameter, field or variable that has the anchor as its name, or as the end of it.
func matchNamed(text []byte, at, end int) (from, to int) {
	for _, form := range []*regexp.Regexp{assigned, quoted, variable, inJSON} {
		if from, to = group(form)(text, at, end); to > 0 {
			return from, to
		}
	}
	from, to = group(colon)(text, at, end)
	if to-from < minUnquoted || !bytes.ContainsAny(text[from:to], "0123456789") {
		return 0, 0
	}
	return from, to
}

var (
	// storageKey is one of the keys that Resource Manager lists: 64 bytes.
	storageKey = regexp.MustCompile(`^\s{0,3}:\s{0,3}\\*"([A-Za-z0-9+/]{86}==)`)
	signature  = regexp.MustCompile(`^([A-Za-z0-9%+/_-]{32,}={0,2})`)
)
