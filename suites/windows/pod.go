package windows

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// The users that every Windows image has.
const (
	ordinaryUser  = "ContainerUser"
	administrator = "ContainerAdministrator"
)

// windowsPod is a labelled pod for Windows, of the ordinary user.
func windowsPod(ctx context.Context, t *suites.T, name string, containers ...corev1.Container) *corev1.Pod {
	pod := programs.Pod(ctx, t, name, app, containers...)
	pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	pod.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: string(corev1.Windows)}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: windowsUser(ordinaryUser)}
	return pod
}

func windowsUser(name string) *corev1.WindowsSecurityContextOptions {
	return &corev1.WindowsSecurityContextOptions{RunAsUserName: ptr.To(name)}
}

// mutated is the pod that the API server would store, and the token file that its first container is told of.
func mutated(ctx context.Context, t *suites.T, pod *corev1.Pod) (stored *corev1.Pod, file string) {
	stored, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil && strings.Contains(err.Error(), "denied the request") {
		t.Require(false, "a pod for Windows is refused: %v", err)
	}
	t.Must(err, "create pod %s with a dry run", pod.Name)
	for _, v := range stored.Spec.Containers[0].Env {
		if v.Name == suites.TokenFileVariable {
			file = v.Value
		}
	}
	t.Require(file != "", "a pod for Windows gets no %s", suites.TokenFileVariable)
	return stored, file
}

// windowsPath is a path of a pod as programs for Windows see it: with the container's drive, and with backslashes.
func windowsPath(file string) string { return "C:" + strings.ReplaceAll(file, "/", `\`) }

// noFile is where there is nothing.
const noFile = `C:\no\such\token`

// attempts are a program's with nothing but what is injected, one for each of its ways; one that has the token's path as Windows has it,
// and one with a path where there is no token.
func attempts(w workloads.Workload, file string) []workloads.Attempt {
	var all []workloads.Attempt
	for _, credential := range w.Credentials {
		all = append(all, workloads.Attempt{Credential: credential})
	}
	if all == nil {
		all = []workloads.Attempt{{}}
	}
	return append(all, workloads.Attempt{TokenFile: windowsPath(file)}, workloads.Attempt{TokenFile: noFile})
}

// expectRead expects of the results of attempts that each but the last read the secret, and that this one found no token.
func expectRead(ctx context.Context, t *suites.T, w workloads.Workload, all []workloads.Attempt, o programs.Outcome) {
	clientID := t.Identity(app, reader).ClientID
	seen := programs.Exchanges(ctx, t, app)
	last := len(o) - 1
	for i, r := range o[:last] {
		what := w.Of + " on " + w.Platform
		if all[i].Credential != "" {
			what += " with credential " + all[i].Credential
		}
		if all[i].TokenFile != "" {
			what += " with the token at " + all[i].TokenFile
		}
		t.Ran(programs.Ran(t, w, r, seen))
		programs.HasRead(t, what, r, clientID)
		t.Equal("language and library of the workload", w.Language+" "+w.Library, r.Language+" "+r.Library)
	}
	nothing := o[last]
	t.Check(!nothing.OK, "%s on %s gets the secret with a token file that is not there", w.Of, w.Platform)
	t.Check(nothing.OK || nothing.Error.Stage == "token" && !strings.HasPrefix(nothing.Error.Code, "AADSTS"),
		"%s on %s without a token file should have asked nobody: %s", w.Of, w.Platform, programs.Describe(nothing))
	if t.Azure().Evidence == nil {
		return
	}
	t.Check(len(seen) >= last, "Azure gave %d tokens for %d attempts", len(seen), last)
	for _, e := range seen {
		t.Equal("client ID of the exchange", clientID, e.ClientID)
		t.Note("%s on %s: %s; %s", w.Of, w.Platform, e.UserAgent, strings.TrimSpace(e.Client))
	}
}
