package admission

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/suites"
)

func proxyTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "proxy-injected-on-request",
			Title:        "The proxy containers are injected when the annotation asks for them, and not without it",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-01"},
			Body:         proxyInjectedOnRequest,
		},
		{
			ID:           "proxy-declined",
			Title:        `With "false" no proxy is injected`,
			Tier:         suites.Admission,
			Requirements: []string{"PRX-02"},
			Body:         proxyDeclined,
		},
		{
			ID:           "proxy-port",
			Title:        "The proxy's port lands in PROXY_PORT, --proxy-port, containerPort and the probe",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-03"},
			Body:         proxyPort,
		},
		{
			ID:           "proxy-port-refused",
			Title:        "A proxy port that is no port is never admitted",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-03", "ADM-03"},
			Body:         proxyPortRefused,
		},
		{
			ID:           "proxy-port-ignored",
			Title:        "The proxy's port is ignored when no sidecar is injected",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-03"},
			Body:         proxyPortIgnored,
		},
		{
			ID:           "proxy-host-network",
			Title:        "hostNetwork together with the proxy is refused, without it admitted",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-04"},
			Body:         proxyHostNetwork,
		},
		{
			ID:           "proxy-security-context",
			Title:        "The proxy containers have just the privileges that they need, the variables and the mount",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-05"},
			Body:         proxySecurityContext,
		},
		{
			ID:           "proxy-native-sidecar",
			Title:        "On Kubernetes 1.32 and later the sidecar is a native one",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-06"},
			Body:         proxyNativeSidecar,
		},
		{
			ID:           "proxy-not-duplicated",
			Title:        "Containers of the proxy's names that are already there are not duplicated",
			Tier:         suites.Admission,
			Requirements: []string{"PRX-07"},
			Body:         proxyNotDuplicated,
		},
	}
}

func proxyInjectedOnRequest(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	t.Case(ctx, "without annotation", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa)
		got := admit(ctx, t, ns, pod)
		t.Equal("containers", containerNames(pod), containerNames(got))
		expectIdentity(t, pod, got, "app")
	})
	for _, v := range []variant{
		{"one container", func(*corev1.Pod) {}},
		{"two containers", withContainers(container("app"), container("second"))},
		{"init containers", withInit(container("init"))},
		{"a native sidecar of the user's", withSidecar("log-shipper")},
	} {
		t.Case(ctx, `"true", with `+v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change, withProxy)
			got := admit(ctx, t, ns, pod)
			want := append(containerNames(pod), proxyName, proxyInitName)
			have := containerNames(got)
			slices.Sort(want)
			slices.Sort(have)
			t.Equal("containers", want, have)
			isInit := slices.ContainsFunc(got.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == proxyInitName })
			t.Check(isInit, "%s is not an init container", proxyInitName)
			for _, name := range []string{proxyName, proxyInitName} {
				t.Check(find(got, name) != nil && find(got, name).Image != "", "container %s has no image", name)
			}
		})
	}
}

func proxyDeclined(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	pod := newPod(sa, annotated(suites.ProxyAnnotation, "false"), withInit(container("init")))
	got := admit(ctx, t, ns, pod)
	t.Equal("containers", containerNames(pod), containerNames(got))
	expectIdentity(t, pod, got, "app", "init")
}

func proxyPort(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	expect := func(ctx context.Context, t *suites.T, port string, pod *corev1.Pod) {
		got := admit(ctx, t, ns, pod)
		proxy, init := find(got, proxyName), find(got, proxyInitName)
		t.Require(proxy != nil && init != nil, "the pod has no %s or no %s", proxyName, proxyInitName)

		t.Equal("PROXY_PORT of "+proxyInitName, []corev1.EnvVar{{Name: "PROXY_PORT", Value: port}}, declared(init, "PROXY_PORT"))
		args := strings.Join(slices.Concat(proxy.Command, proxy.Args), " ")
		t.Check(hasPortFlag(args, port), "%s has no --proxy-port=%s: %s", proxyName, port, args)
		var ports []string
		for _, p := range proxy.Ports {
			ports = append(ports, fmt.Sprint(p.ContainerPort))
		}
		t.Equal("container ports of "+proxyName, []string{port}, ports)
		probes := probesOf(proxy)
		t.Check(len(probes) > 0, "%s has no probe", proxyName)
		for _, p := range probes {
			t.Check(probesPort(p, port), "a probe of %s does not go to port %s: %s", proxyName, port, encode(t, p))
		}
	}
	t.Case(ctx, "default 8000", func(ctx context.Context, t *suites.T) { expect(ctx, t, "8000", newPod(sa, withProxy)) })
	for _, port := range []string{"1", "80", "8080", "65535"} {
		t.Case(ctx, port, func(ctx context.Context, t *suites.T) {
			expect(ctx, t, port, newPod(sa, withProxy, annotated(suites.ProxyPortAnnotation, port)))
		})
	}
}

