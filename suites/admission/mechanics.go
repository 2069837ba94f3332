package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

func mechanicsTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "idempotent",
			Title:        "Submitting an already mutated pod adds nothing",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-02"},
			Body:         idempotent,
		},
		{
			ID:           "reinvocation",
			Title:        "Reinvocation after another webhook yields no duplicates and injects added containers",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-02"},
			Body:         reinvocation,
		},
		{
			ID:           "refusals-name-the-cause",
			Title:        "A refused pod is refused by the webhook with HTTP 400 and a message that names the cause",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-03"},
			Body:         refusalsNameTheCause,
		},
		{
			ID:           "deterministic",
			Title:        "The same request gives the same pod every time",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-04"},
			Body:         deterministic,
		},
		{
			ID:           "admission-review",
			Title:        "AdmissionReviews are answered in kind, malformed ones refused",
			Tier:         suites.Admission,
			Requirements: []string{"ADM-05"},
			Needs:        []suites.Capability{suites.SubjectPods},
			Body:         admissionReview,
		},
	}
}

// resubmittable is an admitted pod as a client may send it again.
func resubmittable(got *corev1.Pod) *corev1.Pod {
	pod := comparable(got)
	pod.APIVersion, pod.Kind = "v1", "Pod"
	pod.Generation, pod.Namespace = 0, ""
	return pod
}

// mutated are pods that take different ways through the webhook.
var mutated = []variant{
	{"a plain pod", func(*corev1.Pod) {}},
	{"a pod with a generated name", generateName},
	{"a pod with init containers and a sidecar", func(p *corev1.Pod) {
		withInit(container("init"))(p)
		withSidecar("log-shipper")(p)
	}},
	{"a pod with skipped containers", func(p *corev1.Pod) {
		withContainers(container("app"), container("second"))(p)
		annotated(suites.SkipAnnotation, "second")(p)
	}},
	{"a pod with an expiration", annotated(suites.ExpirationAnnotation, "7200")},
	{"a pod with a preset variable", withContainers(container("app", corev1.EnvVar{Name: suites.ClientIDVariable, Value: "mine"}))},
	{"a pod with the proxy", withProxy},
	{"a pod with a generated name and the proxy", func(p *corev1.Pod) { generateName(p); withProxy(p) }},
}

func idempotent(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range mutated {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			once := admit(ctx, t, ns, pod)
			tokenVolume(t, pod, once)
			twice := admit(ctx, t, ns, resubmittable(once))
			t.Equal("the pod, submitted again,", comparable(once), comparable(twice))
		})
	}
}

func reinvocation(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	// What another webhook does to a pod between two calls of the subject.
	others := []variant{
		{"adds a container", func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, container("new")) }},
		{"puts a container first", func(p *corev1.Pod) {
			p.Spec.Containers = append([]corev1.Container{container("new")}, p.Spec.Containers...)
		}},
		{"adds an init container", func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, container("new")) }},
		{"adds a native sidecar", withSidecar("new")},
		{"adds a volume and mounts it", func(p *corev1.Pod) {
			p.Spec.Volumes = append([]corev1.Volume{{Name: "new", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}, p.Spec.Volumes...)
			for _, c := range allContainers(p) {
				c.VolumeMounts = append([]corev1.VolumeMount{{Name: "new", MountPath: "/new"}}, c.VolumeMounts...)
			}
		}},
		{"adds a variable to every container", func(p *corev1.Pod) {
			for _, c := range allContainers(p) {
				c.Env = append([]corev1.EnvVar{{Name: "NEW", Value: "1"}}, c.Env...)
			}
		}},
		{"sets metadata.name", func(p *corev1.Pod) { p.Name = "named-by-another-webhook" }},
		{"sets a label and an annotation", func(p *corev1.Pod) {
			p.Labels["new"] = "label"
			annotated("example.com/new", "annotation")(p)
		}},
	}
	pods := []variant{
		{"of a named pod", func(*corev1.Pod) {}},
		{"of a pod with a generated name", generateName},
		{"of a pod with the proxy", func(p *corev1.Pod) { generateName(p); withProxy(p) }},
	}
	for _, p := range pods {
		for _, other := range others {
			t.Case(ctx, "another webhook "+other.name+" "+p.name, func(ctx context.Context, t *suites.T) {
				pod := newPod(sa, p.change)
				once := admit(ctx, t, ns, pod)
				tokenVolume(t, pod, once)
				changed := resubmittable(once)
				other.change(changed)
				again := admit(ctx, t, ns, changed)
				expectNoDuplicates(t, again)
				t.Equal("containers", containerNames(changed), containerNames(again))
				t.Check(len(again.Spec.Volumes) == len(changed.Spec.Volumes), "the pod has %d volumes, had %d before the second call", len(again.Spec.Volumes), len(changed.Spec.Volumes))
				if find(changed, "new") != nil {
					expectIdentity(t, pod, again, "new")
				}
			})
		}
	}
}

