package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func tokenTests() []suites.Test {
	needs := []suites.Capability{suites.Nodes, suites.SelfImage}
	return []suites.Test{
		{
			ID:    "token-file",
			Title: "In a running pod the token file can be read by every container's user and written by none",
			Tier:  suites.Exchange, Requirements: []string{"VOL-06"},
			Needs: needs, Body: tokenFile,
		},
		{
			ID:    "token-claims",
			Title: "The token says exactly whose it is, for whom and for how long",
			Tier:  suites.Exchange, Requirements: []string{"VOL-07"},
			Needs: needs, Body: tokenClaims,
		},
	}
}

// annotatedAccount has an identity that exists nowhere: these tests exchange nothing.
func annotatedAccount(ctx context.Context, t *suites.T) string {
	return t.ServiceAccount(ctx, "probed", map[string]string{suites.ClientIDAnnotation: "5d2f6a0c-63f1-4c0b-9e57-2f0d7c1b8a44"})
}

// newProbe is a labelled pod of one or more probes, one for each user.
func newProbe(ctx context.Context, t *suites.T, name, account string, users ...int64) *corev1.Pod {
	pod := programs.Pod(ctx, t, name, account)
	for i, user := range users {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: "probe-" + string(rune('a'+i)), Image: t.Image(selfImage), ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{probe.Verb},
			SecurityContext: &corev1.SecurityContext{RunAsUser: &user},
		})
	}
	return pod
}

// selfImage is wi-e2e's own, as T.Image has it.
var selfImage, _ = suites.SelfImage.ImageName()

// report runs a pod of probes and returns the pod as it ran and what they report, in the containers' order.
func report(ctx context.Context, t *suites.T, pod *corev1.Pod) (*corev1.Pod, []probe.Report) {
	finished, err := pods.Run(ctx, t.Kube(), pod)
	t.Must(err, "run pod %s", pod.Name)
	var reports []probe.Report
	for _, c := range pod.Spec.Containers {
		var r probe.Report
		t.Must(json.Unmarshal(finished.Containers[c.Name].Log, &r), "read the report of container %s of pod %s", c.Name, pod.Name)
		reports = append(reports, r)
	}
	return finished.Pod, reports
}

func tokenFile(ctx context.Context, t *suites.T) {
	account := annotatedAccount(ctx, t)
	for _, c := range []struct {
		name, title string
		users       []int64
	}{
		{"non-root", "a non-root container without fsGroup", []int64{1000}},
		{"several", "containers of several users, root among them", []int64{1000, 2000, 0}},
	} {
		t.Case(ctx, c.title, func(ctx context.Context, t *suites.T) {
			pod, reports := report(ctx, t, newProbe(ctx, t, c.name, account, c.users...))
			t.Check(pod.Spec.SecurityContext == nil || pod.Spec.SecurityContext.FSGroup == nil, "the pod has an fsGroup")
			for i, r := range reports {
				t.Equal("user of the probe", int(c.users[i]), r.UID)
				t.Check(r.File != "" && r.ReadError == "", "user %d cannot read %q: %s", r.UID, r.File, r.ReadError)
				t.Check(r.Malformed == "", "what user %d reads is no JWT: %s", r.UID, r.Malformed)
				t.Check(r.WriteError != "", "user %d can open the token for writing", r.UID)
				t.Note("user %d: %s, mode %s; writing: %s", r.UID, r.File, r.Mode, r.WriteError)
			}
		})
	}
}

func tokenClaims(ctx context.Context, t *suites.T) {
	account := annotatedAccount(ctx, t)
	issuer, keyIDs := issuerOf(ctx, t), keyIDs(ctx, t)
	for _, c := range []struct {
		name, title string
		annotations map[string]string
	}{
		{"default", "with the default expiration", nil},
		{"annotated", "with an annotated expiration", map[string]string{suites.ExpirationAnnotation: "7200"}},
	} {
		t.Case(ctx, c.title, func(ctx context.Context, t *suites.T) {
			probed := newProbe(ctx, t, c.name, account, 1000)
			probed.Annotations = c.annotations
			pod, reports := report(ctx, t, probed)
			r := reports[0]
			t.Require(r.Malformed == "" && r.ReadError == "", "the token cannot be read: %s%s", r.Malformed, r.ReadError)
			source := tokenSource(t, pod, r.File)
			ns := t.Namespace(ctx)
			t.Equal("aud", []string{t.Subject().Audience}, r.Claims.Audience)
			t.Equal("iss", issuer, r.Claims.Issuer)
			t.Equal("sub", "system:serviceaccount:"+ns+":"+account, r.Claims.Subject)
			t.Equal("exp - iat", *source.ExpirationSeconds, r.Claims.Expires-r.Claims.IssuedAt)
			if want, ok := c.annotations[suites.ExpirationAnnotation]; ok {
				t.Equal("exp - iat as annotated", want, strconv.FormatInt(r.Claims.Expires-r.Claims.IssuedAt, 10))
			}
			t.Equal("namespace", ns, r.Claims.Kubernetes.Namespace)
			t.Equal("pod", pod.Name+" "+string(pod.UID), r.Claims.Kubernetes.Pod.Name+" "+r.Claims.Kubernetes.Pod.UID)
			t.Equal("service account", account, r.Claims.Kubernetes.ServiceAccount.Name)
			t.Check(r.Header.Algorithm == "RS256" || strings.HasPrefix(r.Header.Algorithm, "ES"), "alg is %q, want RS256 or ES…", r.Header.Algorithm)
			t.Check(slices.Contains(keyIDs, r.Header.KeyID), "kid %q is not in the JWKS: %q", r.Header.KeyID, keyIDs)
		})
	}
}

// tokenSource is what the token file is projected from.
func tokenSource(t *suites.T, pod *corev1.Pod, file string) *corev1.ServiceAccountTokenProjection {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			token := source.ServiceAccountToken
			if token == nil || token.ExpirationSeconds == nil {
				continue
			}
			for _, mount := range pod.Spec.Containers[0].VolumeMounts {
				if mount.Name == volume.Name && file == mount.MountPath+"/"+token.Path {
					return token
				}
			}
		}
	}
	t.Require(false, "%s is not the file of a projected token", file)
	return nil
}

// issuerOf is the issuer as the API server's discovery document has it.
func issuerOf(ctx context.Context, t *suites.T) string {
	issuer, err := cluster.DiscoverIssuer(ctx, t.Kube().Discovery().RESTClient())
	t.Must(err, "find the issuer")
	return issuer
}

func keyIDs(ctx context.Context, t *suites.T) []string {
	data, err := t.Kube().Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(ctx)
	t.Must(err, "read the API server's JWKS")
	var set jose.JSONWebKeySet
	t.Must(json.Unmarshal(data, &set), "read the API server's JWKS")
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.KeyID)
	}
	return ids
}
