package exchange

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func shapeTests() []suites.Test {
	return []suites.Test{{
		ID:    "workload-shapes",
		Title: "Every container of the pods of Jobs, CronJobs and Deployments reads the secret",
		Tier:  suites.Exchange, Requirements: []string{"EXC-01"},
		Needs: needs(sample, neighbour), Trust: trusted(reader), Body: shapes,
	}}
}

func shapes(ctx context.Context, t *suites.T) {
	t.Case(ctx, "a Job", func(ctx context.Context, t *suites.T) {
		readsAsJob(ctx, t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: jobSpec(ctx, t)})
	})
	t.Case(ctx, "a Job of a CronJob", func(ctx context.Context, t *suites.T) {
		cron := &batchv1.CronJob{
			ObjectMeta: metav1.ObjectMeta{Name: "cron"},
			Spec: batchv1.CronJobSpec{
				Schedule: "* * * * *", ConcurrencyPolicy: batchv1.ForbidConcurrent, JobTemplate: batchv1.JobTemplateSpec{Spec: jobSpec(ctx, t)},
			},
		}
		// The controller makes the Job as soon as the clock shows the next minute; who cannot wait has kubectl do it.
		cron.Spec.Suspend = ptr.To(true)
		made, err := t.Kube().BatchV1().CronJobs(t.Namespace(ctx)).Create(ctx, cron, metav1.CreateOptions{})
		t.Must(err, "create cron job %s", cron.Name)
		readsAsJob(ctx, t, &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{
				Name: "cron-manual", Annotations: map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(made, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
			},
			Spec: made.Spec.JobTemplate.Spec,
		})
	})
	t.Case(ctx, "a Deployment, whose containers read again and again", func(ctx context.Context, t *suites.T) {
		programs.ReadAgain(ctx, t, twoPrograms(ctx, t), t.Identity(app, reader).ClientID)
	})
}

func readsAsJob(ctx context.Context, t *suites.T, job *batchv1.Job) {
	_, err := t.Kube().BatchV1().Jobs(t.Namespace(ctx)).Create(ctx, job, metav1.CreateOptions{})
	t.Must(err, "create job %s", job.Name)
	containers := job.Spec.Template.Spec.Containers
	finished, err := pods.AwaitEnd(ctx, t.Kube(), t.Namespace(ctx), batchv1.JobNameLabel+"="+job.Name, names(containers)...)
	t.Must(err, "run job %s", job.Name)
	for name, o := range programs.Outcomes(t, finished, containers) {
		programs.HasRead(t, "container "+name, o.Only(), t.Identity(app, reader).ClientID)
	}
}

func jobSpec(ctx context.Context, t *suites.T) batchv1.JobSpec {
	return batchv1.JobSpec{BackoffLimit: ptr.To(int32(0)), Template: podTemplate(ctx, t, "job")}
}

func podTemplate(ctx context.Context, t *suites.T, label string) corev1.PodTemplateSpec {
	pod := twoPrograms(ctx, t)
	pod.Labels["app"] = label
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec}
}

// twoPrograms are two workloads in different languages.
func twoPrograms(ctx context.Context, t *suites.T) *corev1.Pod {
	return programs.Pod(ctx, t, "", app, programs.New(t, "app", sample), programs.New(t, "neighbour", neighbour))
}

func names(containers []corev1.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return all
}