// expectNoDuplicates expects one token volume, and every variable, mount and mount path once a container.
func expectNoDuplicates(t *suites.T, pod *corev1.Pod) {
	tokens := 0
	for _, v := range pod.Spec.Volumes {
		if s := tokenSource(v); s != nil && s.Audience == t.Subject().Audience {
			tokens++
		}
	}
	t.Check(tokens == 1, "the pod has %d token volumes", tokens)
	for _, c := range allContainers(pod) {
		count := map[string]int{}
		for _, e := range c.Env {
			count["variable "+e.Name]++
		}
		for _, m := range c.VolumeMounts {
			count["mount of volume "+m.Name]++
			count["mount at "+m.MountPath]++
		}
		for what, n := range count {
			t.Check(n == 1, "container %s has the %s %d times", c.Name, what, n)
		}
	}
}

func refusalsNameTheCause(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, c := range []struct {
		name         string
		break_, mend func(*corev1.Pod)
		text         string
		since        string
	}{
		{"an expiration out of bounds", annotated(suites.ExpirationAnnotation, "3599"), annotated(suites.ExpirationAnnotation, "3600"), "token expiration 3599 not valid", "1.0.0"},
		{"an expiration that is no number", annotated(suites.ExpirationAnnotation, "abc"), annotated(suites.ExpirationAnnotation, "3600"), `"abc"`, "1.0.0"},
		{"a proxy port that is no number", func(p *corev1.Pod) { withProxy(p); annotated(suites.ProxyPortAnnotation, "abc")(p) }, annotated(suites.ProxyPortAnnotation, "8000"), "failed to parse proxy sidecar port: ", "1.0.0"},
		{"the proxy on the host's network", func(p *corev1.Pod) { withProxy(p); hostNetwork(p) }, func(p *corev1.Pod) { p.Spec.HostNetwork = false }, "hostNetwork is set to true", "1.2.0"},
	} {
		if !t.Subject().Profile.AtLeast(c.since) {
			continue
		}
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			expectRefused(ctx, t, ns, newPod(sa, c.break_), c.text, c.mend)
		})
	}
}

func deterministic(ctx context.Context, t *suites.T) {
	const times = 9 // nine containers in a random order come back in the same one with a chance of 1 : 9! each time
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	many := func(p *corev1.Pod) {
		for i := range 8 {
			p.Spec.Containers = append(p.Spec.Containers, container(fmt.Sprintf("more-%d", i)))
		}
	}
	for _, v := range []variant{
		{"a pod with nine containers", many},
		{"a pod with init containers and a sidecar", func(p *corev1.Pod) {
			withInit(container("init"), container("second-init"))(p)
			withSidecar("log-shipper")(p)
		}},
		{"a pod with the proxy", withProxy},
		{"a pod with a generated name and the proxy", func(p *corev1.Pod) { generateName(p); withProxy(p) }},
	} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			first := comparable(admit(ctx, t, ns, pod))
			for i := range times {
				if !t.Equal(fmt.Sprintf("answer %d", i+2), first, comparable(admit(ctx, t, ns, pod))) {
					break
				}
			}
		})
	}
}

