package exchange

import (
	"context"
	"net/http"
	"strings"

	"github.com/wi-e2e/wi-e2e/suites"
)

func vaultTests() []suites.Test {
	return []suites.Test{{
		ID:    "key-vault-permissions",
		Title: "Key Vault gives the secret to an identity with a role, and to nobody without a token for it",
		Tier:  suites.Exchange, Requirements: []string{"EXC-06"},
		Needs: needs(),
		Trust: []suites.Trust{{Account: app, Identity: reader}, {Account: app, Identity: unprivileged}},
		Body:  vaultPermissions,
	}}
}

func vaultPermissions(ctx context.Context, t *suites.T) {
	granted, stranger := t.Identity(app, reader).ClientID, t.Identity(app, unprivileged).ClientID
	outcomes := run(ctx, t, newPod(ctx, t, "readers", app, program(t, "granted", sample), program(t, "stranger", sample, asClient(stranger))))
	t.Case(ctx, "an identity with the role reads", func(_ context.Context, t *suites.T) {
		hasRead(t, "an identity with the role", outcomes["granted"], granted)
	})
	t.Case(ctx, "an identity without a role has a token, and is forbidden to read", func(_ context.Context, t *suites.T) {
		o := outcomes["stranger"]
		refused(t, "an identity without a role", o, "secret", "ForbiddenByRbac")
		t.Equal("HTTP status", http.StatusForbidden, o.Error.Status)
	})
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
