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
	name    string
	title   string
	code    string
	altered func(azure.FederatedCredential) azure.FederatedCredential // nil: no credential at all
}

// otherIssuer is that of a cluster that does not exist.
const otherIssuer = "https://issuer.wi-e2e.dev/other-cluster/"

var mismatches = []mismatch{
	{"no-credential", "an identity without federated credentials", "AADSTS70025", nil},
	{"other-issuer", "a credential of another issuer", "AADSTS700211", func(c azure.FederatedCredential) azure.FederatedCredential {
		c.Issuer = otherIssuer
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
			Account: app, Identity: suites.Identity{Name: m.name}, Altered: m.altered, Refused: m.code, NoCredential: m.altered == nil,
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
	nobody := uuid.NewString()
	pod := newPod(ctx, t, "refusals", app, program(t, "control", sample), program(t, "nobody", sample, asClient(nobody)))
	for _, m := range mismatches {
		pod.Spec.Containers = append(pod.Spec.Containers, program(t, m.name, sample, asClient(m.clientID(t))))
	}
	outcomes := run(ctx, t, pod)
	t.Case(ctx, "control: an identity that trusts the account", func(_ context.Context, t *suites.T) {
		hasRead(t, "an identity that trusts the account", outcomes["control"], t.Identity(app, reader).ClientID)
	})
	for _, m := range mismatches {
		t.Case(ctx, m.title, func(ctx context.Context, t *suites.T) {
			refused(t, m.title, outcomes[m.name], "token", m.code)
			decided(ctx, t, m.clientID(t), m.code)
		})
	}
	t.Case(ctx, "a client that Azure does not know", func(ctx context.Context, t *suites.T) {
		refused(t, "a client that nobody knows", outcomes["nobody"], "token", "AADSTS700016")
		decided(ctx, t, nobody, "AADSTS700016")
	})
	t.Case(ctx, "a tenant that Azure does not know", func(ctx context.Context, t *suites.T) {
		account := t.ServiceAccount(ctx, "unknown-tenant", map[string]string{
			suites.ClientIDAnnotation: t.Identity(app, reader).ClientID, suites.TenantIDAnnotation: uuid.NewString(),
		})
		o := run(ctx, t, newPod(ctx, t, "unknown-tenant", account, program(t, "app", sample)))["app"]
		refused(t, "a pod of a tenant that nobody knows", o, "token", "AADSTS90002")
	})
}

func (m mismatch) clientID(t *suites.T) string {
	return t.Identity(app, suites.Identity{Name: m.name}).ClientID
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
		if e.ClientID != clientID || e.Service != "entra" {
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

// attempt is a program with a token of its own, and the code of the refusal; "" for none.
type attempt struct {
	name, title, code string
	token             corev1.VolumeProjection
}

// tryAll runs the attempts of a client in one pod.
func tryAll(ctx context.Context, t *suites.T, clientID string, attempts []attempt) {
	pod := newPod(ctx, t, "attempts", app)
	for _, a := range attempts {
		byHand(t, pod, a.name, clientID, a.token)
	}
	outcomes := run(ctx, t, pod)
	for _, a := range attempts {
		t.Case(ctx, a.title, func(ctx context.Context, t *suites.T) {
			if a.code == "" {
				hasRead(t, a.title, outcomes[a.name], clientID)
				return
			}
			refused(t, a.title, outcomes[a.name], "token", a.code)
			decided(ctx, t, clientID, a.code)
		})
	}
}

func foreignTokens(ctx context.Context, t *suites.T) {
	claims, header := claimsOf(ctx, t, app)
	otherCluster, otherKey, otherKeySameID := newForgery(claims, header), newForgery(claims, header), newForgery(claims, header)
	otherCluster.claims["iss"] = otherIssuer
	otherKey.keyID = "other-cluster"
	tryAll(ctx, t, t.Identity(app, reader).ClientID, []attempt{
		{"control", "control: mounted by hand, a token of the cluster for the audience is accepted", "", projected(t.Subject().Audience)},
		{"audience", "a token for another audience", "AADSTS700212", projected("api://wi-e2e-other")},
		{"issuer", "a token of another cluster", "AADSTS700211", otherCluster.mount(ctx, t, "forged-issuer")},
		{"key", "a token that another cluster's key signed in this one's name", "AADSTS7000272", otherKey.mount(ctx, t, "forged-key")},
		{"key-id", "a token that another key signed under the ID of the cluster's own", "AADSTS50027", otherKeySameID.mount(ctx, t, "forged-key-id")},
	})
}

func expiredToken(ctx context.Context, t *suites.T) {
	const lifetime = 3600 // seconds
	claims, header := claimsOf(ctx, t, app)
	signed := func(name string, secondsAgo int64) corev1.VolumeProjection {
		f := newForgery(claims, header)
		f.key = clusterKey(t)
		f.issuedAgo(secondsAgo, lifetime)
		return f.mount(ctx, t, name)
	}
	tryAll(ctx, t, t.Identity(app, reader).ClientID, []attempt{
		{"control", "control: a token that the cluster's key signed now is accepted", "", signed("now", 0)},
		{"expired", "a token that has expired", "AADSTS700024", signed("expired", 2*lifetime)},
		{"early", "a token that is not valid yet", "AADSTS700024", signed("early", -lifetime/2)},
	})
}

// projected is a token of the pod's own account for an audience.
func projected(audience string) corev1.VolumeProjection {
	return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}}
}
