package redact

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretPrefix begins the secrets of runs, so that a redactor of another process, which was told none, knows them.
const secretPrefix = "canary-"

// secretDigits is how many hexadecimal digits follow.
const secretDigits = 48

// NewSecret draws the value that a run's workloads read. Whoever finds it outside the vault has found a leak.
func NewSecret() (string, error) {
	b := make([]byte, secretDigits/2)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("draw a secret: %w", err)
	}
	return secretPrefix + hex.EncodeToString(b), nil
}

// forms are a secret as programs print it: as it is, in a URL or a form, in JSON, in hexadecimal, and in base64 of it or of something
// that it is in the middle of. They are held against texts without regard to case, as an escape has either.
func forms(secret string) []string {
	quoted, _ := json.Marshal(secret) // a string cannot fail
	all := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), string(quoted[1 : len(quoted)-1]), hex.EncodeToString([]byte(secret))}
	all = append(all, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)) // JSON of encoders that leave <, > and & alone
	for offset := range 3 {
		// A short one is in other texts by chance.
		if form := inBase64(secret, offset); len(form) >= 8 {
			all = append(all, form, strings.NewReplacer("+", "-", "/", "_").Replace(form))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// inBase64 is what every base64 text has of a secret that begins in it at a byte which is offset modulo 3.
func inBase64(secret string, offset int) string {
	encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), secret...))
	whole := (offset + len(secret)) * 8 / 6
	return encoded[(offset*8+5)/6 : whole]
}

var (
	plainSecret = regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{%d}`, secretDigits))
	hexSecret   = regexp.MustCompile(fmt.Sprintf(`^(?:3[0-9]|6[1-6]){%d}`, secretDigits))
	// decodedSecret is a secret whose first byte and last digits may not be whole.
	decodedSecret = regexp.MustCompile(fmt.Sprintf(`^%s[0-9a-f]{%d,}`, secretPrefix[1:], secretDigits-1))
)

// secretPatterns recognize what NewSecret draws.
func secretPatterns() []pattern {
	all := []pattern{
		{kind: Secret, anchors: []string{secretPrefix}, match: after(plainSecret)},
		{kind: Secret, anchors: []string{hex.EncodeToString([]byte(secretPrefix))}, match: after(hexSecret)},
	}
	for offset := range 3 {
		all = append(all, pattern{kind: Secret, anchors: []string{strings.ToLower(inBase64(secretPrefix, offset))}, match: func(text []byte, at, _ int) (from, to int) {
			to = at + len(inBase64(secretPrefix+strings.Repeat("0", secretDigits), offset))
			if to > len(text) {
				return 0, 0
			}
			// The characters before it that have a part of it are made up; only the first byte is affected.
			missing := strings.Repeat("A", (offset*8+5)/6)
			decoded := decodeBase64(missing + string(text[at:to]))
			if !decodedSecret.Match(decoded[min(len(decoded), offset+1):]) {
				return 0, 0
			}
			return at, to
		}})
	}
	return all
}

// decodeBase64 decodes of either alphabet as much as can be.
func decodeBase64(text string) []byte {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, _ := base64.RawStdEncoding.Decode(decoded, []byte(text)) // n is what there is before an error
	return decoded[:n]
}
