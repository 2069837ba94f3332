// Package simulated is a world in this process, in which a tier's tests are proved: an API server with the reference webhook's
// mutation, a node that runs pods, and the emulated Azure, asked with the real SDKs. It conforms. Its functions are there for
// faults to replace, before any test runs, so that each check of a tier can be shown to fail.
//
// There are no containers in it, and no network but the loopback device: what a container's program does is done by
// Node.Programs, and the addresses that a pod's containers call are looked up in Network.
package simulated

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/directory"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
)

// What every Azure has.
const (
	TenantID  = "11111111-1111-4111-8111-111111111111"
	Authority = "https://login.microsoftonline.com/"
	// Scope is that of the vault, in which the secret is.
	Scope       = "https://vault.azure.net/.default"
	SecretName  = "canary"
	SecretValue = "canary-of-the-teeth"

	// The hosts of its services; a vault's name precedes that of the vaults.
	LoginHost      = "login.microsoftonline.com"
	VaultSuffix    = ".vault.azure.net"
	ManagementHost = "management.azure.com"

	operatorNamespace, operatorAccount = "azure", "operator"
)

// Lab is an Azure for many worlds: the emulator, with a vault and a secret in it.
type Lab struct {
	Emulator *emulator.Emulator
	// OtherKey signs in no world: RSA keys are slow to make.
	OtherKey *rsa.PrivateKey

	key      *rsa.PrivateKey // signs in every world at first
	home     *APIServer      // whose account the operator is
	operator azcore.TokenCredential
	made     *azure.Azure
	vault    azure.Vault
	worlds   atomic.Int64

	mu      sync.Mutex
	entries []evidence.Entry
}

// NewLab starts an Azure, to be closed, in which new federated credentials take that long until they hold.
func NewLab(ctx context.Context, propagation time.Duration) (*Lab, error) {
	l := &Lab{}
	var err error
	for _, key := range []**rsa.PrivateKey{&l.key, &l.OtherKey} {
		if *key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, fmt.Errorf("make a signing key: %w", err)
		}
	}
	if l.home, err = newAPIServer(ctx, l.key); err != nil {
		return nil, err
	}
	if err := l.furnish(ctx, propagation); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends it. Its worlds must have been closed.
func (l *Lab) Close() error { return l.home.close() }

// furnish makes the emulator, and in it a vault with the secret.
func (l *Lab) furnish(ctx context.Context, propagation time.Duration) (err error) {
	l.Emulator, err = emulator.New(emulator.Options{
		TenantID: TenantID, Propagation: propagation, Log: logger{l},
		Operator: directory.FederatedCredential{
			Issuer: l.home.URL, Subject: issuer.Subject(operatorNamespace, operatorAccount), Audience: subject.DefaultAudience,
		},
		Issuers: l.home.server.Client(), // all servers of httptest have the same certificate
	})
	if err != nil {
		return err
	}
	transport := &http.Client{Transport: inProcess{l.Emulator}}
	l.operator, err = azidentity.NewClientAssertionCredential(TenantID, emulator.OperatorClientID,
		func(context.Context) (string, error) {
			return l.home.Token(operatorNamespace, operatorAccount, subject.DefaultAudience), nil
		},
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: azcore.ClientOptions{Cloud: clouds.Public.SDK(), Transport: transport}})
	if err != nil {
		return fmt.Errorf("make the operator's credential: %w", err)
	}
	if l.made, err = l.newAzure(ctx, "lab", transport); err != nil {
		return err
	}
	if l.vault, err = l.made.CreateVault(ctx); err != nil {
		return err
	}
	self, err := l.made.Self(ctx)
	if err != nil {
		return err
	}
	if err := l.made.GrantRole(ctx, azure.KeyVaultSecretsOfficer, l.vault.ResourceID, self); err != nil {
		return err
	}
	return l.made.SetSecret(ctx, l.vault, SecretName, SecretValue)
}

// newAzure makes things in a group of its own.
func (l *Lab) newAzure(ctx context.Context, run string, transport *http.Client) (*azure.Azure, error) {
	nobody := func(string, string) error { return nil }
	made, err := azure.New(azure.Options{
		Cloud: clouds.Public, TenantID: TenantID, SubscriptionID: emulator.SubscriptionID, Credential: l.operator, Transport: transport,
		Run: run, Record: nobody, Removed: nobody,
	})
	if err != nil {
		return nil, err
	}
	return made, made.CreateGroup(ctx)
}

// logger takes the emulator's log, which is its evidence.
type logger struct{ *Lab }

func (l logger) Write(line []byte) (int, error) {
	var entry evidence.Entry
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	return len(line), nil
}

// evidenceSince are the entries after a sequence number.
func (l *Lab) evidenceSince(sequence uint64) []evidence.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.entries, func(e evidence.Entry) bool { return e.Sequence > sequence })
	if i < 0 {
		return nil
	}
	return slices.Clone(l.entries[i:])
}
