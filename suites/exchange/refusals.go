package exchange

import (
	"context"
	"strings"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/suites"
)

// mismatch is an identity whose only federated credential does not fit the account, and what comes of it.
type mismatch struct {
	account string
	title   string
	code    string
	altered func(azure.FederatedCredential) azure.FederatedCredential // nil: no credential at all
}

var mismatches = []mismatch{
	{"no-credential", "an identity without federated credentials", "AADSTS70025", nil},
	{"other-issuer", "a credential of another issuer", "AADSTS700211", func(c azure.FederatedCredential) azure.FederatedCredential {
		c.Issuer = "https://issuer.wi-e2e.dev/other-cluster/"
		return c
	}},
	{"other-audience", "a credential for another audience", "AADSTS700212", func(c azure.FederatedCredential) azure.FederatedCredential {
		c.Audience = "api://wi-e2e-other"
		return c
	}},
	{"other-subject", "a credential of another account", "AADSTS700213", func(c azure.FederatedCredential) azure.FederatedCredential {
		c.Subject += "-2"
		return c
	}},
	{"subject-in-case", "a credential whose subject differs in case only", "AADSTS7002138", func(c azure.FederatedCredential) azure.FederatedCredential {
		c.Subject = strings.ToUpper(c.Subject[:1]) + c.Subject[1:]
		return c
	}},
}

func refusalTests() []suites.Test {
	trust := trusted(reader)
	for _, m := range mismatches {
		trust = append(trust, suites.Trust{
			Account: m.account, Identity: suites.Identity{Name: m.account}, Altered: m.altered, Refused: m.code, NoCredential: m.altered == nil,
		})
	}
	return []suites.Test{
		{
			ID:    "exchange-refusals",
			Title: "A pod whose identity does not trust its account, or that is nobody in Azure, gets no token, for the very reason",
			Tier:  suites.Exchange, Requirements: []string{"EXC-04"},
			Needs: needs(), Trust: trust, Body: refusals,
		},
		{
			ID:    "exchange-refusals-foreign-token",
			Title: "A pod gets nothing for a token of another audience or of another cluster",
			Tier:  suites.Exchange, Requirements: []string{"EXC-04"},
			Needs: needs(), Trust: trusted(reader), Body: foreignTokens,
		},
		{
			ID:    "exchange-refusals-expired-token",
			Title: "A pod gets nothing for a token that has expired",
			Tier:  suites.Exchange, Requirements: []string{"EXC-04"},
			Needs: needs(suites.ControlPlaneAccess), Trust: trusted(reader), Body: expiredToken,
		},
	}
}

func refusals(ctx context.Context, t *suites.T) {
	accepted(ctx, t)
	for _, m := range mismatches {
		t.Case(ctx, m.title, func(ctx context.Context, t *suites.T) {
			identity := t.Identity(m.account, suites.Identity{Name: m.account})
			o := run(ctx, t, newPod(ctx, t, m.account, sample, m.account))
			refused(ctx, t, "a pod of account "+m.account, o, "token", m.code)
			decided(ctx, t, identity.ClientID, m.code)
		})
	}
	t.Case(ctx, "a client that Azure does not know", func(ctx context.Context, t *suites.T) {
		nobody := uuid.NewString()
		account := t.ServiceAccount(ctx, "unknown-client", map[string]string{suites.ClientIDAnnotation: nobody})
		refused(ctx, t, "a pod of a client that nobody knows", run(ctx, t, newPod(ctx, t, account, sample, account)), "token", "AADSTS700016")
		decided(ctx, t, nobody, "AADSTS700016")
	})
	t.Case(ctx, "a tenant that Azure does not know", func(ctx context.Context, t *suites.T) {
		account := t.ServiceAccount(ctx, "unknown-tenant", map[string]string{
			suites.ClientIDAnnotation: t.Identity(app, reader).ClientID, suites.TenantIDAnnotation: uuid.NewString(),
		})
		refused(ctx, t, "a pod of a tenant that nobody knows", run(ctx, t, newPod(ctx, t, account, sample, account)), "token", "AADSTS90002")
	})
}