// hasPortFlag looks for the flag in both of its spellings.
func hasPortFlag(args, port string) bool {
	padded := " " + args + " "
	return strings.Contains(padded, " --proxy-port="+port+" ") || strings.Contains(padded, " --proxy-port "+port+" ")
}

// probesOf are all ways in which the kubelet asks the container whether it serves: probes and the postStart hook.
func probesOf(c *corev1.Container) []corev1.ProbeHandler {
	var all []corev1.ProbeHandler
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil {
			all = append(all, p.ProbeHandler)
		}
	}
	if c.Lifecycle != nil && c.Lifecycle.PostStart != nil {
		h := c.Lifecycle.PostStart
		all = append(all, corev1.ProbeHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket})
	}
	return all
}

func probesPort(h corev1.ProbeHandler, port string) bool {
	switch {
	case h.Exec != nil:
		return hasPortFlag(strings.Join(h.Exec.Command, " "), port) || strings.Contains(strings.Join(h.Exec.Command, " "), ":"+port)
	case h.HTTPGet != nil:
		return h.HTTPGet.Port.String() == port
	case h.TCPSocket != nil:
		return h.TCPSocket.Port.String() == port
	case h.GRPC != nil:
		return fmt.Sprint(h.GRPC.Port) == port
	default:
		return false
	}
}

func proxyPortRefused(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, port := range []string{"abc", "80a", "8000.0", "1e3", "0x50"} {
		t.Case(ctx, fmt.Sprintf("%q is not a number", port), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, withProxy, annotated(suites.ProxyPortAnnotation, port))
			expectRefused(ctx, t, ns, pod, "failed to parse proxy sidecar port: ", annotated(suites.ProxyPortAnnotation, "8000"))
		})
	}
	for _, port := range []string{"0", "-1", "65536", "70000", "4294975296", "99999999999999999999"} {
		t.Case(ctx, port+" is out of range", func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, withProxy, annotated(suites.ProxyPortAnnotation, port))
			refusal := refuse(ctx, t, ns, pod)
			// By the webhook (400) or by API validation (422).
			t.Check(refusal.Code == http.StatusBadRequest || refusal.Code == http.StatusUnprocessableEntity, "the refusal has code %d, want 400 or 422: %s", refusal.Code, refusal.Message)
			t.Check(strings.Contains(strings.ToLower(refusal.Message), "port"), "the refusal does not speak of the port: %s", refusal.Message)
			control := pod.DeepCopy()
			annotated(suites.ProxyPortAnnotation, "8000")(control)
			expectIdentity(t, control, admit(ctx, t, ns, control), "app")
		})
	}
}

func proxyPortIgnored(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, port := range []string{"abc", "0", "70000", "8080"} {
		t.Case(ctx, fmt.Sprintf("%q", port), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, annotated(suites.ProxyPortAnnotation, port))
			got := admit(ctx, t, ns, pod)
			t.Equal("containers", containerNames(pod), containerNames(got))
			expectIdentity(t, pod, got, "app")
		})
	}
}

func proxyHostNetwork(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	t.Case(ctx, "hostNetwork with the proxy", func(ctx context.Context, t *suites.T) {
		expectRefused(ctx, t, ns, newPod(sa, withProxy, hostNetwork),
			"hostNetwork is set to true, cannot inject proxy sidecar", func(p *corev1.Pod) { p.Spec.HostNetwork = false })
	})
	t.Case(ctx, "hostNetwork without the proxy", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, hostNetwork)
		expectIdentity(t, pod, admit(ctx, t, ns, pod), "app")
	})
	t.Case(ctx, `hostNetwork with the proxy declined by "false"`, func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, hostNetwork, annotated(suites.ProxyAnnotation, "false"))
		expectIdentity(t, pod, admit(ctx, t, ns, pod), "app")
	})
}

