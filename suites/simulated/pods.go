package simulated

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (s *APIServer) createPod(w http.ResponseWriter, r *http.Request) {
	dryRun := r.URL.Query().Has("dryRun")
	pod, err := s.admit(r.PathValue("namespace"), read[corev1.Pod](r), dryRun)
	if err != nil {
		refusal, ok := errors.AsType[*apierrors.StatusError](err)
		if !ok {
			refusal = apierrors.NewBadRequest(err.Error())
		}
		refuse(w, refusal)
		return
	}
	if !dryRun {
		if _, err := s.run(pod); err != nil {
			refuse(w, apierrors.NewAlreadyExists(corev1.Resource(podsResource), pod.Name))
			return
		}
	}
	reply(w, http.StatusCreated, pod)
}

// run has the node run a pod, and returns at once.
func (s *APIServer) run(admitted *corev1.Pod) (*Pod, error) {
	pod := s.Node.newPod(admitted)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.store.add(podsResource, admitted) {
		return nil, fmt.Errorf("pod %s/%s exists", admitted.Namespace, admitted.Name)
	}
	s.running[pod.Namespace+"/"+pod.Name] = pod
	s.background.Go(pod.run)
	return pod, nil
}

func (s *APIServer) pod(namespace, name string) *Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[namespace+"/"+name]
}

func (s *APIServer) deletePod(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	pod, ok := get[*corev1.Pod](s.store, podsResource, namespace, name)
	if !ok {
		refuse(w, notFound(podsResource, name))
		return
	}
	var options metav1.DeleteOptions
	if r.ContentLength > 0 {
		options = read[metav1.DeleteOptions](r)
	}
	s.delete(namespace, name, options.GracePeriodSeconds != nil && *options.GracePeriodSeconds == 0)
	reply(w, http.StatusOK, pod)
}

// delete has a pod's containers end. The pod is gone when they have, or now.
func (s *APIServer) delete(namespace, name string, now bool) {
	pod := s.pod(namespace, name)
	if pod == nil {
		return
	}
	update(s.store, podsResource, namespace, name, func(pod *corev1.Pod) {
		if pod.DeletionTimestamp == nil {
			pod.DeletionTimestamp = &metav1.Time{Time: metav1.Now().Time}
		}
	})
	gone := func() {
		s.mu.Lock()
		if s.running[namespace+"/"+name] == pod {
			delete(s.running, namespace+"/"+name)
			s.store.remove(podsResource, namespace, name)
		}
		s.mu.Unlock()
	}
	pod.stop()
	if now {
		gone()
		return
	}
	s.background.Go(func() {
		<-pod.Context().Done()
		gone()
	})
}

// event records one about an object.
func (s *APIServer) event(namespace string, about corev1.ObjectReference, kind, reason, message string) {
	about.Namespace = namespace
	s.store.add(eventsResource, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: about.Name + "." + uuid.NewString(), UID: types.UID(uuid.NewString()), CreationTimestamp: metav1.Now()},
		InvolvedObject: about, Type: kind, Reason: reason, Message: message,
		FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(), Count: 1,
	})
}

func (s *APIServer) serveLog(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	pod := s.pod(r.PathValue("namespace"), name)
	if pod == nil {
		refuse(w, notFound(podsResource, name))
		return
	}
	container := r.URL.Query().Get("container")
	log := pod.log(container)
	if log == nil {
		refuse(w, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is not there, or is waiting to start", container, name)))
		return
	}
	log.copyTo(r.Context(), w, r.URL.Query().Get("follow") == "true")
}
