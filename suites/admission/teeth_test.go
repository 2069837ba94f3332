package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// TestMain lets the test binary be the init process of a local cluster's node.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == local.NodeVerb {
		os.Exit(local.NodeMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// mutant is a webhook, or its registration, with one fault. The tests of its requirement must fail because of it.
type mutant struct {
	name        string
	requirement string
	break_      func(w *typedWebhook)
	register    func(w *registrationv1.MutatingWebhook)
}

// onEach changes every container on its way out.
func onEach(change func(c *corev1.Container)) func(*typedWebhook) {
	return func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			for _, c := range allContainers(p) {
				change(c)
			}
		}
	}
}

// onToken changes the injected token source on its way out.
func onToken(change func(v *corev1.Volume, s *corev1.ServiceAccountTokenProjection)) func(*typedWebhook) {
	return func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			for i := range p.Spec.Volumes {
				if s := tokenSource(p.Spec.Volumes[i]); s != nil {
					change(&p.Spec.Volumes[i], s)
				}
			}
		}
	}
}

// onProxy changes the injected proxy containers on their way out.
func onProxy(change func(p *corev1.Pod, c *corev1.Container)) func(*typedWebhook) {
	return func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			for _, name := range []string{proxyName, proxyInitName} {
				if c := find(p, name); c != nil {
					change(p, c)
				}
			}
		}
	}
}

func drop(name string) func(c *corev1.Container) {
	return func(c *corev1.Container) {
		c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	}
}

func set(name, value string) func(c *corev1.Container) {
	return func(c *corev1.Container) {
		for i := range c.Env {
			if c.Env[i].Name == name {
				c.Env[i].Value = value
			}
		}
	}
}

