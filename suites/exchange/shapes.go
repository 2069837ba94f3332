package exchange

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
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
		template := podTemplate(ctx, t, "deployment")
		template.Spec.RestartPolicy = corev1.RestartPolicyAlways
		for i := range template.Spec.Containers {
			c := &template.Spec.Containers[i]
			c.Env = append(c.Env, corev1.EnvVar{Name: "WORKLOAD_INTERVAL", Value: "1"})
		}
		deployment := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "deployment"},
			Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "deployment"}}, Template: template},
		}
		_, err := t.Kube().AppsV1().Deployments(t.Namespace(ctx)).Create(ctx, deployment, metav1.CreateOptions{})
		t.Must(err, "create deployment %s", deployment.Name)
		pod, err := pods.AwaitReady(ctx, t.Kube(), t.Namespace(ctx), "app=deployment")
		t.Must(err, "start deployment %s", deployment.Name)
		for _, c := range template.Spec.Containers {
			var results []workloads.Result
			err := pods.AwaitLog(ctx, t.Kube(), t.Namespace(ctx), pod, c.Name, func(line []byte) bool {
				if parsed, err := workloads.Parse(line); err == nil {
					results = append(results, parsed...)
				}
				return len(results) == 2
			})
			t.Must(err, "wait for results")
			for _, r := range results {
				programs.HasRead(t, "container "+c.Name, r, t.Identity(app, reader).ClientID)
			}
		}
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

// podTemplate is of two workloads in different languages.
func podTemplate(ctx context.Context, t *suites.T, label string) corev1.PodTemplateSpec {
	pod := programs.Pod(ctx, t, "", app, programs.New(t, "app", sample), programs.New(t, "neighbour", neighbour))
	pod.Labels["app"] = label
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec}
}

func names(containers []corev1.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return all
}
