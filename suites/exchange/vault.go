package exchange

import (
	"context"
	"net/http"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

func vaultTests() []suites.Test {
	return []suites.Test{{
		ID:    "key-vault-without-token",
		Title: "Key Vault gives the secret to nobody without a token for it",
		Tier:  suites.Exchange, Requirements: []string{"EXC-06"},
		Needs: []suites.Capability{suites.AzureAvailable},
		Body:  vaultWithoutToken,
	}}
}

func vaultWithoutToken(ctx context.Context, t *suites.T) {
	t.Case(ctx, "a request without a token is challenged", func(ctx context.Context, t *suites.T) {
		answer, err := t.Azure().AskVault(ctx, t.Azure().Vault, t.Azure().Secret, "")
		t.Must(err, "ask the vault")
		t.Equal("HTTP status", http.StatusUnauthorized, answer.Status)
		for _, part := range []string{"Bearer ", `authorization="` + strings.TrimSuffix(t.Azure().Authority, "/") + "/" + t.Azure().TenantID + `"`, `resource="` + strings.TrimSuffix(t.Azure().Scope, "/.default") + `"`} {
			t.Check(strings.Contains(answer.Challenge, part), "the challenge lacks %s: %s", part, answer.Challenge)
		}
	})
	t.Case(ctx, "a token for another audience is refused", func(ctx context.Context, t *suites.T) {
		answer, err := t.Azure().AskVault(ctx, t.Azure().Vault, t.Azure().Secret, t.Azure().ManagementScope())
		t.Must(err, "ask the vault with a token for Resource Manager")
		t.Equal("HTTP status", http.StatusUnauthorized, answer.Status)
		t.Equal("code", "AKV10022", answer.Code)
	})
}
