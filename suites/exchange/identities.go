package exchange

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads/goworkload"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
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

// identity of a mismatch. Each row has its own, so that an identity has one credential, and one reason to be refused.
func (m mismatch) identity(w workloads.Workload) suites.Identity {
	if m.altered == nil {
		return suites.Identity{Name: m.name}
	}
	return suites.Identity{Name: m.name + "-" + w.Name}
}

// identityTrust is what the attempts of identities rely on.
func identityTrust(w workloads.Workload) []suites.Trust {
	trust := []suites.Trust{{Account: app, Identity: reader}, {Account: app, Identity: otherReader}, {Account: app, Identity: unprivileged}}
	for _, m := range mismatches {
		trust = append(trust, suites.Trust{
			Account: app, Identity: m.identity(w), Altered: m.altered, Refused: m.code, NoCredential: m.altered == nil,
		})
	}
	return trust
}

// On a cluster that gives its signing key, every row tries expired tokens too. This test says where that is not done.
func expiredTests() []suites.Test {
	return []suites.Test{{
		ID:    "expired-token",
		Title: "A workload gets nothing for a token that has expired",
		Tier:  suites.Exchange, Requirements: []string{"EXC-04"},
		Needs: append(needs(sample), suites.ControlPlaneAccess), Trust: trusted(reader),
		Body: func(ctx context.Context, t *suites.T) {
			w, err := workloads.Find(sample)
			t.Must(err, "find the sample")
			attempts := expired(ctx, t)
			o := run(ctx, t, w, nil, attempts)
			expectAll(ctx, t, w, attempts, o, programs.Asked(ctx, t))
		},
	}}
}

// identities are a row's attempts as other identities, the first as one that only its code names, and with other tokens.
func identities(ctx context.Context, t *suites.T, w workloads.Workload) []attempt {
	inCode, stranger := t.Identity(app, otherReader).ClientID, t.Identity(app, unprivileged).ClientID
	t.Require(inCode != t.Identity(app, reader).ClientID, "the two identities are one")
	attempts := []attempt{
		{title: "an identity that the code names", requirement: "EXC-03", Attempt: asClient(inCode)},
		{title: "control: an identity that trusts the account"},
		{title: "an identity without a role", requirement: "EXC-06", stage: "secret", code: "ForbiddenByRbac", status: http.StatusForbidden, Attempt: asClient(stranger)},
	}
	for _, m := range mismatches {
		attempts = append(attempts, attempt{title: m.title, requirement: "EXC-04", code: m.code, Attempt: asClient(t.Identity(app, m.identity(w)).ClientID)})
	}
	claims, header := claimsOf(ctx, t, app)
	otherCluster, otherKey, otherKeySameID := newForgery(claims, header), newForgery(claims, header), newForgery(claims, header)
	otherCluster.claims["iss"] = otherIssuer
	otherKey.keyID = "other-cluster"
	attempts = append(attempts,
		attempt{title: "a client that Azure does not know", requirement: "EXC-04", code: "AADSTS700016", Attempt: asClient(uuid.NewString())},
		attempt{title: "a tenant that Azure does not know", requirement: "EXC-04", code: "AADSTS90002", Attempt: workloads.Attempt{TenantID: uuid.NewString()}},
		attempt{title: "control: a token of the cluster for the audience, from another file", audience: t.Subject().Audience},
		attempt{title: "a token for another audience", requirement: "EXC-04", code: "AADSTS700212", audience: "api://wi-e2e-other"},
		attempt{title: "a token of another cluster", requirement: "EXC-04", code: "AADSTS700211", forged: otherCluster},
		attempt{title: "a token that another cluster's key signed in this one's name", requirement: "EXC-04", code: "AADSTS7000272", forged: otherKey},
		attempt{title: "a token that another key signed under the ID of the cluster's own", requirement: "EXC-04", code: "AADSTS50027", forged: otherKeySameID},
	)
	if _, ok := t.Env().Cluster.(cluster.SigningKeyRotator); ok {
		attempts = append(attempts, expired(ctx, t)...)
	}
	return attempts
}

// expired are attempts with tokens that the cluster's own key signed.
func expired(ctx context.Context, t *suites.T) []attempt {
	const lifetime = 3600 // seconds
	claims, header := claimsOf(ctx, t, app)
	signed := func(secondsAgo int64) *forgery {
		f := newForgery(claims, header)
		f.key = clusterKey(t)
		f.issuedAgo(secondsAgo, lifetime)
		return f
	}
	return []attempt{
		{title: "control: a token that the cluster's key signed now is accepted", forged: signed(0)},
		{title: "a token that has expired", requirement: "EXC-04", code: "AADSTS700024", forged: signed(2 * lifetime)},
		{title: "a token that is not valid yet", requirement: "EXC-04", code: "AADSTS700024", forged: signed(-lifetime / 2)},
	}
}

// asClient has a workload pass a client ID in code, in place of the injected one.
func asClient(clientID string) workloads.Attempt { return workloads.Attempt{ClientID: clientID} }