var mutants = []mutant{
	{"the label's value is not looked at", "SEL-01", nil, func(w *registrationv1.MutatingWebhook) {
		w.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: suites.UseLabel, Operator: metav1.LabelSelectorOpExists}}}
	}},
	{"every pod is mutated", "SEL-02", nil, func(w *registrationv1.MutatingWebhook) { w.ObjectSelector = nil }},
	{"updates are intercepted", "SEL-03", nil, func(w *registrationv1.MutatingWebhook) {
		w.Rules[0].Operations = []registrationv1.OperationType{registrationv1.Create, registrationv1.Update}
	}},
	{"it fails open", "SEL-04", nil, func(w *registrationv1.MutatingWebhook) { w.FailurePolicy = ptr.To(registrationv1.Ignore) }},
	{"it may take 30 s", "SEL-04", nil, func(w *registrationv1.MutatingWebhook) { w.TimeoutSeconds = ptr.To[int32](30) }},
	{"it is never reinvoked", "SEL-04", nil, func(w *registrationv1.MutatingWebhook) {
		w.ReinvocationPolicy = ptr.To(registrationv1.NeverReinvocationPolicy)
	}},
	{"dry runs are left alone", "SEL-05", func(w *typedWebhook) {
		w.unchanged = func(r *admissionv1.AdmissionRequest, _ *corev1.Pod) bool { return ptr.Deref(r.DryRun, false) }
	}, nil},
	{"ordinary namespaces have to opt in", "SEL-06", nil, func(w *registrationv1.MutatingWebhook) {
		w.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"workload-identity": "enabled"}}
	}},
	{"pods of controllers are left alone", "SEL-07", func(w *typedWebhook) {
		w.unchanged = func(_ *admissionv1.AdmissionRequest, p *corev1.Pod) bool { return len(p.OwnerReferences) > 0 }
	}, nil},
	{"pods with a generated name are left alone", "SEL-07", func(w *typedWebhook) {
		w.unchanged = func(_ *admissionv1.AdmissionRequest, p *corev1.Pod) bool { return p.Name == "" }
	}, nil},
	{"it drops a field that it does not know", "ADM-01", func(w *typedWebhook) { w.after = func(p *corev1.Pod) { p.Spec.HostnameOverride = nil } }, nil},
	{"it adds an annotation", "ADM-01", func(w *typedWebhook) { w.after = annotated("seen", "true") }, nil},
	{"it pulls always", "ADM-01", onEach(func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullAlways }), nil},
	{"it declares variables again", "ADM-02", func(w *typedWebhook) { w.declares = func(*corev1.Container, string) bool { return false } }, nil},
	{"a pod that has the volume is done", "ADM-02", func(w *typedWebhook) {
		w.unchanged = func(_ *admissionv1.AdmissionRequest, p *corev1.Pod) bool {
			return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return tokenSource(v) != nil })
		}
	}, nil},
	{"it refuses with 403", "ADM-03", func(w *typedWebhook) { w.code = http.StatusForbidden }, nil},
	{"it does not say why it refuses", "ADM-03", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			n, err := expirationOf(pod, account)
			if err != nil {
				err = errors.New("bad annotation")
			}
			return n, err
		}
	}, nil},
	{"the order of variables changes", "ADM-04", func(w *typedWebhook) {
		var mu sync.Mutex
		turn := 0
		w.after = func(p *corev1.Pod) {
			mu.Lock()
			defer mu.Unlock()
			if turn++; turn%2 == 0 {
				slices.Reverse(p.Spec.Containers[0].Env)
			}
		}
	}, nil},
	{"the service account is always default", "SA-01", func(w *typedWebhook) {
		account := w.account
		w.account = func(ctx context.Context, ns, _ string) (map[string]string, error) { return account(ctx, ns, "default") }
	}, nil},
	{"what was read once is read never again", "SA-04", func(w *typedWebhook) {
		account, cache, mu := w.account, map[string]map[string]string{}, sync.Mutex{}
		w.account = func(ctx context.Context, ns, name string) (map[string]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if known, ok := cache[ns+"/"+name]; ok {
				return known, nil
			}
			read, err := account(ctx, ns, name)
			if err == nil {
				cache[ns+"/"+name] = read
			}
			return read, err
		}
	}, nil},
	{"a new service account is not seen", "SA-02", func(w *typedWebhook) {
		account := w.account
		w.account = func(ctx context.Context, ns, name string) (map[string]string, error) {
			if strings.HasPrefix(name, "new-3") {
				return nil, fmt.Errorf("serviceaccounts %q not found", name)
			}
			return account(ctx, ns, name)
		}
	}, nil},
	{"annotation values are trimmed", "SA-05", accountValues(strings.TrimSpace), nil},
	{"annotation values are lower-cased", "SA-05", accountValues(strings.ToLower), nil},
	{"no client id", "ENV-01", onEach(drop(suites.ClientIDVariable)), nil},
	{"variables are prepended", "ENV-01", onEach(func(c *corev1.Container) {
		own := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return strings.HasPrefix(e.Name, "AZURE_") })
		if own > 0 {
			c.Env = append(slices.Clone(c.Env[own:]), c.Env[:own]...)
		}
	}), nil},
	{"an empty client id is injected", "ENV-02", onEach(func(c *corev1.Container) {
		if !declaresVariable(c, suites.ClientIDVariable) {
			c.Env = append(c.Env, corev1.EnvVar{Name: suites.ClientIDVariable})
		}
	}), nil},
	{"an empty tenant falls back", "ENV-03", func(w *typedWebhook) {
		account := w.account
		w.account = func(ctx context.Context, ns, name string) (map[string]string, error) {
			read, err := account(ctx, ns, name)
			if read = maps.Clone(read); read[suites.TenantIDAnnotation] == "" {
				delete(read, suites.TenantIDAnnotation)
			}
			return read, err
		}
	}, nil},
	{"the token file is elsewhere", "ENV-04", onEach(set(suites.TokenFileVariable, "/var/run/secrets/azure/tokens/token")), nil},
	{"the authority has no slash", "ENV-05", onEach(set(suites.AuthorityHostVariable, "https://login.microsoftonline.us")), nil},
	{"the authority is another cloud's", "ENV-05", onEach(set(suites.AuthorityHostVariable, "https://login.microsoftonline.com/")), nil},
	{"the user's client id is overwritten", "ENV-06", onEach(func(c *corev1.Container) {
		for i := range c.Env {
			if c.Env[i].Name == suites.ClientIDVariable {
				c.Env[i] = corev1.EnvVar{Name: suites.ClientIDVariable, Value: clientID}
			}
		}
	}), nil},
	{"an empty declaration is none", "ENV-06", func(w *typedWebhook) {
		w.declares = func(c *corev1.Container, name string) bool {
			return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name && (e.Value != "" || e.ValueFrom != nil) })
		}
	}, nil},
	{"names are compared without case", "ENV-06", func(w *typedWebhook) {
		w.declares = func(c *corev1.Container, name string) bool {
			return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return strings.EqualFold(e.Name, name) })
		}
	}, nil},
	{"a preset token file is overwritten", "ENV-08", func(w *typedWebhook) {
		w.declares = func(c *corev1.Container, name string) bool {
			return name != suites.TokenFileVariable && declaresVariable(c, name)
		}
	}, nil},
	{"a container that presets the token file loses its mounts", "ENV-08", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			for _, c := range allContainers(p) {
				if declaresVariable(c, suites.TokenFileVariable) {
					c.VolumeMounts = nil
				}
			}
		}
	}, nil},
	{"another variable is injected", "ENV-07", onEach(func(c *corev1.Container) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "AZURE_SUBSCRIPTION_ID", Value: "x"})
	}), nil},
	{"the token is for another audience", "VOL-01", onToken(func(_ *corev1.Volume, s *corev1.ServiceAccountTokenProjection) {
		s.Audience = "api://azureadtokenexchange"
	}), nil},
	{"the token lives an hour and a second", "VOL-01", onToken(func(_ *corev1.Volume, s *corev1.ServiceAccountTokenProjection) { *s.ExpirationSeconds++ }), nil},
	{"a second source is projected", "VOL-01", onToken(func(v *corev1.Volume, _ *corev1.ServiceAccountTokenProjection) {
		v.Projected.Sources = append(v.Projected.Sources, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "more"}})
	}), nil},
	{"the mount can be written", "VOL-02", onEach(func(c *corev1.Container) {
		for i := range c.VolumeMounts {
			c.VolumeMounts[i].ReadOnly = false
		}
	}), nil},
	{"init containers have no mount", "VOL-02", func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			for i := range p.Spec.InitContainers {
				p.Spec.InitContainers[i].VolumeMounts = nil
			}
		}
	}, nil},
	{"a reserved volume is replaced", "VOL-03", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "azure-identity-token" })
		}
	}, nil},
	{"no volume when every container is skipped", "VOL-05", func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			if !slices.ContainsFunc(allContainers(p), func(c *corev1.Container) bool { return len(c.VolumeMounts) > 0 }) {
				p.Spec.Volumes = nil
			}
		}
	}, nil},
	{"the service account wins", "EXP-01", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) { return expirationOf(account, pod) }
	}, nil},
	{"3600 is out of bounds", "EXP-02", bounds(3601, 86400), nil},
	{"86400 is out of bounds", "EXP-02", bounds(3600, 86399), nil},
	{"3599 is in bounds", "EXP-03", bounds(3599, 86400), nil},
	{"86401 is in bounds", "EXP-03", bounds(3600, 86401), nil},
	{"values are clamped", "EXP-03", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			n, err := expirationOf(pod, account)
			if err != nil && strings.HasPrefix(err.Error(), "token expiration") {
				return 3600, nil
			}
			return n, err
		}
	}, nil},
	{"hexadecimal numbers are read", "EXP-04", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			if n, err := strconv.ParseInt(pod[suites.ExpirationAnnotation], 0, 64); err == nil {
				return n, inBounds(n)
			}
			return expirationOf(pod, account)
		}
	}, nil},
	{"space around a number is ignored", "EXP-04", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			pod = maps.Clone(pod)
			if pod[suites.ExpirationAnnotation] != "" {
				pod[suites.ExpirationAnnotation] = strings.TrimSpace(pod[suites.ExpirationAnnotation])
			}
			return expirationOf(pod, account)
		}
	}, nil},
	{"the service account's value is not checked", "EXP-05", func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			n, err := expirationOf(pod, account)
			if err != nil && pod[suites.ExpirationAnnotation] == "" {
				return 3600, nil
			}
			return n, err
		}
	}, nil},
	{"a comma separates too", "SKP-01", func(w *typedWebhook) {
		w.skipped = func(a string) []string { return skippedBy(strings.ReplaceAll(a, ",", ";")) }
	}, nil},
	{"names to skip are compared without case", "SKP-01", func(w *typedWebhook) { w.skipped = func(a string) []string { return skippedBy(strings.ToLower(a)) } }, nil},
	{"space around a name counts", "SKP-01", func(w *typedWebhook) { w.skipped = func(a string) []string { return strings.Split(a, ";") } }, nil},
	{"init containers are never skipped", "SKP-02", func(w *typedWebhook) {
		w.skipped = func(a string) []string {
			return slices.DeleteFunc(skippedBy(a), func(n string) bool { return strings.HasSuffix(n, "init") })
		}
	}, nil},
	{"a skipped container is mounted", "SKP-02", func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			for _, c := range allContainers(p) {
				if len(c.VolumeMounts) == 0 {
					c.VolumeMounts = []corev1.VolumeMount{{Name: p.Spec.Volumes[0].Name, MountPath: "/token"}}
				}
			}
		}
	}, nil},
	{"the service account skips", "SKP-03", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			if p.Spec.ServiceAccountName == "skips" {
				annotated(suites.SkipAnnotation, "app;init")(p)
			}
		}
	}, nil},
	{"the proxy is never skipped", "SKP-04", func(w *typedWebhook) {
		w.skipped = func(a string) []string {
			return slices.DeleteFunc(skippedBy(a), func(n string) bool { return strings.HasPrefix(n, proxyName) })
		}
	}, nil},
	{"the proxy is always injected", "PRX-01", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			if _, ok := p.Annotations[suites.ProxyAnnotation]; !ok && !p.Spec.HostNetwork {
				annotated(suites.ProxyAnnotation, "true")(p)
			}
		}
	}, nil},
	{"the annotation's value is not looked at", "PRX-02", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			if _, ok := p.Annotations[suites.ProxyAnnotation]; ok {
				p.Annotations[suites.ProxyAnnotation] = "true"
			}
		}
	}, nil},
	{"the default port is 8080", "PRX-03", func(w *typedWebhook) {
		w.port = func(a string, set bool) (int32, error) {
			if !set {
				return 8080, nil
			}
			return portOf(a, set)
		}
	}, nil},
	{"the probe goes to the default port", "PRX-03", onProxy(func(_ *corev1.Pod, c *corev1.Container) {
		if c.Lifecycle != nil {
			c.Lifecycle.PostStart.Exec.Command = []string{"/proxy", "--proxy-port=8000", "--probe"}
		}
	}), nil},
	{"a port that is no number becomes the default", "PRX-03", func(w *typedWebhook) {
		w.port = func(a string, set bool) (int32, error) {
			n, err := portOf(a, set)
			if errors.Is(err, strconv.ErrSyntax) {
				return 8000, nil
			}
			return n, err
		}
	}, nil},
	{"a port out of range wraps around", "PRX-03", func(w *typedWebhook) {
		w.port = func(a string, set bool) (int32, error) {
			n, err := strconv.ParseInt(a, 10, 64)
			if err != nil {
				return portOf(a, set)
			}
			return int32(uint16(n)) | 1, nil
		}
	}, nil},
	{"the host's network is not looked at", "PRX-04", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) { p.Spec.HostNetwork = false }
	}, nil},
	{"the proxy may escalate", "PRX-05", onProxy(func(_ *corev1.Pod, c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = nil }), nil},
	{"the init container keeps capabilities", "PRX-05", onProxy(func(_ *corev1.Pod, c *corev1.Container) { c.SecurityContext.Capabilities.Drop = nil }), nil},
	{"the sidecar is no native one", "PRX-06", func(w *typedWebhook) { w.native = !w.native }, nil},
	{"the proxy is injected twice", "PRX-07", func(w *typedWebhook) {
		w.before = func(p *corev1.Pod) {
			for _, c := range allContainers(p) {
				if strings.HasPrefix(c.Name, proxyName) {
					c.Name += "-of-the-user"
				}
			}
		}
	}, nil},
	{"the token lies where 1.6.0 puts it", "PRF-01", func(w *typedWebhook) { w.profile = "1.6.0" }, nil},
	{"the volume is named as in 1.6.0", "PRF-02", func(w *typedWebhook) { w.profile = "1.6.0" }, nil},
	{"the sidecar stands last", "PRF-03", func(w *typedWebhook) {
		w.after = func(p *corev1.Pod) {
			list := p.Spec.InitContainers
			if len(list) > 1 && list[1].Name == proxyName {
				p.Spec.InitContainers = append(append(list[:1:1], list[2:]...), list[1])
			}
		}
	}, nil},
}

