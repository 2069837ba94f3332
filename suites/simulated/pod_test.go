package simulated

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/suites"
)

// signing is one key for all tests: RSA keys are slow to make.
var signing = sync.OnceValue(func() *rsa.PrivateKey {
	generated, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return generated
})

// stage is an API server with a namespace, in which containers of the wi-e2e image do what their first argument says.
type stage struct {
	*APIServer
	kube     kubernetes.Interface
	programs map[string]Program

	mu   sync.Mutex
	told []string
}

const ns = "ns"

func newStage(t *testing.T) *stage {
	t.Helper()
	api, err := newAPIServer(t.Context(), signing())
	must(t, err)
	t.Cleanup(func() {
		if err := api.close(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{APIServer: api, programs: map[string]Program{}}
	s.putAccount(ns, "default", map[string]string{suites.ClientIDAnnotation: "client"})
	s.Node.Programs = func(c corev1.Container) Program {
		if len(c.Args) == 0 {
			return nil
		}
		return s.programs[c.Args[0]]
	}
	s.programs["end"] = func(_ context.Context, c *Container) int32 {
		s.tell(c.Name + " runs")
		_, _ = fmt.Fprintln(c.Log, "this is "+c.Name)
		return 0
	}
	s.programs["fail"] = func(_ context.Context, c *Container) int32 {
		s.tell(c.Name + " fails")
		return 3
	}
	s.programs["stay"] = func(ctx context.Context, c *Container) int32 {
		s.tell(c.Name + " runs")
		<-ctx.Done()
		s.tell(c.Name + " is stopped")
		return 0
	}
	config, err := simulatedCluster{api: s.APIServer}.RESTConfig()
	must(t, err)
	config = rest.CopyConfig(config)
	s.kube, err = kubernetes.NewForConfig(config)
	must(t, err)
	return s
}

func (s *stage) tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, what)
}

func (s *stage) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

func does(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: ImageOf(self), Args: args}
}

func sidecar(name string, args ...string) corev1.Container {
	c := does(name, args...)
	c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	return c
}

func hooked(c corev1.Container) corev1.Container {
	c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/hook"}}}}
	return c
}

func podOf(init []corev1.Container, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, InitContainers: init, Containers: containers},
	}
}

func (s *stage) create(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	created, err := s.kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	must(t, err)
	return created
}

// see follows a pod from its creation until it is as wanted, and returns all its states.
func (s *stage) see(t *testing.T, created *corev1.Pod, wanted func(*corev1.Pod) bool) []*corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := []*corev1.Pod{created}
	w, err := s.kube.CoreV1().Pods(ns).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + created.Name, ResourceVersion: created.ResourceVersion})
	must(t, err)
	defer w.Stop()
	for event := range w.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok || event.Type == watch.Deleted {
			t.Fatalf("%s: %v", event.Type, event.Object)
		}
		seen = append(seen, pod)
		if wanted(pod) {
			return seen
		}
	}
	t.Fatalf("the pod does not get there; at last it is %+v", seen[len(seen)-1].Status)
	return nil
}

func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// states of containers, in their order, in a word each.
func states(statuses ...corev1.ContainerStatus) string {
	var all []string
	for _, s := range statuses {
		switch state := s.State; {
		case state.Running != nil:
			all = append(all, "running")
		case state.Terminated != nil:
			all = append(all, fmt.Sprint("ended ", state.Terminated.ExitCode))
		default:
			all = append(all, state.Waiting.Reason)
		}
	}
	return strings.Join(all, ", ")
}

func conditions(pod *corev1.Pod) string {
	var holding []string
	for _, c := range pod.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			holding = append(holding, string(c.Type))
		}
	}
	return strings.Join(holding, ", ")
}

