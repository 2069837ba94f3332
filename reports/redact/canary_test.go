package redact

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Canaries: nothing of theirs may be left of any text.
const (
	secret = "canary-00112233445566778899aabbccddeeff0011223344556677"
	header = `{"alg":"RS256","kid":"x"}`
	// body is 48 bytes of a key.
	body = "MC4CAQAwBQYDK2VwBCIEIGwCANARYp9h3hQkT0e1n2X4cJ8uVb3D"
)

var (
	jwt = encode(header) + "." + encode(`{"iss":"https://issuer","sub":"s"}`) + "." + encode("signature-of-the-token")
	key = "-----BEGIN PRIVATE KEY-----\n" + body + "\n-----END PRIVATE KEY-----"
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func standard(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func hexadecimal(text string) string { return hex.EncodeToString([]byte(text)) }

// inJSON is a text within a string of JSON.
func escaped(text string) string {
	return strings.NewReplacer("\n", `\n`, `"`, `\"`).Replace(text)
}
