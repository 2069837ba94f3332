package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

const (
	// imdsURL is where every application looks for IMDS.
	imdsURL = "http://" + imds.Address
	// readyPath is answered by the proxy alone: IMDS knows no such path (PRX-10).
	readyPath = "/readyz"
)

// metadata is the header without which IMDS answers nobody.
func metadata() http.Header { return http.Header{"Metadata": {"true"}} }

// ready asks whoever is at IMDS' address whether it is the proxy.
func ready() ask.Step {
	return ask.Step{Name: "ready", Request: &ask.Request{URL: imdsURL + readyPath}}
}

// token asks for one for the vault, with more parameters.
func token(t *suites.T, name string, parameters ...string) ask.Step {
	return tokenFor(name, append([]string{"resource", vaultResource(t)}, parameters...)...)
}

// tokenFor asks for a token with just these parameters, each a name and a value.
func tokenFor(name string, parameters ...string) ask.Step {
	query := "api-version=2018-02-01"
	for pair := range slices.Chunk(parameters, 2) {
		query += "&" + pair[0] + "=" + url.QueryEscape(pair[1])
	}
	return ask.Step{Name: name, Request: &ask.Request{URL: imdsURL + imds.TokenPath + "?" + query, Headers: metadata()}}
}

func vaultResource(t *suites.T) string { return strings.TrimSuffix(t.Azure().Scope, "/.default") }

// caller is a container that takes steps.
func caller(t *suites.T, name string, steps ...ask.Step) corev1.Container {
	encoded, err := json.Marshal(steps)
	t.Must(err, "encode steps")
	return corev1.Container{
		Name: name, Image: t.Image(selfImage), ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{ask.Verb},
		Env: []corev1.EnvVar{
			{Name: podIP, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: ask.StepsVariable, Value: string(encoded)},
		},
	}
}

var selfImage, _ = suites.SelfImage.ImageName()

// podIP is a variable that steps can refer to, as $(POD_IP).
const podIP = "POD_IP"

// as runs a container as a user.
func as(user int64, c corev1.Container) corev1.Container {
	c.SecurityContext = &corev1.SecurityContext{RunAsUser: ptr.To(user)}
	return c
}

// newPod is a pod that asks for the proxy.
func newPod(ctx context.Context, t *suites.T, name, account string, containers ...corev1.Container) *corev1.Pod {
	pod := programs.Pod(ctx, t, name, account, containers...)
	pod.Annotations = map[string]string{suites.ProxyAnnotation: "true"}
	pod.Labels[suites.RunLabel] = t.Env().RunID // they are counted: see startsOften
	return pod
}

// called is what came of the steps of a pod's callers.
type called struct {
	pod     *corev1.Pod
	answers map[string]map[string]ask.Answer // by container and step
}

// call runs a pod until all of its containers have ended, but for a proxy.
func call(ctx context.Context, t *suites.T, pod *corev1.Pod) called {
	made, err := tryCall(ctx, t, pod)
	t.Must(err, "run pod %s", pod.Name)
	return made
}

// tryCall is call for a goroutine of a body's own.
func tryCall(ctx context.Context, t *suites.T, pod *corev1.Pod) (called, error) {
	finished, err := start(ctx, t, pod)
	if err != nil {
		return called{}, err
	}
	made := called{finished.Pod, map[string]map[string]ask.Answer{}}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if !isCaller(c) {
			continue
		}
		// It says itself what went wrong; with another exit code it has not got that far.
		log, ended := finished.Containers[c.Name].Log, finished.Containers[c.Name]
		if ended.ExitCode != 0 {
			return called{}, fmt.Errorf("container %s ended with %d (%s): %s", c.Name, ended.ExitCode, ended.Reason, log)
		}
		if slices.ContainsFunc(pod.Spec.InitContainers, func(init corev1.Container) bool { return init.Name == c.Name }) {
			if log, err = pods.Logs(ctx, t.Kube(), pod.Namespace, finished.Pod.Name, c.Name); err != nil {
				return called{}, err
			}
		}
		if made.answers[c.Name], err = ask.Parse(log); err != nil {
			return called{}, fmt.Errorf("read what came of the calls of container %s: %w", c.Name, err)
		}
	}
	return made, nil
}