func accountValues(change func(string) string) func(*typedWebhook) {
	return func(w *typedWebhook) {
		account := w.account
		w.account = func(ctx context.Context, ns, name string) (map[string]string, error) {
			read, err := account(ctx, ns, name)
			read = maps.Clone(read)
			for k, v := range read {
				read[k] = change(v)
			}
			return read, err
		}
	}
}

func bounds(low, high int64) func(*typedWebhook) {
	return func(w *typedWebhook) {
		w.expiration = func(pod, account map[string]string) (int64, error) {
			n, err := expirationOf(pod, account)
			if err == nil && n >= low && n <= high {
				return n, nil
			}
			for _, annotations := range []map[string]string{pod, account} {
				if m, parseErr := strconv.ParseInt(annotations[suites.ExpirationAnnotation], 10, 64); parseErr == nil && m >= low && m <= high {
					return m, nil
				}
			}
			if err == nil {
				err = fmt.Errorf("token expiration %d not valid. Expected value to be between 3600 and 86400", n)
			}
			return 0, err
		}
	}
}

// TestTheSuiteRaisesNoFalseAlarmAndCatchesEveryMutant runs the tier's tests on a real API server, against conformant
// webhooks of older profiles and against one of them with one fault at a time.
func TestTheSuiteRaisesNoFalseAlarmAndCatchesEveryMutant(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: a local cluster needs it")
	}
	lab := newLab(t)
	catalogue, err := suites.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	tests := slices.DeleteFunc(Tests(), func(test suites.Test) bool {
		// The lab's webhooks run in this process: there is no pod to forward a port to.
		return slices.Contains(test.Needs, suites.SubjectPods) || slices.Contains(test.Needs, suites.CustomTokenEndpoint)
	})
	slots := make(chan struct{}, 16)

	for _, profile := range []subject.Profile{"1.0.0", "1.1.0", "1.4.0", "1.5.1", "1.6.0"} {
		t.Run("no false alarm in profile "+string(profile), func(t *testing.T) {
			env := lab.install(t, "conformant-"+strings.ReplaceAll(string(profile), ".", "-"), profile, func(*typedWebhook) {}, nil)
			ran := 0
			for _, test := range tests {
				applies := slices.ContainsFunc(catalogue, func(r suites.Requirement) bool {
					return slices.Contains(test.Requirements, r.ID) && r.AppliesTo(profile)
				})
				// The schema's fields have nothing to do with the profile: once is enough.
				if !applies || test.ID == "unchanged-schema-fields" && profile != "1.5.1" {
					continue
				}
				ran++
				result := suites.Execute(t.Context(), env, test, suites.ViolationStatus(test, catalogue, false), slots)
				if result.Status != reports.Pass {
					t.Errorf("%s is %s:\n%s", test.ID, result.Status, findings(result))
				}
			}
			if ran < 40 {
				t.Errorf("only %d tests were run", ran)
			}
		})
	}
	for i, m := range mutants {
		t.Run(m.requirement+" "+m.name, func(t *testing.T) {
			t.Parallel()
			break_ := m.break_
			if break_ == nil {
				break_ = func(*typedWebhook) {}
			}
			env := lab.install(t, fmt.Sprintf("mutant-%d", i), "1.5.1", break_, m.register)
			caught := false
			for _, test := range tests {
				if !slices.Contains(test.Requirements, m.requirement) {
					continue
				}
				result := suites.Execute(t.Context(), env, test, suites.ViolationStatus(test, catalogue, true), slots)
				caught = caught || result.Status == reports.Fail
				if result.Status == reports.Error {
					t.Errorf("%s is an error, which proves nothing:\n%s", test.ID, findings(result))
				}
			}
			if !caught {
				t.Errorf("no test of %s fails", m.requirement)
			}
		})
	}
}