func TestInitContainersRunInOrderAndSidecarsBesideTheRest(t *testing.T) {
	s := newStage(t)
	created := s.create(t, podOf([]corev1.Container{does("first", "end"), sidecar("beside", "stay"), does("second", "end")}, does("app", "end")))
	if created.Status.Phase != corev1.PodPending || created.UID == "" {
		t.Errorf("it was created as %q with UID %q", created.Status.Phase, created.UID)
	}
	var story []string
	for _, pod := range s.see(t, created, hasEnded)[1:] {
		line := fmt.Sprintf("%s; %s; %s; %s", pod.Status.Phase, states(pod.Status.InitContainerStatuses...), states(pod.Status.ContainerStatuses...), conditions(pod))
		if len(story) == 0 || story[len(story)-1] != line {
			story = append(story, line)
		}
	}
	want := []string{
		"Pending; ContainerCreating, ContainerCreating, ContainerCreating; PodInitializing; PodScheduled",
		"Pending; running, ContainerCreating, ContainerCreating; PodInitializing; PodScheduled",
		"Pending; ended 0, ContainerCreating, ContainerCreating; PodInitializing; PodScheduled",
		"Pending; ended 0, running, ContainerCreating; PodInitializing; PodScheduled",
		"Pending; ended 0, running, running; PodInitializing; PodScheduled",
		"Pending; ended 0, running, ended 0; PodInitializing; PodScheduled, Initialized",
		"Running; ended 0, running, ended 0; running; PodScheduled, Initialized",
		"Running; ended 0, running, ended 0; running; PodScheduled, Initialized, ContainersReady, Ready",
		"Running; ended 0, running, ended 0; ended 0; PodScheduled, Initialized",
		"Running; ended 0, ended 0, ended 0; ended 0; PodScheduled, Initialized",
		"Succeeded; ended 0, ended 0, ended 0; ended 0; PodScheduled, Initialized",
	}
	if diff := cmp.Diff(want, story); diff != "" {
		t.Errorf("the pod's life (-want +got):\n%s", diff)
	}
	programs := s.story()
	for _, pair := range [][2]string{
		{"first runs", "beside runs"}, {"first runs", "second runs"}, {"second runs", "app runs"}, {"app runs", "beside is stopped"},
	} {
		before, after := slices.Index(programs, pair[0]), slices.Index(programs, pair[1])
		if before < 0 || after < before {
			t.Errorf("want %s before %s: %q", pair[0], pair[1], programs)
		}
	}
	log, err := pods.Logs(t.Context(), s.kube, ns, "p", "second")
	must(t, err)
	if string(log) != "this is second\n" {
		t.Errorf("the init container's log is %q", log)
	}
}

func TestAPodHasTheAddressOfItsPrograms(t *testing.T) {
	s := newStage(t)
	addresses := map[string]string{}
	s.programs["tell"] = func(_ context.Context, c *Container) int32 {
		s.mu.Lock()
		defer s.mu.Unlock()
		addresses[c.Name] = c.Pod.IP
		return 0
	}
	seen := s.see(t, s.create(t, podOf([]corev1.Container{does("init", "tell")}, does("app", "tell"))), hasEnded)
	ended := seen[len(seen)-1]
	want := map[string]string{"init": ended.Status.PodIP, "app": ended.Status.PodIP}
	if diff := cmp.Diff(want, addresses); diff != "" || ended.Status.PodIP == "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestAFailedInitContainerEndsThePod(t *testing.T) {
	s := newStage(t)
	seen := s.see(t, s.create(t, podOf([]corev1.Container{sidecar("beside", "stay"), does("init", "fail"), does("late", "end")}, does("app", "end"))), hasEnded)
	ended := seen[len(seen)-1]
	if got := states(ended.Status.InitContainerStatuses...); ended.Status.Phase != corev1.PodFailed || got != "ended 0, ended 3, ContainerCreating" {
		t.Errorf("the pod is %s, its init containers %s", ended.Status.Phase, got)
	}
	if story := s.story(); slices.Contains(story, "late runs") || slices.Contains(story, "app runs") {
		t.Errorf("what comes later runs: %q", story)
	}
}