// start creates a pod, and returns when all of its containers have ended but for a proxy.
func start(ctx context.Context, t *suites.T, pod *corev1.Pod) (*pods.Finished, error) {
	var names []string
	for _, c := range pod.Spec.Containers {
		if c.Name != byHandProxy {
			names = append(names, c.Name)
		}
	}
	pod.Labels["app"] = pod.Name
	if _, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return pods.AwaitEnd(ctx, t.Kube(), pod.Namespace, "app="+pod.Name, names...)
}

func isCaller(c corev1.Container) bool { return slices.Equal(c.Args, []string{ask.Verb}) }

// of is what came of a step of a container.
func (c called) of(t *suites.T, container, step string) ask.Answer {
	answer, ok := c.answers[container][step]
	if !ok {
		t.Broken("container %s of pod %s has no answer %q", container, c.pod.Name, step)
	}
	return answer
}

// say is an answer for people.
func say(a ask.Answer) string {
	if a.Error != "" {
		return strings.TrimSpace(fmt.Sprintf("%s %s", status(a), a.Error))
	}
	return strings.TrimSpace(status(a) + " " + a.Body)
}

func status(a ask.Answer) string {
	if a.Status == 0 {
		return ""
	}
	return fmt.Sprintf("HTTP %d", a.Status)
}

// isProxy expects that it was the proxy who answered.
func isProxy(t *suites.T, who string, a ask.Answer) {
	t.Check(a.Error == "" && a.Status == http.StatusOK, "the call of %s to IMDS does not reach the proxy: GET %s: %s", who, readyPath, say(a))
}

// gets expects a token of a client for the vault.
func gets(t *suites.T, who string, a ask.Answer, clientID string) {
	t.Require(a.Error == "" && a.Status == http.StatusOK && a.Token != nil, "%s gets no token: %s", who, say(a))
	t.Equal("client of the token that "+who+" gets", clientID, a.Token.Application)
	t.Equal("audience of the token that "+who+" gets", vaultResource(t), strings.TrimSuffix(a.Token.Audience, "/"))
}

// refuses expects an answer that is a refusal with a status.
func refuses(t *suites.T, what string, a ask.Answer, status int) {
	isRefusal(t, what, a, fmt.Sprint(status), a.Status == status)
}

// faults expects a refusal whose status says that the fault is the caller's.
func faults(t *suites.T, what string, a ask.Answer) {
	isRefusal(t, what, a, "4xx", a.Status >= 400 && a.Status < 500)
}

func isRefusal(t *suites.T, what string, a ask.Answer, want string, ok bool) {
	t.Check(a.Token == nil, "%s is answered with a token", what)
	t.Check(a.Error == "" && ok, "%s should be refused with %s: %s", what, want, say(a))
}

// bypassed expects that the nodes' metadata service, if it is ours, was asked nothing by a pod but what the pod's proxy passes through.
func bypassed(ctx context.Context, t *suites.T, made called, paths ...string) {
	if t.Env().IMDS == nil {
		return
	}
	for _, e := range asked(ctx, t, made.pod) {
		t.Check(!slices.Contains(paths, e.Path), "IMDS itself was asked for %s by the pod: the proxy was bypassed", e.Path)
	}
}

// asked is what the nodes' metadata service was asked by a pod.
func asked(ctx context.Context, t *suites.T, pod *corev1.Pod) []imds.Entry {
	entries, err := t.Env().IMDS.Evidence(ctx)
	t.Must(err, "read the metadata service's evidence")
	return slices.DeleteFunc(entries, func(e imds.Entry) bool { return !strings.HasPrefix(e.Remote, pod.Status.PodIP+":") })
}
