package exchange

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// newPod is a labelled pod that runs programs as the account, each in a container of its own. Programs that may share an
// account share a pod: a pod costs twice what a container does.
func newPod(ctx context.Context, t *suites.T, name, account string, programs ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: t.Namespace(ctx), Labels: map[string]string{suites.UseLabel: "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName:           account,
			AutomountServiceAccountToken: ptr.To(false),
			EnableServiceLinks:           ptr.To(false),
			RestartPolicy:                corev1.RestartPolicyNever,
			NodeSelector:                 map[string]string{corev1.LabelOSStable: "linux"},
			Containers:                   programs,
		},
	}
}

// program runs a workload, which reads the run's secret.
func program(t *suites.T, name, workload string, env ...corev1.EnvVar) corev1.Container {
	a := t.Azure()
	return corev1.Container{
		Name: name, Image: t.Image(workload), ImagePullPolicy: corev1.PullIfNotPresent,
		Env: append([]corev1.EnvVar{{Name: "KEYVAULT_URL", Value: a.Vault.URL}, {Name: "SECRET_NAME", Value: a.Secret}}, env...),
	}
}

// asClient has a workload pass a client ID in code, in place of the injected one.
func asClient(clientID string) corev1.EnvVar {
	return corev1.EnvVar{Name: "WORKLOAD_CLIENT_ID", Value: clientID}
}

// byHand gives a pod, in place of what the webhook injects, a program that has a token from another source: a user's
// mistake, or an attempt.
func byHand(t *suites.T, pod *corev1.Pod, name, clientID string, token corev1.VolumeProjection) {
	delete(pod.Labels, suites.UseLabel)
	const dir = "/var/run/secrets/wi-e2e"
	c := program(t, name, sample,
		corev1.EnvVar{Name: suites.ClientIDVariable, Value: clientID},
		corev1.EnvVar{Name: suites.TenantIDVariable, Value: t.Azure().TenantID},
		corev1.EnvVar{Name: suites.TokenFileVariable, Value: dir + "/token"},
		corev1.EnvVar{Name: suites.AuthorityHostVariable, Value: t.Azure().Authority},
	)
	c.VolumeMounts = []corev1.VolumeMount{{Name: name, MountPath: dir, ReadOnly: true}}
	pod.Spec.Containers = append(pod.Spec.Containers, c)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{token}},
	}})
}

// outcome is what a workload came to, by its own words and by its exit code.
type outcome struct {
	workloads.Result
	exitCode int32
}

// run runs the pod to its end and returns what its programs came to, by name.
func run(ctx context.Context, t *suites.T, pod *corev1.Pod) map[string]outcome {
	pod.Spec.HostAliases = t.Azure().HostAliases
	finished, err := pods.Run(ctx, t.Kube(), pod)
	t.Must(err, "run pod %s", pod.Name)
	outcomes := map[string]outcome{}
	for _, p := range pod.Spec.Containers {
		c := finished.Containers[p.Name]
		result, err := workloads.Parse(c.Log)
		t.Must(err, "read what container %s of pod %s came to (exit code %d, %s)", p.Name, pod.Name, c.ExitCode, c.Reason)
		outcomes[p.Name] = outcome{result, c.ExitCode}
	}
	return outcomes
}

// hasRead expects that the workload read the very secret, and as whom.
func hasRead(t *suites.T, what string, o outcome, clientID string) {
	if !t.Check(o.OK, "%s does not get the secret: %s", what, describe(o)) {
		return
	}
	t.Equal("SHA-256 of the secret that "+what+" got", t.Azure().SecretSHA256, o.SecretSHA256)
	t.Equal("client ID of the token that "+what+" got", clientID, o.ClientID)
	t.Equal("exit code of "+what, int32(0), o.exitCode)
	t.Note("%s: %s %s %s with %s: token in %.3f s, secret in %.3f s", what, o.Language, o.Library, o.Version, o.Credential, o.Seconds.Token, o.Seconds.Secret)
}

// refused expects that the workload did not get the secret, for the one reason.
func refused(t *suites.T, what string, o outcome, stage, code string) {
	t.Require(!o.OK, "%s gets the secret, and should be refused with %s", what, code)
	t.Check(string(o.Error.Stage) == stage && o.Error.Code == code, "%s should be refused at stage %s with %s: %s", what, stage, code, describe(o))
	t.Equal("exit code of "+what, int32(1), o.exitCode)
	t.Note("%s: %s", what, describe(o))
}

// describe says why a workload got no secret. What it prints holds neither tokens nor secrets.
func describe(o outcome) string {
	if o.Error == nil {
		return "it got one"
	}
	text := string(o.Error.Stage) + ": " + o.Error.Code
	if o.Error.Code == "" {
		text += "no answer of Azure"
	}
	return text + " (" + o.Error.Message + ")"
}
