package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/wi-e2e/wi-e2e/fixtures/portforward"
	"github.com/wi-e2e/wi-e2e/suites"
)

// directWebhook talks to the webhook as the API server does, over HTTPS and verified against the registered CA, but
// without it, so that requests can be sent which no API server would send (ADM-05).
type directWebhook struct {
	client *http.Client
	base   string // https://<service>.<namespace>.svc
	path   string
}

// dialWebhook forwards to a ready pod behind the webhook's Service until ctx ends, unless the run has another way.
func dialWebhook(ctx context.Context, t *suites.T) *directWebhook {
	s := t.Subject()
	dial := t.Env().DialSubject
	if dial == nil {
		forward, err := portforward.ToService(ctx, t.REST(), s.Service, s.ServicePort)
		t.Must(err, "reach a pod of the webhook")
		context.AfterFunc(ctx, func() { _ = forward.Close() })
		dial = forward.DialContext
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(registeredWebhook(ctx, t).ClientConfig.CABundle) {
		t.Broken("the caBundle of webhook configuration %s holds no certificate", s.WebhookConfiguration)
	}
	return &directWebhook{
		client: &http.Client{
			Timeout: 15 * time.Second, // a webhook must answer within 10 s (SEL-04)
			Transport: &http.Transport{
				DialContext: dial, ForceAttemptHTTP2: true,
				TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			},
		},
		base: "https://" + s.Service.Name + "." + s.Service.Namespace + ".svc",
		path: s.Path,
	}
}

// do sends any request to the webhook, which must answer.
func (w *directWebhook) do(ctx context.Context, t *suites.T, method, path, contentType string, body io.Reader) (int, []byte) {
	status, answer, err := w.try(ctx, t, method, path, contentType, body)
	t.Require(err == nil, "%s %s gets no answer: %v", method, path, err)
	return status, answer
}

func (w *directWebhook) try(ctx context.Context, t *suites.T, method, path, contentType string, body io.Reader) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.base+path, body)
	t.Must(err, "make a request")
	request.Header.Set("User-Agent", t.REST().UserAgent)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, answer, err
}

// review is what an API server sends for the creation of a pod, and the response it expects.
func (w *directWebhook) review(ctx context.Context, t *suites.T, apiVersion, ns string, pod any) *admissionv1.AdmissionResponse {
	uid := uuid.NewUUID()
	status, answer := w.do(ctx, t, http.MethodPost, w.path, "application/json", bytes.NewReader(encode(t, review(apiVersion, string(uid), ns, pod))))
	t.Require(status == http.StatusOK, "an AdmissionReview %s is answered with HTTP %d: %s", apiVersion, status, answer)
	got := &admissionv1.AdmissionReview{}
	t.Require(json.Unmarshal(answer, got) == nil && got.Response != nil, "the answer is no AdmissionReview with a response: %s", answer)
	t.Equal("kind of the answer", "AdmissionReview "+apiVersion, got.Kind+" "+got.APIVersion)
	t.Equal("uid of the response", uid, got.Response.UID)
	return got.Response
}

// review is an AdmissionReview for a pod's creation. v1 and v1beta1 have the same fields.
func review(apiVersion, uid, ns string, pod any) map[string]any {
	return map[string]any{
		"apiVersion": apiVersion, "kind": "AdmissionReview",
		"request": map[string]any{
			"uid":             uid,
			"kind":            map[string]any{"group": "", "version": "v1", "kind": "Pod"},
			"resource":        map[string]any{"group": "", "version": "v1", "resource": "pods"},
			"requestKind":     map[string]any{"group": "", "version": "v1", "kind": "Pod"},
			"requestResource": map[string]any{"group": "", "version": "v1", "resource": "pods"},
			"namespace":       ns,
			"operation":       "CREATE",
			"userInfo":        map[string]any{"username": "wi-e2e"},
			"dryRun":          true,
			"object":          pod,
			"oldObject":       nil,
			"options":         map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
		},
	}
}
