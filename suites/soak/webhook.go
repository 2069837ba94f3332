package soak

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

const (
	soakWebhook = "soak-webhook"
	// creates at each look, so that what leaks with an admission is seen.
	creates = 50
)

func webhookTest() suites.Test {
	return suites.Test{
		ID:    soakWebhook,
		Title: "The webhook admits on, through restarts, without a crash or a leak",
		Tier:  suites.Soak, Requirements: []string{"OPS-02", "OPS-05"},
		Needs: []suites.Capability{suites.OwnInstallation, suites.SubjectPods},
		Body:  soakTheWebhook,
	}
}

// soakTheWebhook restarts it early and once more, and leaves it alone for the rest, which is what a leak is looked for in.
func soakTheWebhook(ctx context.Context, t *suites.T) {
	v := begin(t, soakWebhook)
	account := t.ServiceAccount(ctx, app, nil)
	restarts := []time.Duration{v.run.Duration / 10, v.run.Duration / 4}
	v.keep(ctx, t, func(ctx context.Context) error {
		if n := v.Counts["rollouts"]; n < len(restarts) && v.run.Passed() >= restarts[n] {
			v.count("rollouts", 1)
			if err := rollOut(ctx, t, v); err != nil {
				return err
			}
		}
		if err := admit(ctx, t, v, account); err != nil {
			return err
		}
		return sampleWebhook(ctx, t, v)
	})
	t.Note("%d labelled pods were admitted through %d restarts", v.Counts["admitted"], v.Counts["rollouts"])
	t.Require(v.Counts["admitted"] > 0, "no labelled pod was admitted in the whole soak")
	v.expectNoFailures(t)
	v.expectNoLeaks(t)
}

// rollOut restarts the webhook as `kubectl rollout restart` does, with creates all the time.
func rollOut(ctx context.Context, t *suites.T, v *vigil) error {
	deployments, _, err := t.Subject().Deployments(ctx, t.Kube())
	if err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	for _, d := range deployments {
		rolled, err := subject.Restart(ctx, t.Kube(), &d, &now, metav1.PatchOptions{FieldManager: suites.FieldManager})
		if err != nil {
			return err
		}
		t.Note("Deployment %s is restarted (generation %d)", rolled.Name, rolled.Generation)
	}
	whole := make(chan error, 1)
	go func() { whole <- t.Subject().AwaitWhole(ctx, t.Kube()) }()
	for {
		select {
		case err := <-whole:
			if err != nil && !away(err) {
				v.failed("the webhook is not whole again after a restart: %v", err)
			}
			return nil
		default:
			if err := admit(ctx, t, v, app); err != nil {
				return err
			}
		}
	}
}

// admit sends creates of labelled pods, as dry runs.
func admit(ctx context.Context, t *suites.T, v *vigil, account string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "soaked", Labels: map[string]string{suites.UseLabel: "true"}},
		Spec:       corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "never-runs", Image: "never-pulled"}}},
	}
	for range creates {
		// A webhook that asks the API server about the account has to refuse the pod while that is restarted.
		v.run.Restarting.RLock()
		made, err := t.Kube().CoreV1().Pods(t.Namespace(ctx)).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		v.run.Restarting.RUnlock()
		switch {
		case err == nil && subject.Injected(made):
			v.count("admitted", 1)
		case err == nil:
			v.failed("a labelled pod is admitted without being mutated")
		case subject.CallFailed(err) || subject.Denied(err):
			v.failed("a labelled pod is refused: %v", err)
		default:
			return err
		}
	}
	return nil
}

// sampleWebhook looks at the webhook's pods; what is none any more has had its time.
func sampleWebhook(ctx context.Context, t *suites.T, v *vigil) error {
	all, err := pods.BehindService(ctx, t.Kube(), t.Subject().Service)
	if err != nil {
		return err
	}
	seen := 0
	for _, p := range all {
		for _, again := range restarted(&p) {
			if key := "restarted " + p.Name + " " + again; v.Counts[key] == 0 {
				v.count(key, 1)
				v.failed("container %s of pod %s was started again", again, p.Name)
			}
		}
		u, err := usageOf("/proc", p.UID)
		if err != nil {
			return err
		}
		if u.processes > 0 && p.DeletionTimestamp == nil {
			v.sample("webhook pod "+p.Name, u)
			seen++
		}
	}
	if seen == 0 {
		return errors.New("no process of the webhook's pods is on this machine")
	}
	return nil
}
