package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"

	"github.com/wi-e2e/wi-e2e/suites"
)

// typedWebhook is a second implementation of the rules, written as webhooks usually are: it decodes
// the pod into Go types, changes it and marshals it again. It is what the suites must not raise a false alarm about, in
// older profiles than the reference's.
type typedWebhook struct {
	kube     kubernetes.Interface
	profile  subject.Profile
	tenant   string
	host     string
	audience string
}

func newTypedWebhook(kube kubernetes.Interface, profile subject.Profile) *typedWebhook {
	return &typedWebhook{
		kube: kube, profile: profile, tenant: "tenant-of-the-installation", host: "https://login.microsoftonline.us/", audience: subject.DefaultAudience,
	}
}

func expirationOf(pod, account map[string]string) (int64, error) {
	text := pod[suites.ExpirationAnnotation]
	if text == "" {
		text = account[suites.ExpirationAnnotation]
	}
	if text == "" {
		return 3600, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 3600 || n > 86400 {
		return 0, fmt.Errorf("token expiration %d not valid. Expected value to be between 3600 and 86400", n)
	}
	return n, nil
}

func skippedBy(annotation string) []string {
	var names []string
	for _, item := range strings.Split(annotation, ";") {
		names = append(names, strings.TrimSpace(item))
	}
	return names
}

func declaresVariable(c *corev1.Container, name string) bool {
	return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
}

func portOf(annotation string, set bool) (int32, error) {
	if !set {
		return 8000, nil
	}
	n, err := strconv.ParseInt(annotation, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("failed to parse proxy sidecar port: %w", err)
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("proxy sidecar port %d is out of range", n)
	}
	return int32(n), nil
}

func (w *typedWebhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	patch, err := w.patch(r.Context(), review.Request)
	if err != nil {
		review.Response.Allowed = false
		review.Response.Result = &metav1.Status{Code: http.StatusBadRequest, Message: err.Error()}
	} else if len(patch) > 0 {
		review.Response.Patch, review.Response.PatchType = patch, ptr.To(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(review) // a client that is gone needs no answer
}

func (w *typedWebhook) patch(ctx context.Context, request *admissionv1.AdmissionRequest) ([]byte, error) {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(request.Object.Raw, pod); err != nil {
		return nil, err
	}
	name := pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	account, err := w.kube.CoreV1().ServiceAccounts(request.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if err := w.mutate(pod, account.Annotations); err != nil {
		return nil, err
	}
	mutated, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	operations, err := jsonpatch.CreatePatch(request.Object.Raw, mutated)
	if err != nil || len(operations) == 0 {
		return nil, err
	}
	return json.Marshal(operations)
}

func (w *typedWebhook) mutate(pod *corev1.Pod, account map[string]string) error {
	forWindows := pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
	if pod.Annotations[suites.ProxyAnnotation] == "true" && !forWindows { // the reference refuses what this leaves out (WIN-04)
		if err := w.injectProxy(pod); err != nil {
			return err
		}
	}
	seconds, err := expirationOf(pod.Annotations, account)
	if err != nil {
		return err
	}
	podName, generated := pod.Name, false
	if podName == "" {
		podName, generated = pod.GenerateName, true
	}
	volume, file := w.profile.VolumeName(podName, generated), w.profile.TokenFile(podName, generated)
	if w.profile.AtLeast("1.6.0") {
		volume = claimReservedVolume(pod, volume)
	}
	directory, token := file[:strings.LastIndex(file, "/")], file[strings.LastIndex(file, "/")+1:]
	tenant, ok := account[suites.TenantIDAnnotation]
	if !ok {
		tenant = w.tenant
	}
	skip := skippedBy(pod.Annotations[suites.SkipAnnotation])
	for _, c := range allContainers(pod) {
		if slices.Contains(skip, c.Name) {
			continue
		}
		for _, e := range []corev1.EnvVar{
			{Name: suites.ClientIDVariable, Value: account[suites.ClientIDAnnotation]}, {Name: suites.TenantIDVariable, Value: tenant},
			{Name: suites.TokenFileVariable, Value: file}, {Name: suites.AuthorityHostVariable, Value: w.host},
		} {
			if (e.Value != "" || !w.profile.AtLeast("1.5.1")) && !declaresVariable(c, e.Name) {
				c.Env = append(c.Env, e)
			}
		}
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: directory, ReadOnly: true})
		}
	}
	if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume }) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: w.audience, ExpirationSeconds: &seconds, Path: token,
			}}}},
		}})
	}
	return nil
}

// claimReservedVolume returns the name that the token's volume is to have: that of an earlier one of ours. What else bears the
// reserved name is taken out.
func claimReservedVolume(pod *corev1.Pod, name string) string {
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, subject.ReservedPrefix) && tokenSource(v) != nil {
			return v.Name
		}
	}
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	for _, c := range allContainers(pod) {
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })
	}
	return name
}

func (w *typedWebhook) injectProxy(pod *corev1.Pod) error {
	annotation, set := pod.Annotations[suites.ProxyPortAnnotation]
	port, err := portOf(annotation, set)
	if err != nil {
		return err
	}
	if pod.Spec.HostNetwork && w.profile.AtLeast("1.2.0") {
		return errors.New("hostNetwork is set to true, cannot inject proxy sidecar")
	}
	proxy := corev1.Container{
		Name: proxyName, Image: "wi-e2e.invalid/proxy:1", Args: []string{fmt.Sprintf("--proxy-port=%d", port)},
		Ports: []corev1.ContainerPort{{ContainerPort: port}},
		Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"/proxy", fmt.Sprintf("--proxy-port=%d", port), "--probe"}},
		}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true), RunAsNonRoot: ptr.To(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if !w.profile.AtLeast("1.1.0") {
		proxy.SecurityContext = nil
	}
	init := corev1.Container{
		Name: proxyInitName, Image: "wi-e2e.invalid/proxy-init:1", Env: []corev1.EnvVar{{Name: "PROXY_PORT", Value: fmt.Sprint(port)}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:    ptr.To[int64](0),
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
		},
	}
	hasProxy, hasInit := find(pod, proxyName) != nil, find(pod, proxyInitName) != nil
	switch {
	case hasProxy:
	case w.profile.AtLeast("1.5.0"):
		proxy.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		pod.Spec.InitContainers = append([]corev1.Container{proxy}, pod.Spec.InitContainers...)
	case w.profile.AtLeast("1.2.0"):
		pod.Spec.Containers = append([]corev1.Container{proxy}, pod.Spec.Containers...)
	default:
		pod.Spec.Containers = append(pod.Spec.Containers, proxy)
	}
	if !hasInit {
		pod.Spec.InitContainers = append([]corev1.Container{init}, pod.Spec.InitContainers...)
	}
	return nil
}
