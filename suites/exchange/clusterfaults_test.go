package exchange

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// unknown is the ID of nothing.
const unknown = "99999999-9999-4999-8999-999999999999"

// Whose exchanges a fault concerns.
func anyone(*world, exchange) bool        { return true }
func theReader(w *world, e exchange) bool { return e.clientID == w.reader.ClientID }
func others(w *world, e exchange) bool    { return !theReader(w, e) }

func ofAccount(name string) func(*world, exchange) bool {
	return func(_ *world, e exchange) bool { return strings.HasSuffix(e.claims.Subject, ":"+name) }
}

// impatient shortens the budget of the propagation.
func impatient(fault func(*world)) func(*world) {
	return func(w *world) {
		w.Env.Azure.Propagation.Budget = 500 * time.Millisecond
		fault(w)
	}
}

// recodingGarbage changes the answer to an assertion that is no token.
func recodingGarbage(change func(a *answer)) func(*world) {
	return onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) {
		if a.code() == "AADSTS50027" {
			change(a)
		}
	})
}

// onPods changes the pods that the webhook has mutated, onContainers each of their containers.
func onPods(change func(pod *corev1.Pod)) func(*world) {
	return func(w *world) { w.API.Mutated = change }
}

func onContainers(change func(c *corev1.Container)) func(*world) {
	return onPods(func(pod *corev1.Pod) {
		for i := range pod.Spec.Containers {
			change(&pod.Spec.Containers[i])
		}
	})
}

// onTokenSource changes what the webhook has the kubelet project.
func onTokenSource(change func(s *corev1.ServiceAccountTokenProjection)) func(*world) {
	return onPods(func(pod *corev1.Pod) { change(pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken) })
}

// onAnnotation changes a pod's annotations as the webhook reads them: none, and what is set.
func onAnnotation(set func(annotations map[string]string)) func(*world) {
	return func(w *world) {
		w.API.Before = func(pod *corev1.Pod) {
			pod.Annotations = map[string]string{}
			set(pod.Annotations)
		}
	}
}

func without(variable string) func(c *corev1.Container) {
	return func(c *corev1.Container) {
		c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == variable })
	}
}

func setting(variable, value string) func(c *corev1.Container) {
	return func(c *corev1.Container) {
		for i := range c.Env {
			if c.Env[i].Name == variable {
				c.Env[i].Value = value
			}
		}
	}
}

type accountReader = func(pod *corev1.Pod, dryRun bool, account map[string]string) map[string]string

func onAccounts(read func() accountReader) func(*world) {
	return func(w *world) { w.API.Annotations = read() }
}

// frozen reads an account's annotations once, for these requests.
func frozen(these func(dryRun bool) bool) accountReader {
	known := map[string]map[string]string{}
	return func(pod *corev1.Pod, dryRun bool, account map[string]string) map[string]string {
		name := pod.Spec.ServiceAccountName
		if !these(dryRun) {
			return account
		}
		if known[name] == nil {
			known[name] = account
		}
		return known[name]
	}
}

func onEnvironment(change func(c corev1.Container, env map[string]string)) func(*world) {
	return func(w *world) { w.API.Node.Environment = change }
}

func onAttempts(change func(a *workloads.Attempt)) func(*world) {
	return func(w *world) { w.API.Node.Attempt = change }
}

// ignoringTheCode has workloads be the injected client whatever their code says.
func ignoringTheCode(w *world) {
	onAttempts(func(a *workloads.Attempt) { a.ClientID = "" })(w)
}

func onResults(change func(asked workloads.Attempt, r *workloads.Result)) func(*world) {
	return func(w *world) { w.API.Node.Result = change }
}

func exiting(code int32) func(*world) {
	return func(w *world) { w.API.Node.ExitCode = func([]workloads.Result) int32 { return code } }
}

// failingWay has one of Azure Identity's ways find no token.
func failingWay(name string) func(*world) {
	return onAttempts(func(a *workloads.Attempt) {
		if a.Credential == name {
			a.TokenFile = "/no/such/file"
		}
	})
}

func onReports(change func(r *probe.Report)) func(*world) {
	return func(w *world) { w.API.Node.Report = change }
}

func onClaims(change func(c object)) func(*world) {
	return func(w *world) { w.API.Node.Claims = change }
}

// onBinding changes whose the token is.
func onBinding(kind, member, value string) func(*world) {
	return onClaims(func(c object) { c["kubernetes.io"].(object)[kind].(object)[member] = value })
}

func onTokens(change func(token string) string) func(*world) {
	return func(w *world) { w.API.Node.Token = change }
}

// onHeader changes the header of tokens, whose signature nobody verifies here.
func onHeader(member, value string) func(*world) {
	return onTokens(func(token string) string {
		head, rest, _ := strings.Cut(token, ".")
		text, err := base64.RawURLEncoding.DecodeString(head)
		if err != nil {
			panic(err)
		}
		var header object
		if err := json.Unmarshal(text, &header); err != nil {
			panic(err)
		}
		header[member] = value
		return base64.RawURLEncoding.EncodeToString(encoded(header)) + "." + rest
	})
}

func listing(keys func(k simulated.Keyring) []simulated.SigningKey) func(*world) {
	return func(w *world) { w.API.Listed = keys }
}

// propagationTime is that of the Azure in which the propagation of federated credentials is tested. In the other, where
// nobody should have to wait, they hold at once.
const propagationTime = 300 * time.Millisecond

// newLabs makes an Azure for each requirement's tests.
func newLabs(t *testing.T) func(requirement string) *simulated.Lab {
	t.Helper()
	slow, instant := simulated.NewLab(t, propagationTime), simulated.NewLab(t, 0)
	return func(requirement string) *simulated.Lab {
		if requirement == "EXC-08" {
			return slow
		}
		return instant
	}
}
