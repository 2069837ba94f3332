package simulated

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
)

// administrator are the harness' credentials.
const administrator = "administrator"

// authenticated refuses requests without the credentials that they need.
func (s *APIServer) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		public := s.IsDocument(r.URL.Path) && !s.PrivateIssuer
		if !public && r.Header.Get("Authorization") != "Bearer "+administrator {
			refuse(w, apierrors.NewUnauthorized("Unauthorized"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *APIServer) hasAccount(namespace, name string) bool {
	_, ok := s.account(namespace, name)
	return ok
}

// simulatedCluster is a cluster whose control plane is ours.
type simulatedCluster struct {
	cluster.Cluster
	api *APIServer
}

var _ cluster.SigningKeyRotator = simulatedCluster{}

func (c simulatedCluster) Issuer() string { return c.api.AskedIssuer }

func (c simulatedCluster) RESTConfig() (*rest.Config, error) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.api.server.Certificate().Raw})
	return &rest.Config{
		Host: c.api.server.URL + c.api.Prefix, BearerToken: administrator, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}, nil
}

func (c simulatedCluster) ServiceAccountKey() ([]byte, error) {
	return keyutil.MarshalPrivateKeyToPEM(c.api.Keyring().Current[0].Private)
}

// restartOfTrusted is how long an API server is away when its keys change, if Azure trusts its issuer. A real one takes longer; the
// emulator, as Entra ID, does not ask an issuer for unknown keys twice within a second.
const restartOfTrusted = 1100 * time.Millisecond

func (c simulatedCluster) SetServiceAccountKeys(ctx context.Context, signing []byte, verify ...[]byte) error {
	var current []issuer.SigningKey
	for _, text := range slices.Concat([][]byte{signing}, verify) {
		private, err := keyutil.ParsePrivateKeyPEM(text)
		if err != nil {
			return fmt.Errorf("read a signing key: %w", err)
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return errors.New("read a signing key: it is none")
		}
		current = append(current, issuer.NewSigningKey(signer))
	}
	select {
	case <-time.After(c.api.restart):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.api.SetKeys(current...)
	return nil
}
