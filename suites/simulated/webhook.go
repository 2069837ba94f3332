package simulated

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/uuid"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/reference"
)

// selects says whether the webhook's registration selects a pod. Its rules, which the tiers that run pods say nothing about, are
// not looked at.
func (s *APIServer) selects(pod *corev1.Pod) bool {
	return matches(s.Registration.ObjectSelector, pod.Labels) && matches(s.Registration.NamespaceSelector, s.namespaceLabels(pod.Namespace))
}

func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	if selector == nil { // the API server's default, which is not the conversion's
		return true
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		panic(err)
	}
	return parsed.Matches(labels.Set(set))
}

// review asks the webhook about a pod, and returns the pod with its patch.
func (s *APIServer) review(pod *corev1.Pod, dryRun bool) (*corev1.Pod, error) {
	raw := encoded(pod)
	answer, err := s.ask(&admissionv1.AdmissionRequest{
		UID: types.UID(uuid.NewString()), Kind: metav1.GroupVersionKind(kinds[podsResource]),
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: podsResource},
		Name:     pod.Name, Namespace: pod.Namespace, Operation: admissionv1.Create,
		Object: runtime.RawExtension{Raw: raw}, DryRun: &dryRun,
	})
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q: %w", s.Registration.Name, err))
	}
	if !answer.Allowed {
		return nil, s.denial(answer.Result)
	}
	if len(answer.Patch) > 0 {
		patch, err := jsonpatch.DecodePatch(answer.Patch)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		if raw, err = patch.Apply(raw); err != nil {
			return nil, apierrors.NewInternalError(err)
		}
	}
	var mutated corev1.Pod
	if err := json.Unmarshal(raw, &mutated); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return &mutated, nil
}

// ask calls the webhook, where it is registered and for as long.
func (s *APIServer) ask(asked *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	review := admissionv1.AdmissionReview{Request: asked}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	ctx, cancel := context.WithTimeout(s.ctx, time.Duration(*s.Registration.TimeoutSeconds)*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://webhook"+*s.Registration.ClientConfig.Service.Path, bytes.NewReader(encoded(review)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := inProcess{s.webhook()}.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	var answered admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &answered); err != nil {
		return nil, err
	}
	if answered.Response == nil || answered.Response.UID != asked.UID {
		return nil, errors.New("the answer is to no request, or another one")
	}
	return answered.Response, nil
}

// denial is what the API server makes of a webhook's.
func (s *APIServer) denial(result *metav1.Status) *apierrors.StatusError {
	if result == nil {
		result = &metav1.Status{}
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: max(result.Code, http.StatusBadRequest), Reason: result.Reason,
		Message: fmt.Sprintf("admission webhook %q denied the request: %s", s.Registration.Name, cmp.Or(result.Message, "without explanation")),
	}}
}

// newWebhook is the reference's handler, as its settings and its fault are now.
func (s *APIServer) newWebhook() http.Handler {
	return reference.NewHandler(&s.Mutation, accounts{s}, s.Webhook)
}

// accounts are the API server's, as the webhook reads them.
type accounts struct{ *APIServer }

func (a accounts) ServiceAccounts(namespace string) corev1client.ServiceAccountInterface {
	return accountsIn{api: a.APIServer, namespace: namespace}
}

// accountsIn reads those of a namespace. The webhook does nothing else with them.
type accountsIn struct {
	corev1client.ServiceAccountInterface
	api       *APIServer
	namespace string
}

func (a accountsIn) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.ServiceAccount, error) {
	annotations, ok := a.api.account(a.namespace, name)
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), name)
	}
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: name, Annotations: annotations}}, nil
}