func TestContainersRunSideBySideAndASidecarAmongThemKeepsThePodRunning(t *testing.T) {
	s := newStage(t)
	met := make(chan struct{})
	s.programs["meet"] = func(ctx context.Context, _ *Container) int32 {
		select {
		case met <- struct{}{}:
		case <-met:
		case <-ctx.Done():
			return 1
		}
		return 0
	}
	created := s.create(t, podOf(nil, does("one", "meet"), does("beside", "stay"), does("other", "meet")))
	seen := s.see(t, created, func(pod *corev1.Pod) bool {
		return states(pod.Status.ContainerStatuses...) == "ended 0, running, ended 0"
	})
	if phase := seen[len(seen)-1].Status.Phase; phase != corev1.PodRunning {
		t.Errorf("the pod is %s", phase)
	}
	running := s.pod(ns, "p")
	must(t, s.kube.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{}))
	<-running.Context().Done()
	if story := s.story(); story[len(story)-1] != "beside is stopped" {
		t.Errorf("a deleted pod's containers: %q", story)
	}
}

func TestTheNextContainerStartsWhenAHookHasReturned(t *testing.T) {
	for title, c := range map[string]struct {
		pod   func(hooked corev1.Container) *corev1.Pod
		stays string
	}{
		"a native sidecar's": {func(c corev1.Container) *corev1.Pod {
			c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
			return podOf([]corev1.Container{c}, does("app", "end"))
		}, "stay"},
		"an ordinary container's": {func(c corev1.Container) *corev1.Pod { return podOf(nil, c, does("app", "end")) }, "end"},
	} {
		t.Run(title, func(t *testing.T) {
			s := newStage(t)
			s.Node.PostStart = func(_ context.Context, c *Container) error {
				s.tell("hook of " + c.Name)
				pod, ok := get[*corev1.Pod](s.store, podsResource, ns, c.Pod.Name)
				statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
				if !ok || *statuses[0].Started {
					return errors.New("the container has started before its hook returned")
				}
				return nil
			}
			s.see(t, s.create(t, c.pod(hooked(does("beside", c.stays)))), hasEnded)
			story := s.story()
			if hook := slices.Index(story, "hook of beside"); hook < 0 || strings.Count(strings.Join(story, ";"), "hook") > 1 || slices.Index(story, "app runs") < hook {
				t.Errorf("%q", story)
			}
		})
	}
}

func TestAFailedHookIsAnEventAndARestart(t *testing.T) {
	s := newStage(t)
	hooks := 0
	s.Node.PostStart = func(context.Context, *Container) error {
		if hooks++; hooks == 1 {
			return errors.New("not there")
		}
		return nil
	}
	seen := s.see(t, s.create(t, podOf([]corev1.Container{hooked(sidecar("beside", "stay"))}, does("app", "end"))), hasEnded)
	ended := seen[len(seen)-1]
	if restarts := ended.Status.InitContainerStatuses[0].RestartCount; restarts != 1 || ended.Status.Phase != corev1.PodSucceeded {
		t.Errorf("%d restarts, the pod is %s", restarts, ended.Status.Phase)
	}
	events, err := s.kube.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedPostStartHook"})
	must(t, err)
	if len(events.Items) != 1 || events.Items[0].InvolvedObject.Name != "p" || !strings.Contains(events.Items[0].Message, "not there") {
		t.Errorf("events: %+v", events.Items)
	}
}

func TestWhatEndsAgainAndAgainIsNotStartedForEver(t *testing.T) {
	for title, pod := range map[string]*corev1.Pod{
		"a sidecar":                        podOf([]corev1.Container{sidecar("x", "end")}, does("app", "stay")),
		"a container that always restarts": podOf(nil, does("x", "end")),
	} {
		t.Run(title, func(t *testing.T) {
			s := newStage(t)
			if len(pod.Spec.InitContainers) == 0 {
				pod.Spec.RestartPolicy = ""
			}
			seen := s.see(t, s.create(t, pod), func(pod *corev1.Pod) bool {
				statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
				return states(statuses[0]) == "CrashLoopBackOff" && statuses[0].RestartCount == 1
			})
			if ended := seen[len(seen)-1]; hasEnded(ended) {
				t.Errorf("the pod is %s", ended.Status.Phase)
			}
		})
	}
}