func findings(result reports.Test) string {
	var text []string
	for _, f := range result.Findings {
		text = append(text, f.Message)
	}
	for _, c := range result.Cases {
		for _, f := range c.Findings {
			text = append(text, c.Name+": "+f.Message+"\n"+f.Diff)
		}
	}
	if len(text) > 5 {
		text = append(text[:5], fmt.Sprintf("… and %d more", len(text)-5))
	}
	return strings.Join(text, "\n")
}

// lab is a cluster on which webhooks of this process are registered, each for the namespaces of one run.
type lab struct {
	cluster cluster.Cluster
	kube    kubernetes.Interface
	address string // where the webhooks listen, as the node sees it
	port    int32
	ca      []byte

	mu       sync.Mutex
	webhooks map[string]http.Handler // by name of the Service that leads to them
}

const labNamespace = "teeth"

func newLab(t *testing.T) *lab {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	provider, err := local.New()
	must(t, err)
	c, err := provider.Create(t.Context(), cluster.Spec{Name: labNamespace, Progress: func(note string) { t.Log(note) }})
	must(t, err)
	t.Cleanup(func() { must(t, provider.Delete(context.WithoutCancel(t.Context()), labNamespace)) })
	config, err := c.RESTConfig()
	must(t, err)
	kube, err := kubernetes.NewForConfig(config)
	must(t, err)
	_, err = kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: labNamespace}}, metav1.CreateOptions{})
	must(t, err)

	// The API server is in the node's network; the host's end of the link to it is the address to listen on.
	u, err := url.Parse(config.Host)
	must(t, err)
	probe, err := net.Dial("udp", u.Host)
	must(t, err)
	address := probe.LocalAddr().(*net.UDPAddr).IP.String()
	must(t, probe.Close())
	certificate, key, err := cert.GenerateSelfSignedCertKey("*."+labNamespace+".svc", nil, nil)
	must(t, err)
	pair, err := tls.X509KeyPair(certificate, key)
	must(t, err)
	listener, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), &tls.Config{Certificates: []tls.Certificate{pair}})
	must(t, err)
	l := &lab{
		cluster: c, kube: kube, address: address, port: int32(listener.Addr().(*net.TCPAddr).Port), ca: certificate, webhooks: map[string]http.Handler{},
	}
	server := &http.Server{Handler: l}
	go func() { _ = server.Serve(listener) }() // ends with Close
	t.Cleanup(func() { must(t, server.Close()) })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ServeHTTP finds the webhook by the Service that the API server has called.
