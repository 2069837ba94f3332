package proxy

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/suites"
)

func redirectTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "proxy-reached",
			Title: "Calls to IMDS from every container reach the proxy, whatever its user and whatever the proxy's port",
			Tier:  suites.Proxy, Requirements: []string{"PRX-09"},
			Needs: needs(), Trust: trusted(reader), Body: reached,
		},
		{
			ID:    "proxy-reached-by-init",
			Title: "Calls to IMDS from the user's init containers reach the proxy",
			Tier:  suites.Proxy, Requirements: []string{"PRX-09"},
			Needs: needs(suites.NativeSidecar), Trust: trusted(reader), Body: reachedByInit,
		},
		{
			ID:    "proxy-redirects-only-imds",
			Title: "Only TCP to port 80 of 169.254.169.254 is redirected",
			Tier:  suites.Proxy, Requirements: []string{"PRX-15"},
			Needs: needs(), Trust: trusted(reader), Body: onlyIMDS,
		},
	}
}

// users that run containers: root, an ordinary one, and the one that the open-source proxy runs as.
var users = []int64{0, 1000, 1501}

func reached(ctx context.Context, t *suites.T) {
	reaches := func(ctx context.Context, t *suites.T, pod *corev1.Pod) {
		made := call(ctx, t, pod)
		for _, c := range pod.Spec.Containers {
			isProxy(t, "container "+c.Name, made.of(t, c.Name, "ready"))
			gets(t, "container "+c.Name, made.of(t, c.Name, "token"), t.Identity(app, reader).ClientID)
		}
		bypassed(ctx, t, made, readyPath, imds.TokenPath)
	}
	t.Case(ctx, "containers of several users", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "users", app)
		for _, user := range users {
			pod.Spec.Containers = append(pod.Spec.Containers, as(user, caller(t, fmt.Sprintf("user-%d", user), ready(), token(t, "token"))))
		}
		reaches(ctx, t, pod)
	})
	for _, user := range users[1:] {
		t.Case(ctx, fmt.Sprintf("a pod whose user is %d", user), func(ctx context.Context, t *suites.T) {
			pod := newPod(ctx, t, fmt.Sprintf("pod-user-%d", user), app, caller(t, "app", ready(), token(t, "token")))
			pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To(user)}
			reaches(ctx, t, pod)
		})
	}
	t.Case(ctx, "a proxy on another port", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "port", app, caller(t, "app", ready(), token(t, "token")))
		pod.Annotations[suites.ProxyPortAnnotation] = "8765"
		reaches(ctx, t, pod)
	})
}

func reachedByInit(ctx context.Context, t *suites.T) {
	pod := newPod(ctx, t, "init", app, caller(t, "app", ready()))
	for _, user := range users {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, as(user, caller(t, fmt.Sprintf("init-%d", user), ready(), token(t, "token"))))
	}
	made := call(ctx, t, pod)
	for _, c := range pod.Spec.InitContainers {
		isProxy(t, "init container "+c.Name, made.of(t, c.Name, "ready"))
		gets(t, "init container "+c.Name, made.of(t, c.Name, "token"), t.Identity(app, reader).ClientID)
	}
	isProxy(t, "the container after them", made.of(t, "app", "ready"))
	bypassed(ctx, t, made, readyPath, imds.TokenPath)
}

// onlyIMDS calls what is near to IMDS' address. None of it need answer; what must not answer is the proxy.
func onlyIMDS(ctx context.Context, t *suites.T) {
	const port = 8000
	at := func(name, address string) ask.Step {
		return ask.Step{Name: name, Request: &ask.Request{URL: "http://" + address + readyPath}}
	}
	here := "$(" + podIP + "):80"
	near := []ask.Step{
		at("another port of IMDS' address", imds.Address+":81"),
		at("the proxy's port of IMDS' address", imds.Address+":"+strconv.Itoa(port)),
		at("the port of HTTPS of IMDS' address", imds.Address+":443"),
		at("an address beside IMDS'", "169.254.169.253"),
		at("another link-local address", "169.254.1.1"),
	}
	steps := append([]ask.Step{
		ready(),
		{Name: "serve", Serve: here},
		at("here", here),
		{Name: "datagram", Datagram: &ask.Datagram{To: imds.Address + ":80", Listen: "127.0.0.1:" + strconv.Itoa(port)}},
	}, near...)
	pod := newPod(ctx, t, "near", app, as(0, caller(t, "app", steps...)))
	pod.Annotations[suites.ProxyPortAnnotation] = strconv.Itoa(port)
	made := call(ctx, t, pod)
	answer := func(step string) ask.Answer { return made.of(t, "app", step) }

	isProxy(t, "the pod, as a control,", answer("ready"))
	for _, step := range near {
		t.Case(ctx, step.Name, func(_ context.Context, t *suites.T) {
			a := answer(step.Name)
			t.Check(a.Status == 0 || !sameBody(a, answer("ready")), "a call to %s is answered as by the proxy: %s", step.Request.URL, say(a))
			t.Note("%s: %s", step.Request.URL, say(a))
		})
	}
	t.Case(ctx, "port 80 of another address", func(_ context.Context, t *suites.T) {
		t.Must(failure(answer("serve")), "serve at port 80 of the pod's address")
		t.Check(answer("here").Error == "" && answer("here").Body == ask.Here, "what the pod serves at its own port 80 is out of reach: %s", say(answer("here")))
	})
	t.Case(ctx, "UDP to port 80 of IMDS' address", func(_ context.Context, t *suites.T) {
		t.Must(failure(answer("datagram")), "send a datagram")
		t.Check(!answer("datagram").Astray, "a datagram to port 80 of %s is redirected", imds.Address)
	})
}

func sameBody(a, b ask.Answer) bool { return a.Status == b.Status && a.SHA256 == b.SHA256 }

func failure(a ask.Answer) error {
	if a.Error == "" {
		return nil
	}
	return fmt.Errorf("%s", a.Error)
}
