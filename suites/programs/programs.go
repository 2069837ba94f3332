// Package programs is what the tiers have in common that run workloads in pods: the pod, its programs, and what they came to.
package programs

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Pod is a labelled pod that runs programs as the account, each in a container of its own.
func Pod(ctx context.Context, t *suites.T, name, account string, programs ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: t.Namespace(ctx), Labels: map[string]string{suites.UseLabel: "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName:           account,
			AutomountServiceAccountToken: ptr.To(false),
			EnableServiceLinks:           ptr.To(false),
			RestartPolicy:                corev1.RestartPolicyNever,
			NodeSelector:                 map[string]string{corev1.LabelOSStable: "linux"},
			Affinity:                     pods.OffVirtualNodes(),
			HostAliases:                  t.Azure().HostAliases,
			Containers:                   programs,
		},
	}
}

// New runs a workload, which reads the run's secret: once as it is told by nothing but what is injected, or by these
// attempts. Attempts that may share an account share a program: to start one takes some languages seconds.
func New(t *suites.T, name, workload string, attempts ...workloads.Attempt) corev1.Container {
	a := t.Azure()
	c := corev1.Container{
		Name: name, Image: t.Image(workload), ImagePullPolicy: corev1.PullIfNotPresent,
		Env: []corev1.EnvVar{{Name: "KEYVAULT_URL", Value: a.Vault.URL}, {Name: "SECRET_NAME", Value: a.Secret}},
	}
	if len(attempts) > 0 {
		Attempting(t, &c, attempts)
	}
	return c
}

// Attempting has a program make these attempts.
func Attempting(t *suites.T, c *corev1.Container, attempts []workloads.Attempt) {
	encoded, err := json.Marshal(attempts)
	t.Must(err, "encode attempts")
	c.Env = append(c.Env, corev1.EnvVar{Name: "WORKLOAD_ATTEMPTS", Value: string(encoded)})
}

// Outcome is what a program came to: a result for each of its attempts.
type Outcome []workloads.Result

// Run runs the pod to its end and returns what its programs came to, by name.
func Run(ctx context.Context, t *suites.T, pod *corev1.Pod) map[string]Outcome {
	finished, err := pods.Run(ctx, t.Kube(), pod)
	t.Must(err, "run pod %s", pod.Name)
	return Outcomes(t, finished, pod.Spec.Containers)
}

// Outcomes reads what the programs of a pod that has ended came to. That their exit codes agree is expected here.
func Outcomes(t *suites.T, finished *pods.Finished, programs []corev1.Container) map[string]Outcome {
	all := map[string]Outcome{}
	for _, p := range programs {
		c := finished.Containers[p.Name]
		results, err := workloads.Parse(c.Log)
		t.Must(err, "read what container %s of pod %s came to (exit code %d, %s)", p.Name, finished.Pod.Name, c.ExitCode, c.Reason)
		if want := attemptsOf(t, p); len(results) != want {
			t.Broken("container %s of pod %s has %d results for %d attempts", p.Name, finished.Pod.Name, len(results), want)
		}
		want := int32(0)
		for _, r := range results {
			if !r.OK {
				want = 1
			}
		}
		t.Equal("exit code of container "+p.Name, want, c.ExitCode)
		all[p.Name] = results
	}
	return all
}

// attemptsOf counts the attempts of a program.
func attemptsOf(t *suites.T, p corev1.Container) int {
	for _, v := range p.Env {
		if v.Name == "WORKLOAD_ATTEMPTS" {
			var attempts []workloads.Attempt
			t.Must(json.Unmarshal([]byte(v.Value), &attempts), "read the attempts of container %s", p.Name)
			return len(attempts)
		}
	}
	return 1
}

// Only is the result of a program that makes one attempt.
func (o Outcome) Only() workloads.Result { return o[0] }

// HasRead expects that the workload read the very secret, and as whom.
func HasRead(t *suites.T, what string, r workloads.Result, clientID string) {
	if HasSecret(t, what, r) {
		t.Equal("client ID of the token that "+what+" got", clientID, r.ClientID)
	}
}

// HasSecret expects that the workload read the very secret, as whomever.
func HasSecret(t *suites.T, what string, r workloads.Result) bool {
	return t.Check(r.OK, "%s does not get the secret: %s", what, Describe(r)) &&
		t.Equal("SHA-256 of the secret that "+what+" got", t.Azure().SecretSHA256, r.SecretSHA256)
}

// Refused expects that the workload did not get the secret, for the one reason.
func Refused(t *suites.T, what string, r workloads.Result, stage, code string) {
	t.Require(!r.OK, "%s gets the secret, and should be refused with %s", what, code)
	t.Check(string(r.Error.Stage) == stage && r.Error.Code == code, "%s should be refused at stage %s with %s: %s", what, stage, code, Describe(r))
	t.Note("%s: %s", what, Describe(r))
}

// Describe says why a workload got no secret. What it prints holds neither tokens nor secrets.
func Describe(r workloads.Result) string {
	if r.Error == nil {
		return "it got one"
	}
	text := string(r.Error.Stage) + ": " + r.Error.Code
	if r.Error.Code == "" {
		text += "no answer of Azure"
	}
	return text + " (" + r.Error.Message + ")"
}
