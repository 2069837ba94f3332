package simulated

import (
	"cmp"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
)

// admit has the webhook mutate a pod, and gives it a name and what else a new pod has.
func (s *APIServer) admit(namespace string, pod corev1.Pod, dryRun bool) (*corev1.Pod, error) {
	pod.Namespace = namespace
	pod.Spec.ServiceAccountName = cmp.Or(pod.Spec.ServiceAccountName, "default")
	account, ok := s.account(namespace, pod.Spec.ServiceAccountName)
	if !ok {
		return nil, fmt.Errorf("service account %s/%s does not exist", namespace, pod.Spec.ServiceAccountName)
	}
	admitted := &pod
	if s.Selects(&pod) {
		var err error
		if admitted, err = s.mutate(&pod, account, dryRun); err != nil {
			return nil, err
		}
	}
	if admitted.Name == "" {
		admitted.Name = admitted.GenerateName + rand.String(5)
	}
	admitted.Spec.RestartPolicy = cmp.Or(admitted.Spec.RestartPolicy, corev1.RestartPolicyAlways)
	admitted.UID, admitted.CreationTimestamp = types.UID(uuid.NewString()), metav1.Now()
	admitted.Status.Phase = corev1.PodPending
	admitted.SetGroupVersionKind(kinds[podsResource])
	return admitted, nil
}

func (s *APIServer) mutate(pod *corev1.Pod, account map[string]string, dryRun bool) (*corev1.Pod, error) {
	s.admission.Lock() // faults may remember pods
	defer s.admission.Unlock()
	raw := encoded(pod)
	shown := pod.DeepCopy()
	s.Before(shown)
	parsed, err := webhook.ParsePod(encoded(shown))
	if err != nil {
		return nil, err
	}
	operations, err := s.Mutation.Patch(parsed, s.Annotations(pod, dryRun, account))
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded(operations))
	if err != nil {
		return nil, err
	}
	if raw, err = patch.Apply(raw); err != nil {
		return nil, err
	}
	var mutated corev1.Pod
	if err := json.Unmarshal(raw, &mutated); err != nil {
		return nil, err
	}
	s.Mutated(&mutated)
	return &mutated, nil
}
