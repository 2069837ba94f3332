package admission

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// send creates a pod with a server-side dry run and returns what the API server would have stored. A refusal comes back as a
// status; anything else that keeps the pod from being admitted ends the test as an error, above all
// a webhook that cannot be reached (ADM-03: that is never the expected denial).
func send(ctx context.Context, t *suites.T, ns string, pod []byte) ([]byte, *metav1.Status) {
	return post(ctx, t, ns, pod, metav1.DryRunAll)
}

// post is send without the dry run if dryRun is empty.
func post(ctx context.Context, t *suites.T, ns string, pod []byte, dryRun ...string) ([]byte, *metav1.Status) {
	request := t.Kube().CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").
		SetHeader("Content-Type", "application/json").
		Param("fieldManager", suites.FieldManager).
		Param("fieldValidation", "Strict")
	for _, d := range dryRun {
		request = request.Param("dryRun", d)
	}
	result := request.Body(pod).Do(ctx)
	stored, err := result.Raw()
	if err == nil {
		return stored, nil
	}
	err = result.Error() // Raw's own error has no message
	if unreachable(err) {
		t.Broken("the webhook cannot be reached: %v", err)
	}
	var status apierrors.APIStatus
	// A webhook may say no with any code; that is its answer, and no error of the API server's (ADM-03).
	denied := strings.Contains(err.Error(), "denied the request")
	if !errors.As(err, &status) ||
		!denied && (status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests) {
		t.Must(err, "create a pod in %s with a dry run", ns)
	}
	s := status.Status()
	return nil, &s
}

// unreachable says whether the API server could not get an answer from a webhook, or none that it understood.
func unreachable(err error) bool { return strings.Contains(err.Error(), "failed calling webhook") }

// admit sends a pod that must be admitted and returns it as the API server would have stored it.
func admit(ctx context.Context, t *suites.T, ns string, pod *corev1.Pod) *corev1.Pod {
	stored, refusal := send(ctx, t, ns, encode(t, pod))
	t.Require(refusal == nil, "the pod is refused, but must be admitted: %s", describe(refusal))
	return decode(t, stored)
}

// refuse sends a pod that must not be admitted and returns the refusal.
func refuse(ctx context.Context, t *suites.T, ns string, pod *corev1.Pod) *metav1.Status {
	stored, refusal := send(ctx, t, ns, encode(t, pod))
	if refusal == nil {
		got := decode(t, stored)
		t.Require(false, "the pod is admitted, but must be refused; volumes: %s", volumesOf(got))
	}
	return refusal
}

// deniedByWebhook expects the refusal to be the webhook's own, with HTTP 400 and a message that holds text (ADM-03).
func deniedByWebhook(t *suites.T, refusal *metav1.Status, text string) {
	t.Check(refusal.Code == http.StatusBadRequest, "the refusal has code %d, want 400: %s", refusal.Code, refusal.Message)
	t.Check(strings.Contains(refusal.Message, `admission webhook "`+subject.WebhookName+`" denied the request`),
		"the refusal is not the webhook's: %s", refusal.Message)
	t.Check(strings.Contains(refusal.Message, text), "the refusal does not say %q: %s", text, refusal.Message)
}

func describe(s *metav1.Status) string {
	if s == nil {
		return ""
	}
	return s.Message
}

func encode(t *suites.T, v any) []byte {
	data, err := json.Marshal(v)
	t.Must(err, "encode the pod to send")
	return data
}

func decode(t *suites.T, data []byte) *corev1.Pod {
	pod := &corev1.Pod{}
	t.Must(json.Unmarshal(data, pod), "decode the API server's pod")
	return pod
}

func volumesOf(pod *corev1.Pod) string {
	data, err := json.Marshal(pod.Spec.Volumes)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
