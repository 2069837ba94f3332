package soak

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

const (
	soakRenewal = "soak-token-renewal"
	// shortest is the shortest life of a projected token. The webhook's own are of an hour at least (EXP-02).
	shortest = 10 * time.Minute
	// RenewalTakes is how long a soak has to be to see one: 80 per cent of a token's life, and what the kubelet takes to write it.
	RenewalTakes = 12 * time.Minute
)

func renewalTest() suites.Test {
	return suites.Test{
		ID:    soakRenewal,
		Title: "The kubelet renews tokens before they expire, and running programs exchange the new ones",
		Tier:  suites.Soak, Requirements: []string{"VOL-08"},
		Needs: needs(suites.RenewalTime, suites.WorkloadImage("go-msal")),
		Trust: []suites.Trust{{Account: app, Identity: reader}},
		Body:  renewal,
	}
}

// renewal has a program exchange the token that the webhook injected and one of ten minutes, which the pod projects itself. Azure tells
// when each token that it was shown had been issued. A program that got on with an old one would be refused when it expires.
func renewal(ctx context.Context, t *suites.T) {
	const dir = "/short"
	v := begin(t, soakRenewal)
	shortened(ctx, t)
	c := programs.New(t, "go-msal", "go-msal", workloads.Attempt{}, workloads.Attempt{TokenFile: dir + "/token"})
	c.VolumeMounts = []corev1.VolumeMount{{Name: "short", MountPath: dir, ReadOnly: true}}
	pod := programs.Pod(ctx, t, "", app, c)
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	pod.Spec.Volumes = []corev1.Volume{{Name: "short", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: t.Subject().Audience, ExpirationSeconds: ptr.To(int64(shortest.Seconds())), Path: "token",
		}}},
	}}}}
	running := programs.Start(ctx, t, "renewal", pod)
	began, err := running.Pod(ctx, t)
	t.Must(err, "get the pod")
	// The injected token's own hour is longer than most soaks; that it could never be renewed is seen at once.
	for _, c := range began.Spec.Containers {
		for _, m := range c.VolumeMounts {
			t.Check(m.SubPath == "" && m.SubPathExpr == "", "container %s mounts volume %s by subPath, which the kubelet never renews", c.Name, m.Name)
		}
	}
	log := &log{running: running, container: "go-msal"}
	type token struct{ issued, expires time.Time } // two may be issued in the same second
	shown := map[token]bool{}
	var renewed []time.Duration // ages of the short tokens when their successors were first shown
	var since uint64
	var last time.Time
	v.keep(ctx, t, func(ctx context.Context) error {
		if err := log.read(ctx, t, began, v); err != nil {
			return err
		}
		entries, err := t.Azure().Evidence(ctx, since)
		if err != nil {
			return err
		}
		subject := "system:serviceaccount:" + t.Namespace(ctx) + ":" + app
		for _, e := range entries {
			since = e.Sequence
			if e.Service != "entra" || e.Subject != subject || e.Issued.IsZero() || e.Client == "" {
				continue
			}
			this := token{e.Issued, e.Expires}
			if shown[this] {
				continue
			}
			shown[this] = true
			life := e.Expires.Sub(e.Issued)
			if life != shortest {
				t.Note("a token of %s, issued %s, is exchanged from %s on", life, e.Issued.Format(time.TimeOnly), e.Time.Format(time.TimeOnly))
				continue
			}
			if !last.IsZero() {
				renewed = append(renewed, e.Time.Sub(last))
				t.Note("a token of %s is renewed: its successor is exchanged when it is %s old", shortest, e.Time.Sub(last).Round(time.Second))
			}
			last = e.Issued
		}
		return nil
	})
	v.expectNoFailures(t)
	t.Require(!last.IsZero(), "the token of %s was never exchanged", shortest)
	t.Require(len(renewed) > 0, "in the soak of %s no token of %s was renewed", v.run.Duration, shortest)
	for _, age := range renewed {
		t.Check(age >= shortest*3/4 && age < shortest, "a token of %s was renewed when it was %s old, want about 80 %% of its life", shortest, age.Round(time.Second))
	}
}
