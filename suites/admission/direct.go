package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/wi-e2e/wi-e2e/suites"
)

// directWebhook talks to the webhook as the API server does, over HTTPS and verified against the registered CA, but
// through a port-forward, so that requests can be sent which no API server would send (ADM-05).
type directWebhook struct {
	client *http.Client
	base   string // https://127.0.0.1:port
	path   string
}

// dialWebhook forwards a local port to a ready pod behind the webhook's Service until ctx ends.
func dialWebhook(ctx context.Context, t *suites.T) *directWebhook {
	s := t.Subject()
	pod, port := webhookPod(ctx, t)
	url := t.Kube().CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
	config := t.REST()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	t.Must(err, "prepare a port-forward")
	spdyDialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	websocketDialer, err := portforward.NewSPDYOverWebsocketDialer(url, config)
	t.Must(err, "prepare a port-forward")
	// As kubectl does: websockets first, SPDY for API servers and proxies that do not know them.
	dialer := portforward.NewFallbackDialer(websocketDialer, spdyDialer, func(error) bool { return true })

	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ctx.Done(), ready, io.Discard, io.Discard)
	t.Must(err, "prepare a port-forward")
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		t.Broken("forward a port to pod %s/%s: %v", pod.Namespace, pod.Name, err)
	case <-ctx.Done():
		t.Broken("forward a port to pod %s/%s: %v", pod.Namespace, pod.Name, context.Cause(ctx))
	}
	ports, err := forwarder.GetPorts()
	t.Must(err, "find the forwarded port")

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(registeredWebhook(ctx, t).ClientConfig.CABundle) {
		t.Broken("the caBundle of webhook configuration %s holds no certificate", s.WebhookConfiguration)
	}
	return &directWebhook{
		client: &http.Client{
			Timeout: 15 * time.Second, // a webhook must answer within 10 s (SEL-04)
			Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
				RootCAs: roots, ServerName: s.Service.Name + "." + s.Service.Namespace + ".svc", MinVersion: tls.VersionTLS12,
			}},
		},
		base: fmt.Sprintf("https://127.0.0.1:%d", ports[0].Local),
		path: s.Path,
	}
}

// webhookPod is a ready pod behind the webhook's Service, and the port that the Service leads to.
func webhookPod(ctx context.Context, t *suites.T) (*corev1.Pod, int32) {
	s := t.Subject()
	service, err := t.Kube().CoreV1().Services(s.Service.Namespace).Get(ctx, s.Service.Name, metav1.GetOptions{})
	t.Must(err, "read service %s", s.Service)
	pods, err := t.Kube().CoreV1().Pods(s.Service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(service.Spec.Selector).String()})
	t.Must(err, "list the pods behind service %s", s.Service)
	for i := range pods.Items {
		pod := &pods.Items[i]
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return pod, targetPort(t, service, pod)
			}
		}
	}
	t.Broken("no pod behind service %s is ready", s.Service)
	return nil, 0
}

func targetPort(t *suites.T, service *corev1.Service, pod *corev1.Pod) int32 {
	for _, p := range service.Spec.Ports {
		if p.Port != t.Subject().ServicePort {
			continue
		}
		if p.TargetPort.StrVal == "" {
			return p.TargetPort.IntVal
		}
		for _, c := range pod.Spec.Containers {
			for _, cp := range c.Ports {
				if cp.Name == p.TargetPort.StrVal {
					return cp.ContainerPort
				}
			}
		}
	}
	t.Broken("service %s/%s has no port %d that leads to pod %s", service.Namespace, service.Name, t.Subject().ServicePort, pod.Name)
	return 0
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
