package simulated

import (
	"maps"
	"net/http"

	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func (s *APIServer) createDeployment(w http.ResponseWriter, r *http.Request) {
	deployment := read[appsv1.Deployment](r)
	for range ptr.Deref(deployment.Spec.Replicas, 1) {
		owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: deployment.Name, Controller: ptr.To(true)}
		if _, err := s.runTemplate(r.PathValue("namespace"), owner, deployment.Spec.Template); err != nil {
			refuse(w, apierrors.NewBadRequest(err.Error()))
			return
		}
	}
	reply(w, http.StatusCreated, deployment)
}

// createCronJob makes no Jobs: it has to be suspended.
func (s *APIServer) createCronJob(w http.ResponseWriter, r *http.Request) {
	cron := read[batchv1.CronJob](r)
	if !ptr.Deref(cron.Spec.Suspend, false) {
		refuse(w, apierrors.NewBadRequest("there is no clock"))
		return
	}
	reply(w, http.StatusCreated, cron)
}

func (s *APIServer) createJob(w http.ResponseWriter, r *http.Request) {
	job := read[batchv1.Job](r)
	job.Namespace, job.UID, job.CreationTimestamp = r.PathValue("namespace"), types.UID(uuid.NewString()), metav1.Now()
	if !s.store.add(jobsResource, &job) {
		refuse(w, apierrors.NewAlreadyExists(batchv1.Resource(jobsResource), job.Name))
		return
	}
	s.background.Go(func() { s.runJob(job.DeepCopy()) })
	reply(w, http.StatusCreated, &job)
}

// runJob is the controller of one Job: it runs pods until enough have succeeded or too many have not.
func (s *APIServer) runJob(job *batchv1.Job) {
	completions, parallelism := ptr.Deref(job.Spec.Completions, 1), ptr.Deref(job.Spec.Parallelism, 1)
	template := job.Spec.Template
	template.Labels = maps.Clone(template.Labels)
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels[batchv1.JobNameLabel] = job.Name
	owner := *metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))

	active := map[*Pod]bool{}
	ended := make(chan *Pod)
	var succeeded, failed int32
	for succeeded < completions && failed <= ptr.Deref(job.Spec.BackoffLimit, 6) {
		for int32(len(active)) < min(parallelism, completions-succeeded) {
			pod, err := s.runTemplate(job.Namespace, owner, template)
			if err != nil {
				s.event(job.Namespace, corev1.ObjectReference{Kind: "Job", Name: job.Name, UID: job.UID}, corev1.EventTypeWarning, "FailedCreate", err.Error())
				return // the real one tries again, as long as nobody sees
			}
			active[pod] = true
			s.background.Go(func() {
				<-pod.Context().Done()
				select {
				case ended <- pod:
				case <-s.ctx.Done():
				}
			})
		}
		if !update(s.store, jobsResource, job.Namespace, job.Name, func(job *batchv1.Job) {
			job.Status.Active, job.Status.Succeeded, job.Status.Failed = int32(len(active)), succeeded, failed
		}) {
			return // it was deleted
		}
		select {
		case pod := <-ended:
			delete(active, pod)
			if pod.phase() == corev1.PodSucceeded {
				succeeded++
			} else {
				failed++
			}
		case <-s.ctx.Done():
			return
		}
	}
	for pod := range active {
		s.delete(pod.Namespace, pod.Name, false)
	}
	update(s.store, jobsResource, job.Namespace, job.Name, func(job *batchv1.Job) {
		job.Status.Active, job.Status.Succeeded, job.Status.Failed = 0, succeeded, failed
		now := metav1.Now()
		add := func(kind batchv1.JobConditionType, reason string) {
			job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
				Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now,
			})
		}
		if succeeded < completions {
			add(batchv1.JobFailureTarget, batchv1.JobReasonBackoffLimitExceeded)
			add(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
			return
		}
		add(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached)
		add(batchv1.JobComplete, batchv1.JobReasonCompletionsReached)
		job.Status.CompletionTime = &now
	})
}

// deleteJob also deletes its pods.
func (s *APIServer) deleteJob(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	job, ok := get[*batchv1.Job](s.store, jobsResource, namespace, name)
	if !ok {
		refuse(w, notFound(jobsResource, name))
		return
	}
	s.store.remove(jobsResource, namespace, name)
	pods, _ := s.store.list(selection{
		resource: podsResource, namespace: namespace, labels: labels.SelectorFromSet(labels.Set{batchv1.JobNameLabel: name}), fields: fields.Everything(),
	})
	for _, pod := range pods {
		s.delete(namespace, pod.GetName(), false)
	}
	reply(w, http.StatusOK, job)
}

// runTemplate runs a pod that a controller makes of a template.
func (s *APIServer) runTemplate(namespace string, owner metav1.OwnerReference, template corev1.PodTemplateSpec) (*Pod, error) {
	pod := corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Name, pod.GenerateName, pod.OwnerReferences = "", owner.Name+"-", []metav1.OwnerReference{owner}
	admitted, err := s.admit(namespace, pod, false)
	if err != nil {
		return nil, err
	}
	return s.run(admitted)
}
