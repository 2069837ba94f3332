package simulated

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/suites"
)

// dryRun is what becomes of a pod.
func (s *stage) dryRun(t *testing.T, labels, annotations map[string]string) (*corev1.Pod, error) {
	t.Helper()
	return s.kube.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: labels, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{does("app", "end")}},
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

var labelled = map[string]string{suites.UseLabel: "true"}

func TestTheWebhookIsCalledAsItIsRegistered(t *testing.T) {
	for name, c := range map[string]struct {
		labels   map[string]string
		register func(s *stage)
		want     bool
	}{
		"for a pod with the label":                   {labelled, func(*stage) {}, true},
		"not for one with another value":             {map[string]string{suites.UseLabel: "True"}, func(*stage) {}, false},
		"not for one without":                        {nil, func(*stage) {}, false},
		"for any pod, without an objectSelector":     {nil, func(s *stage) { s.Registration.ObjectSelector = nil }, true},
		"for none, if the namespace is not selected": {labelled, func(s *stage) { s.Registration.NamespaceSelector = s.Registration.ObjectSelector }, false},
		"in a namespace that is selected": {labelled, func(s *stage) {
			s.Registration.NamespaceSelector = s.Registration.ObjectSelector
			made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: labelled}}
			_, err := s.kube.CoreV1().Namespaces().Create(t.Context(), made, metav1.CreateOptions{})
			must(t, err)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c.register(s)
			pod, err := s.dryRun(t, c.labels, nil)
			must(t, err)
			if got := len(pod.Spec.Volumes) > 0; got != c.want {
				t.Errorf("mutated %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheWebhookReadsAnAccountForEachPod(t *testing.T) {
	s := newStage(t)
	for _, want := range []string{"client", "other"} {
		s.putAccount(ns, "default", map[string]string{suites.ClientIDAnnotation: want})
		pod, err := s.dryRun(t, labelled, nil)
		must(t, err)
		if got := pod.Spec.Containers[0].Env[0].Value; got != want {
			t.Errorf("client ID %q, want %q", got, want)
		}
	}
}

func TestWhyAPodIsNotAdmitted(t *testing.T) {
	for name, c := range map[string]struct {
		fault       reference.Fault
		annotations map[string]string
		status      int32
		message     string
	}{
		"because the webhook refuses it": {
			reference.Fault{}, map[string]string{suites.ExpirationAnnotation: "1"}, http.StatusBadRequest,
			`admission webhook "mutation.azure-workload-identity.io" denied the request: token expiration 1 not valid`,
		},
		"because a faulty webhook refuses it otherwise": {
			reference.Fault{Refuse: func(s *metav1.Status) { s.Code = http.StatusTeapot }}, map[string]string{suites.ExpirationAnnotation: "1"},
			http.StatusTeapot, "token expiration 1 not valid",
		},
		"because the webhook breaks off": {
			reference.Fault{Serve: func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			}}, nil, http.StatusInternalServerError, "failed calling webhook",
		},
		"because the webhook answers nothing that is a review": {
			reference.Fault{Serve: func(http.Handler) http.Handler { return http.NotFoundHandler() }}, nil,
			http.StatusInternalServerError, "failed calling webhook",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.Webhook = c.fault
			_, err := s.dryRun(t, labelled, c.annotations)
			refusal, ok := err.(apierrors.APIStatus)
			if !ok || refusal.Status().Code != c.status || !strings.Contains(refusal.Status().Message, c.message) {
				t.Errorf("it is %v, want %d: %s", err, c.status, c.message)
			}
		})
	}
}