func (l *lab) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	service, _, _ := strings.Cut(r.Host, ".")
	l.mu.Lock()
	webhook := l.webhooks[service]
	l.mu.Unlock()
	if webhook == nil || r.URL.Path != "/mutate-v1-pod" {
		http.NotFound(rw, r)
		return
	}
	webhook.ServeHTTP(rw, r)
}

// install registers a webhook for the namespaces of a run of its own, and returns what tests of that run stand on.
func (l *lab) install(t *testing.T, run string, profile subject.Profile, break_ func(*typedWebhook), register func(*registrationv1.MutatingWebhook)) *suites.Env {
	t.Helper()
	w := newTypedWebhook(l.kube, profile)
	break_(w)
	called := make(chan struct{})
	var once sync.Once
	l.mu.Lock()
	l.webhooks[run] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(called) })
		w.ServeHTTP(rw, r)
	})
	l.mu.Unlock()

	_, err := l.kube.CoreV1().Services(labNamespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: run}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(l.port)}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = l.kube.DiscoveryV1().EndpointSlices(labNamespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: run, Labels: map[string]string{discoveryv1.LabelServiceName: run}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{l.address}}},
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To(l.port)}},
	}, metav1.CreateOptions{})
	must(t, err)
	config := &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: labNamespace + "-" + run},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: subject.WebhookName,
			ClientConfig: registrationv1.WebhookClientConfig{
				Service: &registrationv1.ServiceReference{Namespace: labNamespace, Name: run, Path: ptr.To("/mutate-v1-pod")}, CABundle: l.ca,
			},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			FailurePolicy:           ptr.To(registrationv1.Fail),
			MatchPolicy:             ptr.To(registrationv1.Equivalent),
			SideEffects:             ptr.To(registrationv1.SideEffectClassNone),
			ReinvocationPolicy:      ptr.To(registrationv1.IfNeededReinvocationPolicy),
			TimeoutSeconds:          ptr.To[int32](10),
			AdmissionReviewVersions: []string{"v1"},
			ObjectSelector:          &metav1.LabelSelector{MatchLabels: map[string]string{suites.UseLabel: "true"}},
			// Keeps the webhooks apart, without a namespaceSelector that SEL-06 would look at.
			MatchConditions: []registrationv1.MatchCondition{{
				Name: "namespaces-of-its-own-run", Expression: fmt.Sprintf("request.namespace.startsWith('wi-e2e-%s-')", run),
			}},
		}},
	}
	if register != nil {
		register(&config.Webhooks[0])
	}
	_, err = l.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), config, metav1.CreateOptions{})
	must(t, err)
	env := &suites.Env{
		Cluster: l.cluster, RunID: run, UserAgent: "wi-e2e/test", KeepNamespaces: true,
		Record: func(string, string, string) error { return nil },
		Subject: &subject.Installed{
			Profile: profile, WebhookConfiguration: config.Name, TenantID: w.tenant, Environment: "AzureUSGovernment",
			AuthorityHost: "https://login.microsoftonline.us/", Audience: subject.DefaultAudience,
		},
	}
	must(t, env.Connect())
	if config.Webhooks[0].NamespaceSelector == nil { // else it is never called, and its registration is all there is to see
		l.awaitCall(t, run, called)
	}
	return env
}

// awaitCall sends pods until the webhook is called: the API server learns of a new webhook, and the node of a
// new Service, a moment after they are made, and neither tells.
func (l *lab) awaitCall(t *testing.T, run string, called <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ns := "wi-e2e-" + run + "-probe"
	_, err := l.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
	must(t, err)
	_, err = l.kube.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app"}}, metav1.CreateOptions{})
	must(t, err)
	for {
		_, err := l.kube.CoreV1().Pods(ns).Create(ctx, newPod("app"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		select {
		case <-called:
			return
		case <-ctx.Done():
			t.Fatalf("the webhook of %s is not called: %v", run, err)
		default:
		}
	}
}