func proxySecurityContext(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	pod := newPod(sa, withProxy)
	got := admit(ctx, t, ns, pod)
	proxy, init := find(got, proxyName), find(got, proxyInitName)
	t.Require(proxy != nil && init != nil, "the pod has no %s or no %s", proxyName, proxyInitName)
	check := func(name string, body func(t *suites.T)) {
		t.Case(ctx, name, func(_ context.Context, t *suites.T) { body(t) })
	}
	check(proxyInitName+" adds NET_ADMIN, drops ALL and runs as uid 0", func(t *suites.T) {
		s := init.SecurityContext
		t.Require(s != nil && s.Capabilities != nil, "no capabilities are set")
		t.Equal("added capabilities", []corev1.Capability{"NET_ADMIN"}, s.Capabilities.Add)
		t.Equal("dropped capabilities", []corev1.Capability{"ALL"}, s.Capabilities.Drop)
		t.Equal("runAsUser", ptr.To[int64](0), s.RunAsUser)
	})
	if t.Subject().Profile.AtLeast("1.1.0") {
		check(proxyName+" has no privileges", func(t *suites.T) {
			s := proxy.SecurityContext
			t.Require(s != nil && s.Capabilities != nil, "no capabilities are set")
			t.Equal("added capabilities", []corev1.Capability(nil), s.Capabilities.Add)
			t.Equal("dropped capabilities", []corev1.Capability{"ALL"}, s.Capabilities.Drop)
			t.Equal("allowPrivilegeEscalation", ptr.To(false), s.AllowPrivilegeEscalation)
			t.Equal("readOnlyRootFilesystem", ptr.To(true), s.ReadOnlyRootFilesystem)
			t.Equal("runAsNonRoot", ptr.To(true), s.RunAsNonRoot)
			t.Check(!ptr.Deref(s.Privileged, false), "%s is privileged", proxyName)
		})
	}
	for _, name := range []string{proxyName, proxyInitName} {
		check(name+" carries the variables and the mount", func(t *suites.T) {
			in := observe(pod, got).containers[name]
			for _, v := range []string{suites.ClientIDVariable, suites.TenantIDVariable, suites.TokenFileVariable, suites.AuthorityHostVariable} {
				_, ok := in.variable(v)
				t.Check(ok, "container %s did not get %s", name, v)
			}
			volume := tokenVolume(t, pod, got)
			t.Check(slices.ContainsFunc(in.mounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name }), "container %s does not mount the token", name)
		})
	}
}

func proxyNativeSidecar(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	info, err := t.Kube().Discovery().ServerVersion()
	t.Must(err, "read the server's version")
	server, err := version.ParseGeneric(info.GitVersion)
	t.Must(err, "read the server's version %q", info.GitVersion)
	native := server.AtLeast(version.MustParseGeneric("1.32.0")) && t.Subject().Profile.AtLeast("1.5.0")

	for _, v := range []variant{{"a bare pod", func(*corev1.Pod) {}}, {"a pod with init containers", withInit(container("init"))}} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			got := admit(ctx, t, ns, newPod(sa, v.change, withProxy))
			isProxy := func(c corev1.Container) bool { return c.Name == proxyName }
			asInit, asContainer := slices.IndexFunc(got.Spec.InitContainers, isProxy), slices.IndexFunc(got.Spec.Containers, isProxy)
			if !native {
				t.Check(asInit < 0 && asContainer >= 0, "%s is not an ordinary container (Kubernetes %s, profile %s)", proxyName, server, t.Subject().Profile)
				return
			}
			t.Require(asInit >= 0 && asContainer < 0, "%s is not an init container (Kubernetes %s, profile %s)", proxyName, server, t.Subject().Profile)
			t.Equal("restartPolicy of "+proxyName, ptr.To(corev1.ContainerRestartPolicyAlways), got.Spec.InitContainers[asInit].RestartPolicy)
		})
	}
}

func proxyNotDuplicated(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range []variant{
		{proxyName + " as a container", withContainers(container("app"), container(proxyName))},
		{proxyName + " as a native sidecar", withSidecar(proxyName)},
		{proxyInitName, withInit(container(proxyInitName))},
		{"both", func(p *corev1.Pod) {
			withInit(container(proxyInitName))(p)
			withSidecar(proxyName)(p)
		}},
	} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change, withProxy)
			got := admit(ctx, t, ns, pod)
			count := map[string]int{}
			for _, name := range containerNames(got) {
				count[name]++
			}
			t.Equal("number of containers by name", map[string]int{"app": 1, proxyName: 1, proxyInitName: 1}, count)
		})
	}
}
