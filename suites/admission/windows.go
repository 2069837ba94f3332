package admission

import (
	"context"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/suites"
)

func windowsTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "windows-pods-injected",
			Title:        "A pod for Windows, however it says so, gets variables, volume and mount, and stays as it is",
			Tier:         suites.Admission,
			Requirements: []string{"WIN-01"},
			Body:         windowsPodsInjected,
		},
		{
			ID:           "windows-token-path",
			Title:        "The token's path in a pod for Windows is one that Windows has",
			Tier:         suites.Admission,
			Requirements: []string{"WIN-02"},
			Body:         windowsTokenPath,
		},
		{
			ID:           "windows-annotations",
			Title:        "The annotations of a pod for Windows count as on Linux",
			Tier:         suites.Admission,
			Requirements: []string{"WIN-03"},
			Body:         windowsAnnotations,
		},
		{
			ID:           "windows-no-proxy",
			Title:        "A pod that says by its os that it is for Windows is never admitted with the proxy",
			Tier:         suites.Admission,
			Requirements: []string{"WIN-04"},
			Body:         windowsNoProxy,
		},
		{
			ID:           "windows-no-proxy-by-node-selector",
			Title:        "A pod that says by its node selector that it is for Windows is not admitted with the proxy",
			Tier:         suites.Admission,
			Requirements: []string{"WIN-05"},
			Body:         windowsNoProxyBySelector,
		},
	}
}

func windowsOS(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }

func windowsSelector(p *corev1.Pod) {
	p.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: string(corev1.Windows)}
}

// windowsUser is the pod's, as Windows names users.
func windowsUser(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{RunAsUserName: ptr.To(name)}}
	}
}

// windowsShapes are the ways in which pods are for Windows.
var windowsShapes = []variant{
	{"by os", windowsOS},
	{"by os and node selector", both(windowsOS, windowsSelector)},
	{"by node selector alone", windowsSelector},
	{"as ContainerUser", both(windowsOS, windowsUser("ContainerUser"))},
	{"with a container as ContainerAdministrator", both(windowsOS, windowsUser("ContainerUser"), func(p *corev1.Pod) {
		admin := container("admin")
		admin.SecurityContext = &corev1.SecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{RunAsUserName: ptr.To("ContainerAdministrator")}}
		p.Spec.Containers = append(p.Spec.Containers, admin)
	})},
	{"with a domain's user", both(windowsSelector, windowsUser(`HARBOUR\lightship`))},
	{"with several containers and init containers", both(windowsOS, withContainers(container("app"), container("second")), withInit(container("init")))},
	{"with a generated name", both(windowsOS, generateName)},
	{"of host processes", both(windowsOS, hostNetwork, func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{
			HostProcess: ptr.To(true), RunAsUserName: ptr.To(`NT AUTHORITY\Local service`),
		}}
	})},
}

func both(changes ...func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, change := range changes {
			change(p)
		}
	}
}

func windowsPodsInjected(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range windowsShapes {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			pod.Labels["app"] = "windows" // without a label a pod has no list of them
			unselected := pod.DeepCopy()
			unlabelled(unselected)
			plain, refusal := send(ctx, t, ns, encode(t, unselected))
			if refusal != nil {
				t.Broken("the pod is refused without the label: %s", refusal.Message)
			}
			mutated, refusal := send(ctx, t, ns, encode(t, pod))
			t.Require(refusal == nil, "the pod is refused with the label, but admitted without: %s", describe(refusal))
			got := decode(t, mutated)
			tokenVolume(t, pod, got)
			expectIdentity(t, pod, got, containerNames(pod)...)
			in := observe(pod, got)
			for _, name := range containerNames(pod) {
				value, _ := in.containers[name].variable(suites.ClientIDVariable)
				t.Equal(suites.ClientIDVariable+" of container "+name, clientID, value)
			}
			want, rest := comparablePods(t, plain, mutated)
			t.Equal("the pod without what was injected", want, rest)
		})
	}
}

