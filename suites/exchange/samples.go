package exchange

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// sampleTests are one test for each program of somebody else, which is asked for nothing but the secret.
func sampleTests() []suites.Test {
	var tests []suites.Test
	for _, w := range workloads.Catalogue() {
		if w.Sample == nil {
			continue
		}
		tests = append(tests, suites.Test{
			ID:    "read-secret-" + w.Name,
			Title: "The program " + w.Name + " reads a Key Vault secret with what the webhook injected",
			Tier:  suites.Exchange, Requirements: []string{"EXC-01"},
			Needs: needs(w.Name), Trust: trusted(reader),
			Timeout: 3 * time.Minute, // on a busy machine it takes one of these programs one to begin
			Body:    func(ctx context.Context, t *suites.T) { readBySample(ctx, t, w) },
		})
	}
	return tests
}

func readBySample(ctx context.Context, t *suites.T, w workloads.Workload) {
	shown, err := regexp.Compile(w.Sample.Secret)
	t.Must(err, "read what the catalogue says of %s", w.Name)
	c := programs.New(t, "app", w.Name)
	c.Args = w.Sample.Args
	c.Env = append(c.Env, corev1.EnvVar{Name: "KEYVAULT_NAME", Value: t.Azure().Vault.Name})
	for _, name := range slices.Sorted(maps.Keys(w.Sample.Env)) {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: w.Sample.Env[name]})
	}
	pod := programs.Pod(ctx, t, w.Name, app, c)
	// With the pod goes its log, in which the secret is.
	defer t.Kube().CoreV1().Pods(pod.Namespace).Delete(context.WithoutCancel(ctx), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
	var secret string // its hash
	read := func(line []byte) bool {
		if found := shown.FindSubmatch(line); found != nil {
			sum := sha256.Sum256(found[1])
			secret = hex.EncodeToString(sum[:])
		}
		return secret == t.Azure().SecretSHA256
	}
	if w.Sample.Loops {
		awaitShown(ctx, t, pod, func(line []byte) bool { return read(line) || secret != "" })
	} else {
		finished, err := pods.Run(ctx, t.Kube(), pod)
		t.Must(err, "run pod %s", pod.Name)
		for line := range bytes.Lines(finished.Containers["app"].Log) {
			if read(bytes.TrimRight(line, "\n")) {
				break
			}
		}
		t.Equal("exit code", int32(0), finished.Containers["app"].ExitCode)
	}

	seen := programs.Exchanges(ctx, t, app)
	evidence := programs.Ran(t, w, workloads.Result{OK: secret != "", SecretSHA256: secret}, seen)
	if secret == "" {
		evidence.Error = "its log does not show the secret"
	}
	t.Ran(evidence)
	// The log itself may hold the secret, and is not kept.
	t.Check(secret != "", "%s does not show the secret", w.Name)
	t.Check(secret == "" || secret == t.Azure().SecretSHA256, "what %s shows is not the secret", w.Name)
	if t.Azure().Evidence == nil {
		return
	}
	t.Require(len(seen) > 0, "Azure gave no token to %s", w.Name)
	for _, e := range seen {
		t.Equal("client ID of the exchange", t.Identity(app, reader).ClientID, e.ClientID)
		t.Note("%s: %s; %s", w.Name, e.UserAgent, strings.TrimSpace(e.Client))
	}
}

// awaitShown starts a program that goes on for ever, and returns when it has logged what is wanted, or has ended all the same. Its pod
// ends with the test's namespace.
func awaitShown(ctx context.Context, t *suites.T, pod *corev1.Pod, wanted func(line []byte) bool) {
	pod.Labels["app"] = pod.Name
	_, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	t.Must(err, "create pod %s", pod.Name)
	name, err := pods.AwaitReady(ctx, t.Kube(), pod.Namespace, "app="+pod.Name)
	if err == nil {
		err = pods.AwaitLog(ctx, t.Kube(), pod.Namespace, name, "app", wanted)
	}
	if err == nil {
		return
	}
	// A program that gives up shows no secret. What keeps it from running is nothing of the subject's.
	left, gone := t.Kube().CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	t.Must(gone, "look at pod %s", pod.Name)
	ended := slices.ContainsFunc(left.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
	})
	if !ended {
		t.Must(err, "wait for the secret of pod %s", pod.Name)
	}
}