func TestAnImageThatNobodyKnowsIsToldAtOnce(t *testing.T) {
	s := newStage(t)
	_, err := pods.Run(t.Context(), s.kube, podOf(nil, does("app", "unknown")))
	if err == nil || !strings.Contains(err.Error(), "ErrImageNeverPull") {
		t.Errorf("error %v", err)
	}
}

func TestALogCanBeFollowed(t *testing.T) {
	s := newStage(t)
	s.programs["talk"] = func(ctx context.Context, c *Container) int32 {
		_, _ = io.WriteString(c.Log, "one\n")
		_, _ = io.WriteString(c.Log, "two\n")
		<-ctx.Done()
		return 0
	}
	pod := podOf(nil, does("app", "talk"))
	pod.Labels = map[string]string{"app": "x"}
	s.create(t, pod)
	name, err := pods.AwaitReady(t.Context(), s.kube, ns, "app=x")
	must(t, err)
	must(t, pods.AwaitLog(t.Context(), s.kube, ns, name, "app", func(line []byte) bool { return string(line) == "two" }))
}

func TestVolumesAreSharedAndOfTheRightContent(t *testing.T) {
	s := newStage(t)
	_, err := s.kube.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{"a": []byte("b")}}, metav1.CreateOptions{})
	must(t, err)
	_, err = s.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"d": "e"}}, metav1.CreateOptions{})
	must(t, err)
	s.programs["write"] = func(_ context.Context, c *Container) int32 {
		for path, content := range map[string]string{"/shared/deep/f": "g", "/f": "of its own"} {
			if err := os.WriteFile(c.File(path), []byte(content), 0o600); err != nil {
				return 1
			}
		}
		return 0
	}
	s.programs["read"] = func(_ context.Context, c *Container) int32 {
		for _, path := range []string{"/secret/a", "/config/as", "/shared/f", "/f", "/token/t"} {
			content, err := os.ReadFile(c.File(path))
			if strings.HasPrefix(path, "/token") {
				content = []byte(fmt.Sprint(strings.Count(string(content), "."), " dots"))
			}
			_, _ = fmt.Fprintf(c.Log, "%s: %s %t %t\n", path, content, err == nil, c.ReadOnly(path))
		}
		return 0
	}
	pod := podOf([]corev1.Container{does("init", "write")}, does("app", "read"))
	pod.Spec.InitContainers[0].VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/shared/deep"}, {Name: "secret", MountPath: "/shared"}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: "secret", MountPath: "/secret", ReadOnly: true}, {Name: "config", MountPath: "/config"}, {Name: "shared", MountPath: "/shared"},
		{Name: "token", MountPath: "/token/"},
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "c"}, Items: []corev1.KeyToPath{{Key: "d", Path: "as"}},
		}}},
		{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}},
		}}}},
	}
	finished, err := pods.Run(t.Context(), s.kube, pod)
	must(t, err)
	want := "/secret/a: b true true\n/config/as: e true false\n/shared/f: g true false\n/f:  false false\n/token/t: 2 dots true false\n"
	if diff := cmp.Diff(want, string(finished.Containers["app"].Log)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAPodWaitsForWhatItMounts(t *testing.T) {
	s := newStage(t)
	pod := podOf(nil, does("app", "end"))
	pod.Spec.Volumes = []corev1.Volume{{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none"}}}}
	s.create(t, pod)
	running := s.pod(ns, "p")
	there, err := s.kube.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	must(t, s.kube.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{}))
	<-running.Context().Done()
	events, err := s.kube.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(there.Items) != 1 || hasEnded(&there.Items[0]) || len(s.story()) > 0 || len(events.Items) != 1 || events.Items[0].Reason != "FailedMount" {
		t.Errorf("%d pods, %q, events %+v", len(there.Items), s.story(), events.Items)
	}
}

func TestWhoAContainerRunsAs(t *testing.T) {
	ofPod := &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1)}
	ofContainer := &corev1.SecurityContext{RunAsUser: ptr.To[int64](2)}
	for title, c := range map[string]struct {
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		image     string
		want      int64
	}{
		"the container's own user":            {ofPod, ofContainer, ImageOf(self), 2},
		"the pod's":                           {ofPod, &corev1.SecurityContext{}, ImageOf(self), 1},
		"an ordinary one in the wi-e2e image": {&corev1.PodSecurityContext{}, nil, ImageOf(self), 65532},
		"and in all others":                   {nil, nil, ImageOf("go-azidentity"), 65532},
	} {
		t.Run(title, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: c.pod}}
			if got := userOf(pod, corev1.Container{Image: c.image, SecurityContext: c.container}); got != c.want {
				t.Errorf("user %d, want %d", got, c.want)
			}
		})
	}
}

