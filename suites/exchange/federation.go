package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/suites"
)

func federationTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "federated-credential-limit",
			Title: "An identity has up to 20 federated credentials, and the 21st is refused clearly",
			Tier:  suites.Exchange, Requirements: []string{"EXC-07"},
			Needs:   []suites.Capability{suites.AzureAvailable},
			Timeout: 5 * time.Minute, // twenty-one writes that Azure wants one after the other
			Body:    credentialLimit,
		},
		{
			ID:    "federated-credential-propagation",
			Title: "A new federated credential works within the budget, and only its propagation is waited for",
			Tier:  suites.Exchange, Requirements: []string{"EXC-08"},
			Needs:   []suites.Capability{suites.AzureAvailable},
			Timeout: 10 * time.Minute,
			Body:    propagation,
		},
	}
}

// otherRefusals are Resource Manager's codes for reasons that have nothing to do with how many credentials there are. The
// code for the limit itself is not documented.
var otherRefusals = []string{
	"AuthorizationFailed", "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity", "ParentResourceNotFound", "ResourceNotFound",
}

func credentialLimit(ctx context.Context, t *suites.T) {
	identity, err := t.Azure().CreateIdentity(ctx, "limit")
	t.Must(err, "create an identity")
	federate := func(n int) error {
		return t.Azure().Federate(ctx, identity, azure.FederatedCredential{
			Name: fmt.Sprintf("credential-%02d", n), Issuer: "https://issuer.wi-e2e.dev/", Subject: fmt.Sprintf("system:serviceaccount:ns:%d", n), Audience: t.Subject().Audience,
		})
	}
	for n := 1; n <= azure.MaxFederatedCredentials; n++ {
		err := federate(n)
		t.Require(err == nil, "federated credential %d of %d is refused: %v", n, azure.MaxFederatedCredentials, err)
	}
	err = federate(azure.MaxFederatedCredentials + 1)
	t.Require(err != nil, "federated credential %d is accepted", azure.MaxFederatedCredentials+1)
	t.Check(azure.Code(err) != "", "the refusal is no answer of Azure: %v", err)
	t.Check(!azure.IsPropagation(azure.Code(err)), "the refusal looks like one that passes: %v", err)
	t.Check(!slices.Contains(otherRefusals, azure.Code(err)), "the refusal is not about the number: %v", err)
	t.Note("the refusal of the 21st: %v", err)
	// The number is the reason if one that is there can still be written.
	err = federate(azure.MaxFederatedCredentials)
	t.Check(err == nil, "after the refusal, federated credential %d cannot be written again: %v", azure.MaxFederatedCredentials, err)
}

func propagation(ctx context.Context, t *suites.T) {
	a := t.Azure()
	account := t.ServiceAccount(ctx, "late", nil)
	identity, err := a.CreateIdentity(ctx, "late")
	t.Must(err, "create an identity")
	exchange := func(assertion func() string) func(context.Context) error {
		return func(ctx context.Context) error { return a.Exchange(ctx, identity.ClientID, assertion(), a.Scope) }
	}
	good := exchange(func() string { return token(ctx, t, account) })
	err = a.Federate(ctx, identity, azure.FederatedCredential{
		Name: "late", Issuer: issuerOf(ctx, t), Subject: "system:serviceaccount:" + t.Namespace(ctx) + ":" + account, Audience: t.Subject().Audience,
	})
	t.Must(err, "federate an identity")
	attempts, err := a.Propagation.Await(ctx, "", azure.IsPropagation, good)
	t.Require(err == nil, "a new federated credential does not work within %s: %v", a.Propagation.Budget, err)
	t.Note("a new federated credential: %s", attempts)

	// Whatever is wrong beside the propagation is not waited for.
	broken := exchange(func() string { return "no.token.atall" })
	attempts, err = a.Propagation.Await(ctx, "", azure.IsPropagation, broken)
	t.Require(err != nil, "an assertion that is no token is accepted")
	t.Equal("attempts with an assertion that is no token", 1, attempts.Count)
	t.Check(azure.Code(err) != "", "an assertion that is no token is not refused by Azure: %v", err)
}
