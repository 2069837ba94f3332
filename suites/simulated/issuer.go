package simulated

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
)

// Claims of a token, as they are in JSON.
type Claims = map[string]any

// Keyring are the signing keys that the API server was given.
type Keyring struct {
	// Current is the key that signs, followed by those that verify only.
	Current []SigningKey
	// Ever are all keys, the first first.
	Ever []SigningKey
}

// SigningKey has the ID that a kube-apiserver gives it.
type SigningKey struct {
	ID      string
	private *rsa.PrivateKey
}

// NewSigningKey names the key.
func NewSigningKey(private *rsa.PrivateKey) SigningKey {
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	return SigningKey{base64.RawURLEncoding.EncodeToString(sum[:]), private}
}

// Keyring is that of now.
func (s *APIServer) Keyring() Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Keyring{slices.Clone(s.keys.Current), slices.Clone(s.keys.Ever)}
}

// SetKeys has the first of the keys sign, and all of them verify.
func (s *APIServer) SetKeys(current ...SigningKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range current {
		if !slices.ContainsFunc(s.keys.Ever, func(k SigningKey) bool { return k.ID == key.ID }) {
			s.keys.Ever = append(s.keys.Ever, key)
		}
	}
	s.keys.Current = current
}

// Token is one of an account, valid for an hour.
func (s *APIServer) Token(namespace, account, audience string) string {
	return s.sign(s.claims(namespace, account, audience, 3600))
}

func (s *APIServer) issuer() string { return s.server.URL }

func subjectOf(namespace, account string) string {
	return "system:serviceaccount:" + namespace + ":" + account
}

// claims are those of a token of an account, as a kube-apiserver makes them.
func (s *APIServer) claims(namespace, account, audience string, seconds int64) Claims {
	now := time.Now().Unix()
	return Claims{
		"iss": s.issuer(), "sub": subjectOf(namespace, account), "aud": []string{audience},
		"iat": now, "nbf": now, "exp": now + seconds, "jti": uuid.NewString(),
		"kubernetes.io": Claims{"namespace": namespace, "serviceaccount": Claims{"name": account, "uid": "uid-of-" + account}},
	}
}

// sign makes a token with the key that signs now.
func (s *APIServer) sign(claims Claims) string {
	key := s.Signs(s.Keyring())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}}, nil)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(encoded(claims))
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (s *APIServer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": s.issuer(), "jwks_uri": s.server.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (s *APIServer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range s.Listed(s.Keyring()) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.private.Public(), KeyID: key.ID, Algorithm: string(jose.RS256), Use: "sig"})
	}
	reply(w, http.StatusOK, set)
}

// simulatedCluster is a cluster whose control plane is ours.
type simulatedCluster struct {
	cluster.Cluster
	api *APIServer
}

var _ cluster.SigningKeyRotator = simulatedCluster{}

func (c simulatedCluster) RESTConfig() (*rest.Config, error) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.api.server.Certificate().Raw})
	return &rest.Config{
		Host: c.api.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}, nil
}

func (c simulatedCluster) ServiceAccountKey() ([]byte, error) {
	return keyutil.MarshalPrivateKeyToPEM(c.api.Keyring().Current[0].private)
}

// restart is how long the API server is away when its keys change. A real one takes longer; the emulator, as Entra ID, does
// not ask an issuer for unknown keys twice within a second.
const restart = 1100 * time.Millisecond

func (c simulatedCluster) SetServiceAccountKeys(ctx context.Context, signing []byte, verify ...[]byte) error {
	var current []SigningKey
	for _, text := range slices.Concat([][]byte{signing}, verify) {
		private, err := keyutil.ParsePrivateKeyPEM(text)
		if err != nil {
			return fmt.Errorf("read a signing key: %w", err)
		}
		key, ok := private.(*rsa.PrivateKey)
		if !ok {
			return errors.New("read a signing key: it is not RSA's")
		}
		current = append(current, NewSigningKey(key))
	}
	select {
	case <-time.After(restart):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.api.SetKeys(current...)
	return nil
}
