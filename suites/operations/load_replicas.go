package operations

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/suites"
)

// replicaContainers are the containers of the webhook's pods before a load.
type replicaContainers map[containerName]replicaContainer

type containerName struct{ pod, container string }

func (n containerName) String() string { return n.container + " of pod " + n.pod }

type replicaContainer struct {
	pod      types.UID
	node     string
	restarts int32
	limit    int64 // of memory in bytes, 0 if there is none
}

func replicasOf(pods []corev1.Pod) replicaContainers {
	all := replicaContainers{}
	for _, p := range pods {
		for _, c := range p.Spec.Containers {
			all[containerName{p.Name, c.Name}] = replicaContainer{
				pod: p.UID, node: p.Spec.NodeName, restarts: restartsOf(&p, c.Name), limit: c.Resources.Limits.Memory().Value(),
			}
		}
	}
	return all
}

// unlimited are the containers without a memory limit.
func (r replicaContainers) unlimited() []containerName {
	var none []containerName
	for name, c := range r {
		if c.limit == 0 {
			none = append(none, name)
		}
	}
	return none
}

// disturbance is what has happened to a replica since, "" if nothing has.
func (r replicaContainers) disturbance(p *corev1.Pod) string {
	for name, c := range r {
		switch {
		case name.pod != p.Name || c.pod != p.UID:
		case p.DeletionTimestamp != nil:
			return fmt.Sprintf("pod %s is being deleted", p.Name)
		case restartsOf(p, name.container) > c.restarts:
			return fmt.Sprintf("container %s was restarted (%s)", name, lastEnd(p, name.container))
		}
	}
	return ""
}

// explainedWithin is how long a kubelet may take to notice that a container has ended and to start it again.
const explainedWithin = 10 * time.Second

// expectUndisturbed expects that no replica has ended. Where creates have failed the kubelet is given time to tell why.
func expectUndisturbed(ctx context.Context, t *suites.T, webhook *installation, before replicaContainers, held bool) {
	if !held {
		limited, cancel := context.WithTimeout(ctx, explainedWithin)
		defer cancel()
		// A deadline that passes is no news: not every failure is a container's end.
		_, _ = watchtools.UntilWithSync(limited, webhook.listPods(t), &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
			p, ok := e.Object.(*corev1.Pod)
			return ok && before.disturbance(p) != "", nil
		})
	}
	var disturbances []string
	left := map[types.UID]bool{}
	for _, p := range webhook.pods(ctx, t) {
		left[p.UID] = true
		if d := before.disturbance(&p); d != "" {
			disturbances = append(disturbances, d)
		}
	}
	for name, c := range before {
		if !left[c.pod] {
			disturbances = append(disturbances, fmt.Sprintf("pod %s is gone", name.pod))
		}
	}
	slices.Sort(disturbances)
	t.Check(len(disturbances) == 0, "the load disturbed the webhook: %s", strings.Join(slices.Compact(disturbances), "; "))
}

func restartsOf(p *corev1.Pod, container string) int32 {
	if s := statusOf(p, container); s != nil {
		return s.RestartCount
	}
	return 0
}

// lastEnd is why a container ended last.
func lastEnd(p *corev1.Pod, container string) string {
	if s := statusOf(p, container); s != nil && s.LastTerminationState.Terminated != nil {
		end := s.LastTerminationState.Terminated
		return fmt.Sprintf("%s, exit code %d", end.Reason, end.ExitCode)
	}
	return "its last end is not known"
}

func statusOf(p *corev1.Pod, container string) *corev1.ContainerStatus {
	i := slices.IndexFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == container })
	if i < 0 {
		return nil
	}
	return &p.Status.ContainerStatuses[i]
}

// readWithin is longer than a kubelet takes from one reading of a container to the next.
const readWithin = 40 * time.Second

// noteMemory notes what each container used, against its limit, by a reading that was made after began. It is the working set, by which
// the kernel decides which container is killed; the process' own metrics also count what it shares with others.
func noteMemory(ctx context.Context, t *suites.T, replicas replicaContainers, began time.Time) {
	ctx, cancel := context.WithTimeoutCause(ctx, readWithin, fmt.Errorf("no reading within %s", readWithin))
	defer cancel()
	var used map[containerName]int64
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var err error
		used, err = memory(ctx, t, replicas, began)
		t.Must(err, "read the memory of the webhook's containers")
		if len(used) == len(replicas) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Must(context.Cause(ctx), "read the memory of the webhook's containers: %d of %d are known to their kubelets", len(used), len(replicas))
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(used), func(a, b containerName) int { return strings.Compare(a.String(), b.String()) }) {
		limit := replicas[name].limit
		t.Note("container %s uses %d MiB of its limit of %d MiB", name, used[name]>>20, limit>>20)
		t.Check(limit == 0 || used[name] < limit, "container %s uses %d bytes of memory, its limit is %d", name, used[name], limit)
	}
}

// memory is the working set of each container, as far as it was read after that time.
func memory(ctx context.Context, t *suites.T, replicas replicaContainers, after time.Time) (map[containerName]int64, error) {
	nodes := map[string]bool{}
	for _, c := range replicas {
		nodes[c.node] = true
	}
	used := map[containerName]int64{}
	for node := range nodes {
		summary, err := t.Kube().CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("stats/summary").
			Param("only_cpu_and_memory", "true").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask the kubelet of node %s for its pods' memory: %w", node, err)
		}
		found, err := replicas.workingSets(summary, after)
		if err != nil {
			return nil, fmt.Errorf("decode what the kubelet of node %s says of its pods' memory: %w", node, err)
		}
		maps.Copy(used, found)
	}
	return used, nil
}

// workingSets are those of the containers that a kubelet has read after that time: it may be some seconds behind.
func (r replicaContainers) workingSets(summary []byte, after time.Time) (map[containerName]int64, error) {
	var stats statsSummary
	if err := json.Unmarshal(summary, &stats); err != nil {
		return nil, err
	}
	used := map[containerName]int64{}
	for _, p := range stats.Pods {
		for _, c := range p.Containers {
			name := containerName{p.Ref.Name, c.Name}
			if r[name].pod == p.Ref.UID && c.Memory.Time.After(after) {
				used[name] = c.Memory.WorkingSet
			}
		}
	}
	return used, nil
}

// statsSummary is the part of a kubelet's stats/summary that is read here.
type statsSummary struct {
	Pods []struct {
		Ref struct {
			Name string    `json:"name"`
			UID  types.UID `json:"uid"`
		} `json:"podRef"`
		Containers []struct {
			Name   string `json:"name"`
			Memory struct {
				Time       time.Time `json:"time"`
				WorkingSet int64     `json:"workingSetBytes"`
			} `json:"memory"`
		} `json:"containers"`
	} `json:"pods"`
}

func listed(names []containerName) string {
	var all []string
	for _, n := range names {
		all = append(all, n.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