// accepted is the control beside refusals: the same pod with nothing wrong.
func accepted(ctx context.Context, t *suites.T) {
	t.Case(ctx, "control: a pod whose identity trusts its account reads the secret", func(ctx context.Context, t *suites.T) {
		hasRead(t, "a pod of a trusted account", run(ctx, t, newPod(ctx, t, "control", sample, app)), t.Identity(app, reader).ClientID)
	})
}

// decided expects that Azure refused the client with the code that its pod saw. Only an emulator tells.
func decided(ctx context.Context, t *suites.T, clientID, code string) {
	if t.Azure().Evidence == nil {
		return
	}
	entries, err := t.Azure().Evidence(ctx, 0)
	t.Must(err, "read the emulator's evidence")
	var last string
	for _, e := range entries {
		if e.ClientID != clientID || e.Service != "entra" || e.Path == "" {
			continue
		}
		last = e.Code
		if e.Code == code {
			t.Check(true, "")
			t.Note("the emulator, request %d: HTTP %d, %s: %s", e.Sequence, e.Status, e.Code, e.Why)
			return
		}
	}
	t.Check(false, "Azure never refused client %s with %s (its last answer to it: %q)", clientID, code, last)
}

func foreignTokens(ctx context.Context, t *suites.T) {
	clientID := t.Identity(app, reader).ClientID
	own := projected(t.Subject().Audience)
	t.Case(ctx, "control: mounted by hand, a token of the cluster for the audience is accepted", func(ctx context.Context, t *suites.T) {
		hasRead(t, "a pod with a token mounted by hand", run(ctx, t, newPod(ctx, t, "control", sample, app, byHand(t, clientID, own))), clientID)
	})
	t.Case(ctx, "a token for another audience", func(ctx context.Context, t *suites.T) {
		o := run(ctx, t, newPod(ctx, t, "audience", sample, app, byHand(t, clientID, projected("api://wi-e2e-other"))))
		refused(ctx, t, "a token for another audience", o, "token", "AADSTS700212")
	})
	claims, header := claimsOf(ctx, t, app)
	for _, c := range []struct {
		name, title, code string
		forge             func(*forgery)
	}{
		{"issuer", "a token of another cluster", "AADSTS700211", func(f *forgery) { f.claims["iss"] = "https://issuer.wi-e2e.dev/other-cluster/" }},
		{"key", "a token that another cluster's key signed in this one's name", "AADSTS7000272", func(f *forgery) { f.keyID = "other-cluster" }},
		{"key-id", "a token that another key signed under the ID of the cluster's own", "AADSTS50027", func(*forgery) {}},
	} {
		t.Case(ctx, c.title, func(ctx context.Context, t *suites.T) {
			f := newForgery(t, claims, header)
			c.forge(f)
			o := run(ctx, t, newPod(ctx, t, c.name, sample, app, byHand(t, clientID, f.mount(ctx, t, "forged-"+c.name))))
			refused(ctx, t, c.title, o, "token", c.code)
		})
	}
}

func expiredToken(ctx context.Context, t *suites.T) {
	clientID := t.Identity(app, reader).ClientID
	claims, header := claimsOf(ctx, t, app)
	for _, c := range []struct {
		name, title string
		age         int64 // seconds since it was issued, of a token for an hour
		code        string
	}{
		{"control", "control: a token that the cluster's key signed now is accepted", 0, ""},
		{"expired", "a token that has expired", 2 * 3600, "AADSTS700024"},
		{"early", "a token that is not valid yet", -1800, "AADSTS700024"},
	} {
		t.Case(ctx, c.title, func(ctx context.Context, t *suites.T) {
			f := newForgery(t, claims, header)
			f.key = clusterKey(t)
			f.issuedAgo(c.age, 3600)
			o := run(ctx, t, newPod(ctx, t, c.name, sample, app, byHand(t, clientID, f.mount(ctx, t, "forged-"+c.name))))
			if c.code == "" {
				hasRead(t, c.title, o, clientID)
				return
			}
			refused(ctx, t, c.title, o, "token", c.code)
		})
	}
}

// projected is a token of the pod's own account for an audience.
func projected(audience string) corev1.VolumeProjection {
	return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}}
}
