package operations

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func rotationTests() []suites.Test {
	return []suites.Test{{
		ID:           "key-rotation-with-running-programs",
		Title:        "Running programs exchange on while the signing key rotates, and go on with a new token, without a restart, once that of a withdrawn key is refused",
		Requirements: []string{"ISS-05"},
		Needs: []suites.Capability{
			suites.OwnInstallation, suites.Nodes, suites.AzureAvailable, suites.ShortTokens, suites.ControlPlaneAccess,
			suites.WorkloadImage("go-azidentity"), suites.WorkloadImage("go-msal"), suites.WorkloadImage("python-msal"),
		},
		Trust:   []suites.Trust{{Account: app, Identity: reader}},
		Timeout: 3 * time.Minute, // two restarts of the API server, after which the kubelet may be slow
		Body:    keyRotation,
	}}
}

const (
	// exchangedSoon is less than the five minutes for which SDKs want a token to be good still, so that they exchange at each reading.
	exchangedSoon = time.Minute
	// withdrawn is Entra's code for a token whose key the issuer does not list.
	withdrawn = "AADSTS7000272"

	tokenSecret = "token"
	tokenDir    = "/tokens"
)

// keyRotation has two attempts in one process: one with the token that the kubelet projected before, which is never withdrawn, and one
// with a file that the test renews as the kubelet renews its own, which it does after 8 minutes at the earliest (tier soak). MSAL
// reads a token file at each exchange; Azure Identity keeps what it read for minutes, so that it is there for the first attempt only.
func keyRotation(ctx context.Context, t *suites.T) {
	const began, signs, withdrawal, rotatedBack = "rotation began", "the new key signs", "it is withdrawn", "it was withdrawn"
	t.Must(t.Azure().ShortenTokens(ctx, exchangedSoon), "have Azure give short tokens")
	defer func() {
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
		defer cancel()
		t.Must(t.Azure().ShortenTokens(restore, 0), "have Azure give its usual tokens again")
	}()
	f := startRotated(ctx, t)
	old := f.keyID
	f.await(ctx, t, "its first token", accepted)

	result := streamed(ctx, t, func(s *stream) {
		s.mark(began)
		t.RotateSigningKey(ctx, func() {
			s.mark(signs)
			f.renew(ctx, t)
			t.Check(f.keyID != old, "after the rotation a new token still bears the key ID %s", old)
			f.awaitExchange(ctx, t)
			s.mark(withdrawal)
		})
		s.mark(rotatedBack)
		t.Must(s.await(ctx, aftermath), "look at creates after the rotation")
	})
	// While the API server is away its creates are nobody's failure (OPS-02 looks at that), and it is the gap that is of interest.
	t.Note("the API server was restarted in %d ms and %d ms: %s", (result.at(signs) - result.at(began)).Milliseconds(),
		(result.at(rotatedBack) - result.at(withdrawal)).Milliseconds(), result.figures())
	let := result.of(result.answers, untouched)
	t.Check(len(let) == 0, "labelled pods are admitted without injection while the key rotates: %s", result.describe(let))
	result.expectNone(t, append(result.within(signs, withdrawal), result.between(rotatedBack, "")...))

	f.forgetKeys(ctx, t)
	f.await(ctx, t, "a token of the withdrawn key", func(r workloads.Result) bool { return !r.OK })
	f.renew(ctx, t)
	f.await(ctx, t, "a token of the key that signs now", accepted)
	f.judge(ctx, t)
}

func accepted(r workloads.Result) bool { return r.OK }

// rotated is a pod of programs with a token file that the test renews.
type rotated struct {
	*programs.Running
	renewed []string // containers that have a second attempt, with the file
	keyID   string   // of the file's token
	began   *corev1.Pod
	seen    map[string]int // results of a container, so far
}

// startRotated returns when the programs have read with both tokens.
func startRotated(ctx context.Context, t *suites.T) *rotated {
	f := &rotated{renewed: []string{"go-msal", "python-msal"}, seen: map[string]int{}}
	f.write(ctx, t, func(secret *corev1.Secret) error {
		_, err := t.Kube().CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
		return err
	})
	pod := programs.Pod(ctx, t, "", app, programs.New(t, "go-azidentity", "go-azidentity"))
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	pod.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: tokenSecret}}}}
	for _, name := range f.renewed {
		c := programs.New(t, name, name, workloads.Attempt{}, workloads.Attempt{TokenFile: tokenDir + "/token"})
		c.VolumeMounts = []corev1.VolumeMount{{Name: "token", MountPath: tokenDir, ReadOnly: true}}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	f.Running = programs.Start(ctx, t, "rotated", pod)
	var err error
	f.began, err = f.Pod(ctx, t)
	t.Must(err, "get the pod of the running programs")
	return f
}

// write requests a token of ten minutes and puts it into the Secret. It is one for the emulated Azure, and goes with the namespace.
func (f *rotated) write(ctx context.Context, t *suites.T, put func(*corev1.Secret) error) {
	raw := token(ctx, t)
	f.keyID = keyIDOf(t, raw)
	t.Must(put(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: tokenSecret, Namespace: t.Namespace(ctx)}, StringData: map[string]string{"token": raw},
	}), "write the programs' token file")
}