// attempt of a workload, and what comes of it: the secret, or a refusal.
type attempt struct {
	workloads.Attempt
	title string
	// requirement is what the case is about; "" for all of the test's, of which it is the control.
	requirement string
	// code of the refusal, "" for none, its stage, "" for the token, and its HTTP status, 0 for any.
	code, stage string
	status      int
	// A token of its own: of the account for an audience, or a forged one.
	audience string
	forged   *forgery
}

// run has the workload make the attempts in one pod, after those that read. Code names the reader where it names nobody else.
func run(ctx context.Context, t *suites.T, w workloads.Workload, read []workloads.Attempt, attempts []attempt) programs.Outcome {
	tokens := newTokenFiles(attempts)
	all := slices.Clone(read)
	for i := range attempts {
		a := &attempts[i].Attempt
		a.ClientID = cmp.Or(a.ClientID, t.Identity(app, reader).ClientID)
		a.TokenFile = tokens.files[i]
		all = append(all, *a)
	}
	pod := programs.Pod(ctx, t, w.Name, app, programs.New(t, "app", w.Name, all...))
	tokens.mount(ctx, t, pod)
	return programs.Run(ctx, t, pod)["app"]
}

// expectAll expects of each attempt's result, and of what Azure was asked meanwhile, what should have come of it.
func expectAll(ctx context.Context, t *suites.T, w workloads.Workload, attempts []attempt, o programs.Outcome, asked []evidence.Entry) {
	for i, a := range attempts {
		t.CaseOf(ctx, a.requirement, a.title, func(ctx context.Context, t *suites.T) {
			r, what, stage := o[i], strings.TrimPrefix(a.title, "control: "), cmp.Or(a.stage, "token")
			switch {
			case a.code == "":
				programs.HasRead(t, what, r, a.ClientID)
			case w.Silent && t.Env().MinimumSDKs && !r.OK && r.Error.Code == "":
				// What the pod cannot know, Azure tells.
				t.Equal("stage of the refusal", goworkload.Stage(stage), r.Error.Stage)
				t.Note("%s: %s", what, programs.Describe(r))
			default:
				programs.Refused(t, what, r, stage, a.code)
				t.Check(a.status == 0 || a.status == r.Error.Status, "HTTP status %d, want %d", r.Error.Status, a.status)
			}
			a.decided(ctx, t, asked)
		})
	}
}

// tokenFiles are the tokens that attempts bring along, in a volume beside the one that is injected.
type tokenFiles struct {
	files   []string // by attempt; "" for those without
	sources []corev1.VolumeProjection
	forged  map[string]*forgery // by the key in the Secret
}

const (
	tokenDir    = "/var/run/secrets/wi-e2e"
	tokenSecret = "forged-tokens"
)

func newTokenFiles(attempts []attempt) *tokenFiles {
	f := &tokenFiles{files: make([]string, len(attempts)), forged: map[string]*forgery{}}
	for i, a := range attempts {
		name := "token-" + string(rune('a'+i))
		switch {
		case a.forged != nil:
			f.forged[name] = a.forged
		case a.audience != "":
			f.sources = append(f.sources, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: a.audience, Path: name}})
		default:
			continue
		}
		f.files[i] = tokenDir + "/" + name
	}
	return f
}

// mount adds the volume to the pod's only container.
func (f *tokenFiles) mount(ctx context.Context, t *suites.T, pod *corev1.Pod) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: tokenSecret}, StringData: map[string]string{}}
	for name, forged := range f.forged {
		secret.StringData[name] = forged.sign(t)
	}
	_, err := t.Kube().CoreV1().Secrets(pod.Namespace).Create(ctx, secret, metav1.CreateOptions{})
	t.Must(err, "create secret %s", tokenSecret)
	sources := append(f.sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: tokenSecret}}})
	const volume = "wi-e2e-tokens"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources},
	}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: tokenDir, ReadOnly: true})
}

// decided expects that Azure decided on the attempt what its pod saw. Only an emulator tells.
func (a attempt) decided(ctx context.Context, t *suites.T, asked []evidence.Entry) {
	if t.Azure().Evidence == nil {
		return
	}
	want := a.code
	if a.stage == "secret" { // the token is granted
		want = ""
	}
	var last string
	for _, e := range asked {
		if !a.sent(e, subjectOf(ctx, t)) {
			continue
		}
		if last = cmp.Or(e.Code, "granted"); e.Code == want {
			t.Check(true, "")
			t.Note("the emulator, request %d: HTTP %d, %s: %s", e.Sequence, e.Status, last, e.Why)
			return
		}
	}
	t.Check(false, "Azure never decided on client %s with %s (its last answer to it: %q)", a.ClientID, cmp.Or(want, "granted"), last)
}

// sent tells whether the request may be the attempt's: of its client for the test's account or, since nobody gets as far with
// a tenant or a client that are not there, for those.
func (a attempt) sent(e evidence.Entry, subject string) bool {
	switch {
	case a.TenantID != "":
		return strings.HasPrefix(e.Path, "/"+a.TenantID+"/")
	case a.code == "AADSTS700016":
		return e.ClientID == a.ClientID
	}
	return e.ClientID == a.ClientID && e.Subject == subject
}