func admissionReview(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	webhook := dialWebhook(ctx, t)

	for _, version := range []string{"admission.k8s.io/v1", "admission.k8s.io/v1beta1"} {
		t.Case(ctx, version+": a good pod is answered in kind", func(ctx context.Context, t *suites.T) {
			answer := webhook.review(ctx, t, version, ns, newPod(sa))
			t.Check(answer.Allowed, "the webhook refuses: %v", answer.Result)
			t.Check(len(answer.Patch) > 0 && answer.PatchType != nil && *answer.PatchType == admissionv1.PatchTypeJSONPatch, "the answer has no JSON patch")
		})
		t.Case(ctx, version+": a bad pod is refused in kind", func(ctx context.Context, t *suites.T) {
			answer := webhook.review(ctx, t, version, ns, newPod(sa, annotated(suites.ExpirationAnnotation, "1")))
			t.Check(!answer.Allowed, "the webhook allows the pod")
			t.Require(answer.Result != nil, "the refusal says nothing")
			t.Equal("code", int32(http.StatusBadRequest), answer.Result.Code)
		})
	}

	good := review("admission.k8s.io/v1", "a-uid", ns, newPod(sa))
	without := func(key string) []byte {
		other := map[string]any{}
		for k, v := range good {
			if k != key {
				other[k] = v
			}
		}
		return encode(t, other)
	}
	for _, c := range []struct {
		name        string
		contentType string
		body        []byte
	}{
		{"no body", "application/json", nil},
		{"no JSON", "application/json", []byte("{not json")},
		{"JSON of another kind", "application/json", []byte(`[1,2,3]`)},
		{"half a review", "application/json", encode(t, good)[:200]},
		{"another content type", "text/plain", encode(t, good)},
		{"no request", "application/json", without("request")},
		{"an object that is no pod", "application/json", encode(t, review("admission.k8s.io/v1", "a-uid", ns, map[string]any{"spec": "none"}))},
		{"no object", "application/json", encode(t, review("admission.k8s.io/v1", "a-uid", ns, nil))},
	} {
		t.Case(ctx, "malformed: "+c.name, func(ctx context.Context, t *suites.T) {
			status, answer := webhook.do(ctx, t, http.MethodPost, webhook.path, c.contentType, bytes.NewReader(c.body))
			got := &admissionv1.AdmissionReview{}
			t.Require(json.Unmarshal(answer, got) == nil && got.Response != nil, "HTTP %d and no AdmissionReview with a response: %s", status, answer)
			t.Check(!got.Response.Allowed, "the malformed review is allowed")
			t.Require(got.Response.Result != nil, "the refusal says nothing")
			t.Equal("code", int32(http.StatusBadRequest), got.Response.Result.Code)
		})
	}
	t.Case(ctx, "an unknown path is not found", func(ctx context.Context, t *suites.T) {
		for _, path := range []string{"/", "/mutate", webhook.path + "/more"} {
			status, _ := webhook.do(ctx, t, http.MethodPost, path, "application/json", bytes.NewReader(encode(t, good)))
			t.Equal("status of "+path, http.StatusNotFound, status)
		}
	})
	t.Case(ctx, "a body over the limit is refused", func(ctx context.Context, t *suites.T) {
		// On a connection of its own: the webhook may close it in the middle of the body, which is a refusal too.
		own := dialWebhook(ctx, t)
		pod := newPod(sa, annotated("example.com/ballast", strings.Repeat("x", 16<<20)))
		body := encode(t, review("admission.k8s.io/v1", "a-uid", ns, pod))
		status, answer, err := own.try(ctx, t, http.MethodPost, own.path, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Note("the connection was closed: %v", err)
		} else {
			got := &admissionv1.AdmissionReview{}
			inBody := json.Unmarshal(answer, got) == nil && got.Response != nil && !got.Response.Allowed
			t.Check(status >= http.StatusBadRequest || inBody, "16 MiB are answered with HTTP %d: %.200s", status, answer)
		}
		t.Check(webhook.review(ctx, t, "admission.k8s.io/v1", ns, newPod(sa)).Allowed, "afterwards a good pod is refused")
	})
}
