package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/wi-e2e/wi-e2e/fixtures/portforward"
	"github.com/wi-e2e/wi-e2e/suites"
)

// replicaClient calls one replica of the webhook as the API server does: over HTTPS, and verified against what the webhook configuration
// trusts at that moment.
type replicaClient struct {
	t         *suites.T
	namespace string
	pod       *corev1.Pod // that is asked about
}

// replicaWithin is the longest time that an API server waits for a webhook (SEL-04).
const replicaWithin = 10 * time.Second

func newReplicaClient(ctx context.Context, t *suites.T) *replicaClient {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "replica", nil)
	return &replicaClient{t, ns, streamedPod(sa, map[string]string{suites.UseLabel: "true"})}
}

// review is nil if the replica allows and patches a pod.
func (c *replicaClient) review(ctx context.Context, replica *corev1.Pod) error {
	ctx, cancel := context.WithTimeoutCause(ctx, replicaWithin, fmt.Errorf("no answer within %s", replicaWithin))
	defer cancel()
	s := c.t.Subject()
	trust, err := readTrust(ctx, c.t)
	if err != nil {
		return err
	}
	dialer, err := portforward.ToPod(ctx, c.t.REST(), s.Service, s.ServicePort, replica)
	if err != nil {
		return err
	}
	defer dialer.Close()
	client := &http.Client{Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, TLSClientConfig: trust.config(),
	}}
	body, err := json.Marshal(c.request())
	if err != nil {
		return fmt.Errorf("encode an AdmissionReview: %w", err)
	}
	url := "https://" + trust.serverName + s.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d: %.200s", response.StatusCode, answer)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return fmt.Errorf("the answer is no AdmissionReview: %w", err)
	}
	if review.Response == nil || !review.Response.Allowed || len(review.Response.Patch) == 0 {
		return fmt.Errorf("the pod is not allowed and patched: %.200s", answer)
	}
	return nil
}

// request is for the creation of a pod.
func (c *replicaClient) request() *admissionv1.AdmissionReview {
	pods := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	pod := c.pod.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	dryRun := true
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uuid.NewUUID(), Kind: kind, RequestKind: &kind, Resource: pods, RequestResource: &pods,
			Namespace: c.namespace, Operation: admissionv1.Create, DryRun: &dryRun, Object: runtime.RawExtension{Object: pod},
		},
	}
}