func TestReferencesInVariables(t *testing.T) {
	p := &Pod{Pod: podOf(nil), IP: "10.0.0.1"}
	env := p.environment(corev1.Container{Env: []corev1.EnvVar{
		{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "URL", Value: "http://$(POD_IP):80/$(LATER)/$$(POD_IP)/$x$"},
		{Name: "LATER", Value: "$(URL"},
	}})
	want := map[string]string{"POD_IP": "10.0.0.1", "URL": "http://10.0.0.1:80/$(LATER)/$(POD_IP)/$x$", "LATER": "$(URL"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestTheWebhookInjectsAProxyThatRunsBeforeAllElse(t *testing.T) {
	s := newStage(t)
	s.programs["proxy-init"], s.programs["proxy"] = s.programs["end"], s.programs["stay"]
	pod := podOf([]corev1.Container{does("init", "end")}, does("app", "end"))
	pod.Labels, pod.Annotations = map[string]string{suites.UseLabel: "true"}, map[string]string{suites.ProxyAnnotation: "true"}
	s.see(t, s.create(t, pod), hasEnded)
	story := s.story()
	if story[0] != "azwi-proxy-init runs" || slices.Index(story, "azwi-proxy runs") < 0 || story[len(story)-1] != "azwi-proxy is stopped" {
		t.Errorf("%q", story)
	}
}

func TestADryRunMakesNoPod(t *testing.T) {
	s := newStage(t)
	pod := podOf(nil, does("app", "end"))
	pod.Labels = map[string]string{suites.UseLabel: "true"}
	made, err := s.kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	must(t, err)
	if len(made.Spec.Volumes) != 1 {
		t.Error("the pod is not mutated")
	}
	if _, err = s.kube.CoreV1().Pods(ns).Get(t.Context(), "p", metav1.GetOptions{}); !apierrors.IsNotFound(err) || len(s.story()) > 0 {
		t.Errorf("error %v, %q", err, s.story())
	}
}

func TestADeletedPodIsGone(t *testing.T) {
	for title, grace := range map[string]*int64{"when its containers have ended": nil, "at once, if that is asked for": ptr.To[int64](0)} {
		t.Run(title, func(t *testing.T) {
			s := newStage(t)
			stopped := make(chan struct{})
			s.programs["linger"] = func(ctx context.Context, _ *Container) int32 {
				<-ctx.Done()
				<-stopped
				return 0
			}
			created := s.create(t, podOf(nil, does("app", "linger")))
			s.see(t, created, func(pod *corev1.Pod) bool {
				return conditions(pod) == "PodScheduled, Initialized, ContainersReady, Ready"
			})
			must(t, s.kube.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: grace}))
			_, err := s.kube.CoreV1().Pods(ns).Get(t.Context(), "p", metav1.GetOptions{})
			if gone := apierrors.IsNotFound(err); gone != (grace != nil) {
				t.Errorf("gone: %t", gone)
			}
			w, err := s.kube.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{ResourceVersion: created.ResourceVersion})
			must(t, err)
			defer w.Stop()
			close(stopped)
			for event := range w.ResultChan() {
				if event.Type == watch.Deleted {
					return
				}
			}
			t.Error("nobody tells that it was deleted")
		})
	}
}

func TestTheServerHasAVersion(t *testing.T) {
	version, err := newStage(t).kube.Discovery().ServerVersion()
	if err != nil || version.GitVersion != "v1.36.3" {
		t.Errorf("version %v, error %v", version, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
