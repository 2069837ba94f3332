package simulated

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Pod is one that runs, as its programs know it: they can tell by it who their neighbours are.
type Pod struct {
	*corev1.Pod // as it was admitted
	IP          string

	node *Node
	dir  string
	// running ends when the pod is deleted, ctx when its containers have ended.
	running, ctx context.Context
	stop, ended  context.CancelFunc

	mu         sync.Mutex
	containers []*container // those that are init containers first
	status     corev1.PodPhase
}

func (n *Node) newPod(admitted *corev1.Pod) *Pod {
	p := &Pod{Pod: admitted, IP: n.address(), node: n, dir: filepath.Join(n.dir, string(admitted.UID)), status: corev1.PodPending}
	if admitted.Spec.HostNetwork {
		p.IP = nodeAddress
	}
	p.running, p.stop = context.WithCancel(n.api.ctx)
	p.ctx, p.ended = context.WithCancel(context.WithoutCancel(n.api.ctx))
	for i, spec := range slices.Concat(admitted.Spec.InitContainers, admitted.Spec.Containers) {
		init := i < len(admitted.Spec.InitContainers)
		reason := "PodInitializing"
		if init || len(admitted.Spec.InitContainers) == 0 {
			reason = "ContainerCreating"
		}
		p.containers = append(p.containers, &container{
			spec: spec, pod: p, init: init, sidecar: init && ptr.Deref(spec.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways,
			started: make(chan struct{}), ended: make(chan struct{}), state: waiting(reason),
		})
	}
	return p
}

// Context ends when all containers of the pod have ended.
func (p *Pod) Context() context.Context { return p.ctx }

// Azure is the way to it by the pod's host aliases.
func (p *Pod) Azure() http.RoundTripper { return resolving{p.node.azure, p.Spec.HostAliases} }

// Warn records a warning about the pod among its events.
func (p *Pod) Warn(reason, message string) { p.event("", corev1.EventTypeWarning, reason, message) }

func (p *Pod) event(field, kind, reason, message string) {
	about := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID, FieldPath: field}
	p.node.api.event(p.Namespace, about, kind, reason, message)
}

// run is the pod's life: its init containers one after the other, then the others side by side, and the sidecars beside
// them all.
func (p *Pod) run() {
	defer p.ended()
	defer p.stop()
	p.publish()
	if err := p.mount(); err != nil {
		p.Warn("FailedMount", err.Error())
		<-p.running.Done() // the kubelet tries again for ever
		return
	}
	// Sidecars are stopped when the others have ended, also those of a pod that is deleted, in reverse order.
	var sidecars []func()
	stopSidecars := func() {
		for _, stop := range slices.Backward(sidecars) {
			stop()
		}
	}
	var others []*container
	for _, c := range p.containers {
		if p.running.Err() != nil {
			break // it is deleted
		}
		switch {
		case c.sidecar:
			ctx, stop := context.WithCancel(context.WithoutCancel(p.running))
			c.start(ctx)
			sidecars = append(sidecars, func() { stop(); <-c.ended })
			c.awaitUp()
		case c.init:
			c.start(p.running)
			<-c.ended
			if c.exitCode() != 0 {
				stopSidecars()
				p.end(corev1.PodFailed)
				return
			}
		default:
			c.start(p.running)
			others = append(others, c)
			c.awaitUp() // the kubelet starts one after the other, hooks included
		}
	}
	phase := corev1.PodSucceeded
	for _, c := range others {
		<-c.ended
		if c.exitCode() != 0 {
			phase = corev1.PodFailed
		}
	}
	if len(others) < len(p.Spec.Containers) {
		phase = corev1.PodFailed
	}
	stopSidecars()
	p.end(phase)
}

func (p *Pod) end(phase corev1.PodPhase) {
	p.mu.Lock()
	p.status = phase
	p.mu.Unlock()
	p.publish()
}

func (p *Pod) phase() corev1.PodPhase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// publish tells the API server how the pod is.
func (p *Pod) publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	update(p.node.api.store, podsResource, p.Namespace, p.Name, func(pod *corev1.Pod) {
		if pod.UID == p.UID { // and not one of the same name that came after it
			pod.Status = p.statusNow(pod.Status)
			p.node.Status(pod)
		}
	})
}

// statusNow is the pod's status after an older one.
func (p *Pod) statusNow(older corev1.PodStatus) corev1.PodStatus {
	now := corev1.PodStatus{Phase: p.status, HostIP: nodeAddress, StartTime: older.StartTime}
	if now.StartTime == nil {
		now.StartTime = ptr.To(metav1.Now())
	}
	initialized, ready := true, true
	ever, begun := false, false
	for _, c := range p.containers {
		ever = ever || c.hasRun()
		status := corev1.ContainerStatus{
			Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, State: c.state, LastTerminationState: c.last, RestartCount: c.restarts,
			Started: ptr.To(c.state.Running != nil && c.isUp()),
		}
		switch {
		case c.sidecar:
			status.Ready = *status.Started
			initialized = initialized && *status.Started
			ready = ready && status.Ready
		case c.init:
			status.Ready = c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
			initialized = initialized && status.Ready
		default:
			status.Ready = *status.Started
			ready = ready && status.Ready
			begun = begun || c.hasRun()
		}
		if c.init {
			now.InitContainerStatuses = append(now.InitContainerStatuses, status)
		} else {
			now.ContainerStatuses = append(now.ContainerStatuses, status)
		}
	}
	if begun { // then it has been initialized, whatever its sidecars do now
		initialized = true
		if now.Phase == corev1.PodPending {
			now.Phase = corev1.PodRunning
		}
	}
	if ever {
		now.PodIP, now.PodIPs = p.IP, []corev1.PodIP{{IP: p.IP}}
	}
	condition := func(kind corev1.PodConditionType, holds bool, reason string) {
		status := corev1.ConditionFalse
		if holds {
			status, reason = corev1.ConditionTrue, ""
		}
		now.Conditions = append(now.Conditions, corev1.PodCondition{Type: kind, Status: status, Reason: reason})
	}
	unready := "ContainersNotReady"
	if now.Phase == corev1.PodSucceeded {
		unready = "PodCompleted"
	}
	condition(corev1.PodScheduled, true, "")
	condition(corev1.PodInitialized, initialized, "ContainersNotInitialized")
	condition(corev1.ContainersReady, initialized && ready, unready)
	condition(corev1.PodReady, initialized && ready, unready)
	return now
}

func (p *Pod) log(name string) *log {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.containers {
		if c.spec.Name == name || name == "" && len(p.containers) == 1 {
			return c.log
		}
	}
	return nil
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}
