package simulated

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container is what a program has of it.
type Container struct {
	corev1.Container
	Pod *Pod
	// Env are its variables, with their references to others and to fields of the pod resolved.
	Env map[string]string
	// UID is the user that it runs as.
	UID int64
	Log io.Writer
}

// File is where a path of the container is on this machine. What is in no volume is the container's own, and empty at first.
func (c *Container) File(path string) string {
	if path == "" {
		return ""
	}
	if mount := c.mount(path); mount != nil {
		return filepath.Join(c.Pod.volume(mount.Name), strings.TrimPrefix(path, mount.MountPath))
	}
	return filepath.Join(c.Pod.dir, "containers", c.Name, path)
}

// ReadOnly tells whether the path is in a volume that is mounted so.
func (c *Container) ReadOnly(path string) bool {
	mount := c.mount(path)
	return mount != nil && mount.ReadOnly
}

// mount is the one that the path is in.
func (c *Container) mount(path string) (found *corev1.VolumeMount) {
	for i, m := range c.VolumeMounts {
		below := strings.TrimSuffix(m.MountPath, "/") + "/"
		if strings.HasPrefix(path+"/", below) && (found == nil || len(m.MountPath) > len(found.MountPath)) {
			found = &c.VolumeMounts[i]
		}
	}
	return found
}

// ordinaryUser is that of all images.
const ordinaryUser = 65532

func userOf(pod *corev1.Pod, c corev1.Container) int64 {
	switch {
	case c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil:
		return *c.SecurityContext.RunAsUser
	case pod.Spec.SecurityContext != nil && pod.Spec.SecurityContext.RunAsUser != nil:
		return *pod.Spec.SecurityContext.RunAsUser
	}
	return ordinaryUser
}

// environment resolves as a kubelet: a variable may refer to those before it.
func (p *Pod) environment(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, v := range c.Env {
		value := expand(v.Value, env)
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			value = map[string]string{
				"metadata.name": p.Name, "metadata.namespace": p.Namespace, "metadata.uid": string(p.UID),
				"spec.serviceAccountName": p.Spec.ServiceAccountName, "status.podIP": p.IP, "status.hostIP": nodeAddress,
			}[v.ValueFrom.FieldRef.FieldPath]
		}
		env[v.Name] = value
	}
	return env
}

// expand replaces each $(NAME) that there is, and $$ by $.
func expand(text string, env map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		value, known := env[name]
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "(") && closed && known:
			out.WriteString(value)
			text = rest
		default:
			out.WriteByte('$')
			text = after
		}
	}
}

// container is one of a pod, as the node sees it. What changes is guarded by the pod's lock.
type container struct {
	spec          corev1.Container
	pod           *Pod
	init, sidecar bool
	// started is closed when its post-start hook has returned, ended when it will not run again.
	started, ended chan struct{}

	log         *log
	state, last corev1.ContainerState
	restarts    int32
}

// start has it run until it has ended for good, or ctx does.
func (c *container) start(ctx context.Context) {
	program := c.pod.node.Programs(c.spec)
	if program == nil {
		c.set(waiting("ErrImageNeverPull"))
	}
	c.pod.node.api.background.Go(func() {
		defer close(c.ended)
		if program == nil {
			<-ctx.Done()
			return
		}
		for !c.once(ctx, program) {
			if c.restarts == 1 { // the first time at once
				c.set(waiting("CrashLoopBackOff"))
				<-ctx.Done()
				return
			}
			c.pod.mu.Lock()
			c.restarts++
			c.pod.mu.Unlock()
		}
	})
}

// once tells whether that was all: whoever is to run goes on.
func (c *container) once(ctx context.Context, program Program) bool {
	running, stop := context.WithCancel(ctx)
	defer stop()
	run := &Container{
		Container: *c.spec.DeepCopy(), Pod: c.pod, Env: c.pod.environment(c.spec), UID: userOf(c.pod.Pod, c.spec),
	}
	c.pod.mu.Lock()
	c.log = newLog()
	run.Log = c.log
	c.pod.mu.Unlock()
	started := metav1.Now()
	c.set(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}})
	c.pod.event(c.field(), corev1.EventTypeNormal, "Started", "Container "+c.spec.Name+" started")

	exited := make(chan int32, 1)
	c.pod.node.api.background.Go(func() {
		defer stop() // of the hook, too
		exited <- program(running, run)
	})
	failed := c.hook(running, run)
	if failed != nil && ctx.Err() == nil {
		c.pod.Warn("FailedPostStartHook", failed.Error())
		stop()
	} else if failed == nil {
		c.up()
	}
	code := <-exited
	reason := "Completed"
	if failed != nil && code == 0 && ctx.Err() == nil {
		code = killed
	}
	if code != 0 {
		reason = "Error"
	}
	c.log.end()
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, StartedAt: started, FinishedAt: metav1.Now(),
	}}
	c.pod.mu.Lock()
	c.last = corev1.ContainerState{}
	again := ctx.Err() == nil && c.restartsAfter(code)
	if again {
		c.last = ended
	}
	c.pod.mu.Unlock()
	c.set(ended)
	return !again
}

// field is the container in its pod, as events name it.
func (c *container) field() string {
	if c.init {
		return "spec.initContainers{" + c.spec.Name + "}"
	}
	return "spec.containers{" + c.spec.Name + "}"
}

// killed is the exit code of who is.
const killed = 137

func (c *container) hook(ctx context.Context, run *Container) error {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PostStart == nil {
		return nil
	}
	if err := c.pod.node.PostStart(ctx, run); err != nil {
		return fmt.Errorf("PostStartHook of container %s failed: %w", c.spec.Name, err)
	}
	return nil
}

// up says that the container serves.
func (c *container) up() {
	c.pod.mu.Lock()
	if !c.isUp() {
		close(c.started)
	}
	c.pod.mu.Unlock()
	c.pod.publish()
}

func (c *container) isUp() bool {
	select {
	case <-c.started:
		return true
	default:
		return false
	}
}

// hasRun tells whether it runs, or did.
func (c *container) hasRun() bool { return c.state.Waiting == nil || c.restarts > 0 }

func (c *container) restartsAfter(code int32) bool {
	switch policy := c.pod.Spec.RestartPolicy; {
	case c.sidecar:
		return true
	case policy == corev1.RestartPolicyAlways:
		return !c.init || code != 0
	default:
		return policy == corev1.RestartPolicyOnFailure && code != 0
	}
}

// awaitUp returns when the container is, when it will never be, or when the pod is deleted.
func (c *container) awaitUp() {
	select {
	case <-c.started:
	case <-c.ended:
	case <-c.pod.running.Done():
	}
}

func (c *container) set(state corev1.ContainerState) {
	c.pod.mu.Lock()
	c.state = state
	c.pod.mu.Unlock()
	c.pod.publish()
}

// exitCode is killed for one that has none.
func (c *container) exitCode() int32 {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.state.Terminated == nil {
		return killed
	}
	return c.state.Terminated.ExitCode
}
