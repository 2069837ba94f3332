package suites

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
)

// Identity is what tests call a managed identity of the run.
type Identity struct {
	Name string
	// Reads the secrets of the run's vault (role Key Vault Secrets User).
	Reads bool
}

// Trust is a federated credential that a test relies on: the identity trusts a service account of the test's namespace.
// Before the tier begins, account and credential are made, and Azure is known to have the credential everywhere.
type Trust struct {
	// Account is annotated with the client ID of the first identity that it is listed with.
	Account  string
	Identity Identity
	// Altered makes the credential another one than the account's tokens need; NoCredential leaves it out, which leaves the
	// identity without any. Refused is the code of the refusal that follows from the one or the other.
	Altered      func(azure.FederatedCredential) azure.FederatedCredential
	NoCredential bool
	Refused      string
}

// Azure is what the tests have of it.
type Azure struct {
	*azure.Azure
	// TenantID and Scope, the vault's, are what tokens are asked for.
	TenantID, Scope string
	Vault           azure.Vault
	// Secret is the name of the secret in the vault, SecretSHA256 the hash of its value, in hex.
	Secret, SecretSHA256 string
	// Authority is the URL of the authority, as AZURE_AUTHORITY_HOST has it.
	Authority string
	// HostAliases are what pods need to find Azure; none for the real one.
	HostAliases []corev1.HostAlias
	// Evidence is what Azure was asked and decided after a sequence number; nil for the real one, which does not tell.
	Evidence func(ctx context.Context, since uint64) ([]evidence.Entry, error)
	// ShortenTokens has the tokens that are given from now on live that long, zero as long as they usually do; nil for the real Azure
	// (ShortTokens).
	ShortenTokens func(ctx context.Context, lifetime time.Duration) error
	// Propagation bounds the wait until Azure knows a new federated credential.
	Propagation Propagation
	// Trusted are the identities by the trust they were made for. While tests run it is Trust and TrustedBy that may be used.
	Trusted map[TrustKey]azure.Identity
	mu      sync.RWMutex // of Trusted: a test that is executed again gets new ones
}

// Trust keeps the identity that was made for a trust.
func (a *Azure) Trust(key TrustKey, identity azure.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Trusted[key] = identity
}

// TrustedBy is the identity that was made for a trust.
func (a *Azure) TrustedBy(key TrustKey) (identity azure.Identity, ok bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	identity, ok = a.Trusted[key]
	return identity, ok
}

// TrustKey says which trust of which test.
type TrustKey struct{ Test, Account, Identity string }

// Azure is the run's Azure.
func (t *T) Azure() *Azure {
	if t.run.env.Azure == nil {
		t.Broken("test %s needs Azure without saying so (Needs)", t.run.test.ID)
	}
	return t.run.env.Azure
}

// Identity is the managed identity that trusts a service account of the test, as its Trust says.
func (t *T) Identity(account string, identity Identity) azure.Identity {
	found, ok := t.Azure().TrustedBy(TrustKey{t.run.test.ID, account, identity.Name})
	if !ok {
		t.Broken("test %s uses identity %s for account %s without saying so (Trust)", t.run.test.ID, identity.Name, account)
	}
	return found
}

// Image is the image of a workload, or of wi-e2e itself, on the cluster.
func (t *T) Image(name string) string {
	ref, ok := t.run.env.Images[name]
	if !ok {
		t.Broken("test %s uses image %s without saying so (Needs)", t.run.test.ID, name)
	}
	return ref
}

// validateTrust says what is wrong with a test's trusts.
func validateTrust(t Test) (problems []string) {
	problem := func(format string, args ...any) {
		problems = append(problems, "test "+t.ID+": "+fmt.Sprintf(format, args...))
	}
	if len(t.Trust) > 0 && !slices.Contains(t.Needs, AzureAvailable) {
		problem("has trusts and does not need %s", AzureAvailable)
	}
	seen := map[TrustKey]bool{}
	for _, trust := range t.Trust {
		key := TrustKey{t.ID, trust.Account, trust.Identity.Name}
		switch {
		case trust.Account == "" || trust.Identity.Name == "":
			problem("a trust needs an account and an identity")
		case seen[key]:
			problem("account %s and identity %s are listed twice", trust.Account, trust.Identity.Name)
		case trust.NoCredential && trust.Altered != nil:
			problem("a trust that is left out cannot be altered")
		case (trust.NoCredential || trust.Altered != nil) != (trust.Refused != ""):
			problem("a trust that is altered or left out, and no other, needs the code of its refusal")
		}
		seen[key] = true
	}
	return problems
}
