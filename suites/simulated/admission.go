package simulated

import (
	"cmp"
	"fmt"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

// admit has the webhook mutate a pod, and gives it a name and what else a new pod has.
func (s *APIServer) admit(namespace string, pod corev1.Pod, dryRun bool) (*corev1.Pod, error) {
	pod.Namespace = namespace
	pod.Spec.ServiceAccountName = cmp.Or(pod.Spec.ServiceAccountName, "default")
	if _, ok := s.account(namespace, pod.Spec.ServiceAccountName); !ok {
		return nil, fmt.Errorf("service account %s/%s does not exist", namespace, pod.Spec.ServiceAccountName)
	}
	admitted := &pod
	if s.selects(&pod) {
		var err error
		if admitted, err = s.review(&pod, dryRun); err != nil {
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
