package operations

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// app is the service account of workloads, which reader trusts.
const app = "app"

var reader = suites.Identity{Name: "reader", Reads: true}

func upgradeTests() []suites.Test {
	return []suites.Test{{
		ID:           "upgrade",
		Title:        "Through an upgrade no labelled pod is refused and workloads read on; pods that are new then are as the new version has them",
		Requirements: []string{"OPS-07", "OPS-02"},
		Needs: []suites.Capability{
			suites.OwnInstallation, suites.PreviousVersion, suites.Nodes, suites.AzureAvailable,
			suites.WorkloadImage("go-azidentity"), suites.WorkloadImage("python-azidentity"),
		},
		Trust:   []suites.Trust{{Account: app, Identity: reader}},
		Timeout: 5 * time.Minute, // two rollouts, on a cluster that may pull images for each
		Body:    upgrade,
	}}
}

func upgrade(ctx context.Context, t *suites.T) {
	settled(ctx, t)
	wanted := t.Subject()
	upgraded := false
	defer func() {
		if upgraded {
			return
		}
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, err := t.Env().Upgrade(restore)
		t.Must(err, "put the version under test back")
	}()
	previous, err := t.Env().Downgrade(ctx)
	t.Must(err, "put the version before in place")
	t.Note("from %s to %s", describe(previous), describe(wanted))

	old := programs.Start(ctx, t, "before", workload(ctx, t))
	for _, container := range old.Containers() {
		haveRead(ctx, t, old, container, 2)
	}
	untouched, err := old.Pod(ctx, t)
	t.Must(err, "get the pod of before")
	result := streamed(ctx, t, func(s *stream) {
		s.mark("upgrade began")
		_, err := t.Env().Upgrade(ctx)
		t.Require(err == nil, "the version under test does not come up in place of the one before: %v", err)
		upgraded = true
		s.mark("upgraded")
		t.Must(s.await(ctx, aftermath), "look at creates after the upgrade")
	})
	result.unbroken(t)
	t.Equal("images of the webhook's pods", names(wanted.Images), names(t.Subject().Images))

	for _, container := range old.Containers() {
		haveRead(ctx, t, old, container, len(old.Results(ctx, t, container))+2)
	}
	now, err := old.Pod(ctx, t)
	t.Require(err == nil, "the pod of before is gone after the upgrade: %v", err)
	undisturbed(t, untouched, now)

	fresh := programs.Start(ctx, t, "after", workload(ctx, t))
	pod, err := fresh.Pod(ctx, t)
	t.Must(err, "get the new pod")
	asOf(t, wanted.Profile, pod)
	for _, container := range fresh.Containers() {
		haveRead(ctx, t, fresh, container, 1)
	}
}

func workload(ctx context.Context, t *suites.T) *corev1.Pod {
	pod := programs.Pod(ctx, t, "", app, programs.New(t, "go", "go-azidentity"), programs.New(t, "python", "python-azidentity"))
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	return pod
}

// haveRead waits until the container has made n reads, none of which may have failed.
func haveRead(ctx context.Context, t *suites.T, r *programs.Running, container string, n int) {
	results := r.Await(ctx, t, container, func(all []workloads.Result) bool { return len(all) >= n })
	noneFailed(t, container, results)
	programs.HasRead(t, "container "+container, results[len(results)-1], t.Identity(app, reader).ClientID)
}

// noneFailed expects that a program read the secret each time.
func noneFailed(t *suites.T, container string, results []workloads.Result) {
	var failed []string
	for i, r := range results {
		if !r.OK {
			failed = append(failed, fmt.Sprintf("read %d of %d: %s", i+1, len(results), programs.Describe(r)))
		}
	}
	t.Check(len(failed) == 0, "container %s, which runs on, fails to read the secret %d times: %s", container, len(failed), strings.Join(failed[:min(3, len(failed))], "; "))
}

// undisturbed expects that a pod is the one it was, in what it should be and in what runs of it.
func undisturbed(t *suites.T, before, after *corev1.Pod) {
	t.Check(after.DeletionTimestamp == nil, "the pod of before is being deleted after the upgrade")
	t.Equal("the pod of before", identity(before), identity(after))
	t.Equal("the spec of the pod of before", before.Spec, after.Spec)
}

// identity of a pod and of its containers, which a restart changes.
func identity(pod *corev1.Pod) map[string]string {
	is := map[string]string{"uid": string(pod.UID)}
	for _, c := range pod.Status.ContainerStatuses {
		is[c.Name] = c.ContainerID
	}
	return is
}

// asOf expects the token where that version has it (section 9).
func asOf(t *suites.T, profile subject.Profile, pod *corev1.Pod) {
	tokenFile, volume := profile.TokenFile(pod.GenerateName, true), profile.VolumeName(pod.GenerateName, true)
	for _, c := range pod.Spec.Containers {
		i := slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == "AZURE_FEDERATED_TOKEN_FILE" })
		t.Require(i >= 0, "container %s of a new pod has no AZURE_FEDERATED_TOKEN_FILE after the upgrade", c.Name)
		t.Equal("after the upgrade AZURE_FEDERATED_TOKEN_FILE of container "+c.Name+" of a new pod", tokenFile, c.Env[i].Value)
	}
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume })
	t.Check(i >= 0, "after the upgrade a new pod has no volume %s, where profile %s has the token", volume, profile)
}

func describe(in *subject.Installed) string {
	text := "profile " + in.Profile.String()
	if in.Version != "" {
		text = "version " + in.Version + ", " + text
	}
	return text
}

func names(images []subject.Image) []string {
	var all []string
	for _, i := range images {
		all = append(all, i.Name)
	}
	slices.Sort(all)
	return all
}