// windowsTokenPath looks at a path as Windows would: the kubelet there puts the container's drive before it, and turns its slashes.
func windowsTokenPath(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range windowsShapes {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			volume, in := tokenVolume(t, pod, got), observe(pod, got)
			for _, name := range containerNames(pod) {
				expectTokenFile(t, name, in.containers[name], volume)
				file, _ := in.containers[name].variable(suites.TokenFileVariable)
				problem := windowsPathProblem(file)
				t.Check(problem == "", "%s of container %s is %q, which Windows does not have: %s", suites.TokenFileVariable, name, file, problem)
			}
		})
	}
}

// maxWindowsPath is the longest path that programs can open without a say, the drive and the final zero included.
const maxWindowsPath = 260

// windowsPathProblem is what Windows would have against a path with slashes; see Microsoft's "Naming Files, Paths, and Namespaces".
func windowsPathProblem(path string) string {
	if len("C:"+path)+1 > maxWindowsPath {
		return "it is too long"
	}
	for component := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		stem, _, _ := strings.Cut(strings.ToUpper(component), ".")
		switch {
		case strings.ContainsAny(component, `<>:"|?*\`):
			return "a reserved character"
		case component == "" || strings.TrimRight(component, ". ") != component:
			return "a component that is empty or ends with a dot or space"
		case slices.Contains(windowsDevices, stem):
			return "the name of a device"
		}
	}
	return ""
}

var windowsDevices = []string{
	"AUX", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "CON",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9", "NUL", "PRN",
}

func windowsAnnotations(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	shape := both(windowsOS, windowsSelector, windowsUser("ContainerUser"), withContainers(container("app"), container("second")), withInit(container("init")))
	for _, skipped := range []string{"app", "second", "init"} {
		t.Case(ctx, "skipping "+skipped, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, shape, annotated(suites.SkipAnnotation, skipped))
			expectSkipped(t, pod, admit(ctx, t, ns, pod), skipped)
		})
	}
	t.Case(ctx, "expiration", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, shape, annotated(suites.ExpirationAnnotation, "7200"))
		t.Equal("expirationSeconds", ptr.To[int64](7200), tokenSource(tokenVolume(t, pod, admit(ctx, t, ns, pod))).ExpirationSeconds)
	})
	t.Case(ctx, "an expiration that is refused", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, shape, annotated(suites.ExpirationAnnotation, "100"))
		expectRefused(ctx, t, ns, pod, "token expiration 100 not valid", annotated(suites.ExpirationAnnotation, "3600"))
	})
}

func windowsNoProxy(ctx context.Context, t *suites.T) {
	noProxyFor(ctx, t,
		variant{"by os", windowsOS},
		variant{"by os and node selector", both(windowsOS, windowsSelector)},
		variant{"by os, as ContainerUser", both(windowsOS, windowsUser("ContainerUser"))},
	)
}

// windowsNoProxyBySelector: such a pod the API server does not know to be for Windows, so that it would admit it.
func windowsNoProxyBySelector(ctx context.Context, t *suites.T) {
	noProxyFor(ctx, t,
		variant{"by node selector", windowsSelector},
		variant{"by node selector, as ContainerUser", both(windowsSelector, windowsUser("ContainerUser"))},
	)
}

// noProxyFor expects that pods which ask for the proxy are refused or come without it. Who refuses is open: the API server does not
// take the proxy's privileges in a pod that is known to be for Windows. Beside each are two that must be admitted: it without the
// annotation, and one for Linux with it.
func noProxyFor(ctx context.Context, t *suites.T, shapes ...variant) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range shapes {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change, withProxy)
			stored, refusal := send(ctx, t, ns, encode(t, pod))
			if refusal != nil {
				t.Check(refusal.Code == http.StatusBadRequest || refusal.Code == http.StatusUnprocessableEntity,
					"the refusal has code %d, want 400 or 422: %s", refusal.Code, refusal.Message)
				t.Note("refused: %s", refusal.Message)
			} else {
				got := decode(t, stored)
				t.Equal("containers of a pod for Windows", containerNames(pod), containerNames(got))
				expectIdentity(t, pod, got, "app")
			}
			declined := newPod(sa, v.change)
			expectIdentity(t, declined, admit(ctx, t, ns, declined), "app")
			linux := newPod(sa, withProxy)
			t.Check(find(admit(ctx, t, ns, linux), proxyName) != nil, "the same pod for Linux gets no proxy")
		})
	}
}
