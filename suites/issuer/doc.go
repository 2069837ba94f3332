// Package issuer decides section 10 of the specification: discovery document, JWKS, TokenRequest and the
// rotation of signing keys. It fetches the documents as a relying party does, by the issuer's own URL. It needs no webhook.
//
// Tokens stay in memory: what is reported of them are header fields, claims and lengths.
package issuer
