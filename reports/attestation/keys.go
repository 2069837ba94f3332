package attestation

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// ReadPrivateKey reads an ed25519 key in PKCS #8, as PEM: openssl genpkey -algorithm ed25519.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	return readKey[ed25519.PrivateKey](path, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
}

// ReadPublicKey reads an ed25519 public key as PEM: openssl pkey -in KEY -pubout.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	return readKey[ed25519.PublicKey](path, "PUBLIC KEY", x509.ParsePKIXPublicKey)
}

// readKey never has anything of the file in its errors.
func readKey[Key any](path, block string, parse func(der []byte) (any, error)) (Key, error) {
	var none Key
	data, err := os.ReadFile(path)
	if err != nil {
		return none, fmt.Errorf("read the key: %w", err)
	}
	found, _ := pem.Decode(data)
	if found == nil || found.Type != block {
		return none, fmt.Errorf("read the key %s: it has no PEM block %q", path, block)
	}
	parsed, err := parse(found.Bytes)
	if err != nil {
		return none, fmt.Errorf("read the key %s: it is no %s", path, block)
	}
	key, ok := parsed.(Key)
	if !ok {
		return none, fmt.Errorf("read the key %s: it is a %T, want ed25519", path, parsed)
	}
	return key, nil
}
