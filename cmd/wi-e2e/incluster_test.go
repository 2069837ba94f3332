package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
)

// TestARunInTheClusterComesToWhatAPlainOneDoes uses one cluster for all that pods of it execute. Two of its three runs in the cluster are
// disturbed: a shard's pod is killed, and the controller.
func TestARunInTheClusterComesToWhatAPlainOneDoes(t *testing.T) {
	needRoot(t)
	state := ownState(t)
	kubeconfig, remove := createCluster(t, state, "shards")
	defer remove()
	kube := kubeClient(t, kubeconfig)
	selection := []string{"run", "--cluster", "shards", "--seed", "7", "--tier", "admission,exchange,issuer", "--language", "go", "--output"}

	plainOutput := t.TempDir()
	if got := wiE2E(t, append(selection, plainOutput)...); got.code != reports.ExitPass {
		t.Fatalf("the plain run: exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	plain := outcomes(load(t, plainOutput))
	inCluster := func(output string) *exec.Cmd {
		return exec.CommandContext(t.Context(), binary, append(slices.Clone(selection), output, "--in-cluster", "--shards", "3")...)
	}

	t.Run("when the pod of a shard is killed half-way", func(t *testing.T) {
		output := t.TempDir()
		killed := make(chan string, 1)
		go func() { killed <- killAPod(t.Context(), kube) }()
		got := finish(t, inCluster(output))
		if got.code != reports.ExitPass {
			t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
		record := load(t, output)
		expectSame(t, plain, record)
		pod := <-killed
		if !strings.HasPrefix(pod, "shards-") {
			t.Fatal(pod)
		}
		var anew []string
		for _, test := range record.Tests {
			if slices.ContainsFunc(test.Notes, func(n string) bool { return strings.Contains(n, pod) }) {
				anew = append(anew, test.ID)
			}
		}
		if len(anew) == 0 {
			t.Errorf("no test tells that it was begun anew after pod %s", pod)
		}
		expectNothingOnTheCluster(t, kube)
	})

	t.Run("when the controller is killed, and goes on", func(t *testing.T) {
		output := t.TempDir()
		cmd := inCluster(output)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		run := awaitResult(t.Context(), kube)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if got := wiE2E(t, "run", "--resume", run.Labels["wi-e2e.dev/run"], "--seed", "8"); got.code != reports.ExitUsage {
			t.Errorf("with a configuration of its own: exit code %d\n%s", got.code, got.stderr)
		}
		got := wiE2E(t, "run", "--resume", run.Labels["wi-e2e.dev/run"])
		if got.code != reports.ExitPass {
			t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
		expectSame(t, plain, load(t, output))
		expectNothingOnTheCluster(t, kube)
		if got := wiE2E(t, "run", "--resume", run.Labels["wi-e2e.dev/run"]); got.code != reports.ExitUsage || !strings.Contains(got.stderr, "there is no run") {
			t.Errorf("once more: exit code %d\n%s", got.code, got.stderr)
		}
	})
}

// TestTheSonobuoyPluginRunsOnACluster finds the webhook that a run left there.
func TestTheSonobuoyPluginRunsOnACluster(t *testing.T) {
	needRoot(t)
	kubeconfig, remove := createCluster(t, ownState(t), "sonobuoy")
	defer remove()
	if got := wiE2E(t, "run", "--cluster", "sonobuoy", "--keep", "--test", "select-exact-label", "--output", t.TempDir()); got.code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
	}
	sonobuoyRun(t, kubeconfig, "--test", "select-exact-label,issuer-keys")
}

// outcomes are the status of each test, and of each of its cases.
func outcomes(r *reports.Record) map[string]reports.Status {
	all := map[string]reports.Status{}
	for _, t := range r.Tests {
		all[t.ID] = t.Status
		for _, c := range t.Cases {
			all[t.ID+": "+c.Name] = c.Status
		}
	}
	return all
}

func expectSame(t *testing.T, want map[string]reports.Status, record *reports.Record) {
	t.Helper()
	got := outcomes(record)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tests and cases, want %d", len(got), len(want))
	}
	if problems := record.Problems(); len(problems) > 0 {
		t.Errorf("the record contradicts itself: %q", problems)
	}
}

// awaitResult returns the first result that a shard keeps.
func awaitResult(ctx context.Context, kube kubernetes.Interface) *corev1.ConfigMap {
	return firstOf(ctx, kube, func(object *corev1.ConfigMap) bool { return len(object.BinaryData) > 0 })
}

func firstOf(ctx context.Context, kube kubernetes.Interface, wanted func(*corev1.ConfigMap) bool) *corev1.ConfigMap {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		w, err := kube.CoreV1().ConfigMaps("").Watch(ctx, metav1.ListOptions{LabelSelector: incluster.ShardLabel})
		if err != nil {
			continue // the cluster may be busy; the deadline bounds it
		}
		for event := range w.ResultChan() {
			if object, ok := event.Object.(*corev1.ConfigMap); ok && event.Type != watch.Deleted && wanted(object) {
				w.Stop()
				return object
			}
		}
	}
	return &corev1.ConfigMap{}
}

// killAPod kills the pod of the shard that keeps the first result, and returns its name, or what went wrong.
func killAPod(ctx context.Context, kube kubernetes.Interface) string {
	result := awaitResult(ctx, kube)
	index := map[string]string{"1": "0", "2": "1", "3": "2"}[result.Labels[incluster.ShardLabel]]
	selector := labels.Set{"batch.kubernetes.io/job-completion-index": index}.String()
	pods, err := kube.CoreV1().Pods(result.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil || len(pods.Items) != 1 {
		return fmt.Sprintf("%d pods of index %q, error %v", len(pods.Items), index, err)
	}
	if err := kube.CoreV1().Pods(result.Namespace).Delete(ctx, pods.Items[0].Name, *metav1.NewDeleteOptions(0)); err != nil {
		return err.Error()
	}
	return pods.Items[0].Name
}

// expectNothingOnTheCluster expects no namespace, role or binding of a run.
func expectNothingOnTheCluster(t *testing.T, kube kubernetes.Interface) {
	t.Helper()
	ours := metav1.ListOptions{LabelSelector: objects.ManagedLabel}
	var left []string
	namespaces, err := kube.CoreV1().Namespaces().List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range namespaces.Items {
		if ns.DeletionTimestamp == nil {
			left = append(left, "namespace "+ns.Name)
		}
	}
	roles, err := kube.RbacV1().ClusterRoles().List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles.Items {
		left = append(left, "cluster role "+r.Name)
	}
	bindings, err := kube.RbacV1().RoleBindings("").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings.Items {
		left = append(left, "role binding "+b.Namespace+"/"+b.Name)
	}
	if len(left) > 0 {
		t.Errorf("this is left: %q", left)
	}
}