// renew writes a token of the key that signs now, and has the kubelet look at the pod, which it would do within a minute by itself.
func (f *rotated) renew(ctx context.Context, t *suites.T) {
	f.write(ctx, t, func(secret *corev1.Secret) error {
		_, err := t.Kube().CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{})
		return err
	})
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"wi-e2e.dev/renewed":%q}}}`, time.Now().UTC().Format(time.RFC3339Nano))
	_, err := t.Kube().CoreV1().Pods(f.began.Namespace).Patch(ctx, f.began.Name, types.MergePatchType, patch, patchOptions)
	t.Must(err, "have the kubelet look at the token file")
}

// await returns when each of the programs has a result of the second attempt, after those that were seen, that is as wanted.
func (f *rotated) await(ctx context.Context, t *suites.T, what string, wanted func(workloads.Result) bool) {
	for _, name := range f.renewed {
		began := time.Now()
		results := f.Await(ctx, t, name, func(all []workloads.Result) bool {
			last := len(all) - 1
			return last >= f.seen[name] && last%2 == 1 && wanted(all[last])
		})
		f.seen[name] = len(results)
		t.Note("%s has used %s after %.1f s", name, what, time.Since(began).Seconds())
	}
}

// awaitExchange returns when each of the programs has exchanged the file's token, as Azure has seen it.
func (f *rotated) awaitExchange(ctx context.Context, t *suites.T) {
	for i, name := range f.renewed {
		f.Await(ctx, t, name, func(all []workloads.Result) bool {
			return len(all)%2 == 0 && f.exchanged(ctx, t) > i && all[len(all)-1].OK
		})
	}
	f.await(ctx, t, "a token of the new key", accepted)
}

// exchanged counts the clients that have exchanged a token of the file's key.
func (f *rotated) exchanged(ctx context.Context, t *suites.T) int {
	clients := map[string]bool{}
	for _, e := range programs.Exchanges(ctx, t, app) {
		if e.KeyID == f.keyID {
			clients[e.Client] = true
		}
	}
	return len(clients)
}

// forgetKeys has Azure, which keeps key sets for a day, fetch the issuer's: it does for a key ID that it does not know.
func (f *rotated) forgetKeys(ctx context.Context, t *suites.T) {
	_, rest, _ := strings.Cut(token(ctx, t), ".")
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": "unknown-to-everybody"})
	t.Must(err, "encode the header of a token")
	stranger := base64.RawURLEncoding.EncodeToString(header) + "." + rest
	code := azure.Code(t.Azure().Exchange(ctx, t.Identity(app, reader).ClientID, stranger, t.Azure().Scope))
	t.Equal("refusal of a key that nobody knows", withdrawn, code)
}

// judge expects of the whole time that the token of a key that was good was accepted each time, that of the withdrawn key was refused
// for that, from one moment to another, and that nothing was restarted.
func (f *rotated) judge(ctx context.Context, t *suites.T) {
	for _, name := range f.Containers() {
		all := f.Results(ctx, t, name)
		if !slices.Contains(f.renewed, name) {
			noneFailed(t, name, all)
			continue
		}
		var projected, renewed []workloads.Result
		for i, r := range all {
			if i%2 == 0 {
				projected = append(projected, r)
			} else {
				renewed = append(renewed, r)
			}
		}
		noneFailed(t, name, projected)
		refused := func(r workloads.Result) bool { return !r.OK }
		first := slices.IndexFunc(renewed, refused)
		t.Require(first > 0, "container %s is never refused with the token of a withdrawn key", name)
		after := first + slices.IndexFunc(renewed[first:], accepted) // there is one, see keyRotation
		for _, r := range renewed[first:after] {
			t.Require(string(r.Error.Stage) == "token" && r.Error.Code == withdrawn,
				"container %s should be refused the token of a withdrawn key with %s: %s", name, withdrawn, programs.Describe(r))
		}
		noneFailed(t, name, renewed[after:])
	}
	now, err := f.Pod(ctx, t)
	t.Require(err == nil, "the pod of the running programs is gone: %v", err)
	t.Equal("the pod of the running programs", identity(f.began), identity(now))
}

// token is one of ten minutes, the shortest that there is.
func token(ctx context.Context, t *suites.T) string {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{t.Subject().Audience}, ExpirationSeconds: ptr.To(int64(600)),
	}}
	answer, err := t.Kube().CoreV1().ServiceAccounts(t.Namespace(ctx)).CreateToken(ctx, app, request, metav1.CreateOptions{})
	t.Must(err, "request a token of service account %s", app)
	return answer.Status.Token
}

// keyIDOf is the ID of the key that signed a token.
func keyIDOf(t *suites.T, raw string) string {
	encoded, _, _ := strings.Cut(raw, ".")
	var header struct {
		KeyID string `json:"kid"`
	}
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(decoded, &header)
	}
	t.Must(err, "read the header of a token")
	return header.KeyID
}
