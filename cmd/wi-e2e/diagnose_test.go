package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/fixtures/pods"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// ailment is what is wrong with a pod. Each has a namespace of its own, with a service account "app" that names the emulator's
// identity, and one pod that runs as it.
type ailment struct {
	name string
	// cause is the finding to come first, and requirement what it cites.
	cause, requirement string
	// warning: the cause may be meant so; what it leads to is an error, or nothing is.
	warning bool
	// healthy: nothing is wrong, or only what a warning is about.
	healthy bool
	// federated: the identity trusts the service account, which for the others is of no importance.
	federated bool
	namespace func(*corev1.Namespace)
	account   func(*corev1.ServiceAccount)
	pod       func(*corev1.Pod)
	// deployed: the pod is that of a Deployment, which is changed as well.
	deployed func(*appsv1.Deployment)
	// runs: the pod is to get ready, and only then there is something to see. The others are held back by a scheduling gate, as
	// most of the time of this test would be that of their starts.
	runs bool
	// ended is a container whose end to wait for instead.
	ended string
	// later is done when all of the pods are there, seconds after their creation.
	later func(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) error
}

const (
	unknownGUID  = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
	excludeLabel = "wi-e2e.test/excluded"
)

var ailments = []ailment{
	{name: "healthy", healthy: true, runs: true, federated: true},
	{name: "healthy-deployment", healthy: true, runs: true, federated: true, deployed: func(*appsv1.Deployment) {}},
	{name: "healthy-sidecar", healthy: true, runs: true, federated: true, warning: true, cause: "container-skipped", requirement: "SKP-02", pod: func(p *corev1.Pod) {
		annotate(suites.SkipAnnotation, "log")(p)
		p.Spec.Containers = append(p.Spec.Containers, waiting("log"))
	}},

	{name: "no-label", cause: "label-missing", requirement: "SEL-01", pod: unlabel},
	{name: "label-of-deployment", cause: "label-elsewhere", requirement: "SEL-02", pod: unlabel, deployed: func(d *appsv1.Deployment) {
		d.Labels = map[string]string{suites.UseLabel: "true"}
	}},
	{name: "label-of-account", cause: "label-elsewhere", requirement: "SEL-02", pod: unlabel, account: func(a *corev1.ServiceAccount) {
		a.Labels = map[string]string{suites.UseLabel: "true"}
	}},
	{name: "label-of-namespace", cause: "label-elsewhere", requirement: "SEL-02", pod: unlabel, namespace: func(n *corev1.Namespace) {
		n.Labels = map[string]string{suites.UseLabel: "true"}
	}},
	{name: "label-value", cause: "label-value", requirement: "SEL-01", pod: func(p *corev1.Pod) { p.Labels[suites.UseLabel] = "True" }},
	{name: "label-as-annotation", cause: "label-is-annotation", requirement: "SEL-01", pod: func(p *corev1.Pod) {
		unlabel(p)
		annotate(suites.UseLabel, "true")(p)
	}},
	{name: "label-later", cause: "label-added-later", requirement: "SEL-03", pod: unlabel,
		later: func(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) error {
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, suites.UseLabel)
			_, err := kube.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-label"})
			return err
		}},
	{name: "namespace-excluded", cause: "namespace-excluded", requirement: "SEL-06", namespace: func(n *corev1.Namespace) {
		n.Labels = map[string]string{excludeLabel: "true"}
	}},

	{name: "default-account", cause: "wrong-service-account", requirement: "SA-01", pod: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" }},
	{name: "account-deleted", cause: "service-account-missing", requirement: "SA-03",
		later: func(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) error {
			return kube.CoreV1().ServiceAccounts(pod.Namespace).Delete(ctx, "app", metav1.DeleteOptions{})
		}},
	{name: "no-client-id", cause: "client-id-missing", requirement: "ENV-02", account: noClientID},
	{name: "client-id-of-pod", cause: "client-id-elsewhere", requirement: "ENV-01", account: noClientID,
		pod: annotate(suites.ClientIDAnnotation, unknownGUID)},
	{name: "client-id-of-deployment", cause: "client-id-elsewhere", requirement: "ENV-01", account: noClientID, deployed: func(d *appsv1.Deployment) {
		d.Annotations = map[string]string{suites.ClientIDAnnotation: unknownGUID}
	}},
	{name: "client-id-as-label", cause: "client-id-elsewhere", requirement: "ENV-01", account: func(a *corev1.ServiceAccount) {
		a.Labels, a.Annotations = a.Annotations, nil
	}},
	{name: "client-id-is-a-name", cause: "client-id-form", requirement: "SA-05", warning: true, account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.ClientIDAnnotation] = "my-identity"
	}},
	{name: "client-id-changed", cause: "stale-client-id", requirement: "SA-04", later: reannotate(suites.ClientIDAnnotation, unknownGUID)},
	{name: "tenant-changed", cause: "stale-tenant-id", requirement: "SA-04", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.TenantIDAnnotation] = unknownGUID
	}, later: reannotate(suites.TenantIDAnnotation, subject.DefaultTenantID)},
	{name: "tenant-empty", cause: "tenant-id-empty", requirement: "ENV-03", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.TenantIDAnnotation] = ""
	}},
	{name: "tenant-unexpanded", cause: "tenant-id-unexpanded", requirement: "OPS-06", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.TenantIDAnnotation] = "${AZURE_TENANT_ID}"
	}},

	{name: "skipped", cause: "container-skipped", requirement: "SKP-02", pod: annotate(suites.SkipAnnotation, "app")},
	{name: "preset-client-id", cause: "preset-client-id", requirement: "ENV-06", pod: preset(suites.ClientIDVariable, unknownGUID)},
	{name: "preset-client-id-of-deployment", cause: "preset-client-id", requirement: "ENV-06", pod: preset(suites.ClientIDVariable, unknownGUID),
		deployed: func(*appsv1.Deployment) {}},
	{name: "preset-tenant", cause: "preset-tenant-id", requirement: "ENV-06", pod: preset(suites.TenantIDVariable, unknownGUID)},
	{name: "preset-authority", cause: "preset-authority-host", requirement: "ENV-06", pod: func(p *corev1.Pod) {
		preset(suites.AuthorityHostVariable, "https://login.microsoftonline.us/")(p)
		nobodyAt("login.microsoftonline.us")(p)
	}},
	{name: "preset-token-file", cause: "token-file-not-mounted", requirement: "ENV-08", pod: preset(suites.TokenFileVariable, "/nowhere/token")},
	{name: "preset-token-of-api-server", cause: "token-audience", requirement: "VOL-01", pod: func(p *corev1.Pod) {
		preset(suites.TokenFileVariable, "/var/run/secrets/kubernetes.io/serviceaccount/token")(p)
		p.Spec.AutomountServiceAccountToken = ptr.To(true)
	}},

	{name: "proxy-of-account", federated: true, cause: "proxy-annotation-elsewhere", requirement: "PRX-01", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.ProxyAnnotation] = "true"
	}},
	{name: "proxy-skipped", federated: true, cause: "proxy-skipped", requirement: "SKP-04", pod: func(p *corev1.Pod) {
		annotate(suites.ProxyAnnotation, "true")(p)
		annotate(suites.SkipAnnotation, "azwi-proxy")(p)
	}},
	{name: "proxy-ended", federated: true, cause: "proxy-not-running", requirement: "PRX-09", ended: "azwi-proxy", pod: func(p *corev1.Pod) {
		annotate(suites.ProxyAnnotation, "true")(p)
		ends := waiting("azwi-proxy")
		ends.Args = []string{"no-such-verb"}
		p.Spec.Containers = append(p.Spec.Containers, ends)
	}},

	{name: "not-federated", cause: "federated-subject", requirement: "EXC-04"},
	{name: "other-audience", federated: true, cause: "federated-audience", requirement: "EXC-04",
		pod: annotate("azure.workload.identity/use-identity-binding", "true")},
	{name: "unknown-client", cause: "unknown-client", requirement: "EXC-04", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.ClientIDAnnotation] = unknownGUID
	}},
	{name: "unknown-tenant", cause: "unknown-tenant", requirement: "EXC-04", account: func(a *corev1.ServiceAccount) {
		a.Annotations[suites.TenantIDAnnotation] = unknownGUID
	}},
	{name: "unreachable-authority", federated: true, cause: "authority-unreachable", requirement: "EXC-04",
		pod: nobodyAt("login.microsoftonline.com")},
}

// nobodyAt has a name lead to where nobody listens.
func nobodyAt(host string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.HostAliases = []corev1.HostAlias{{IP: "127.0.0.1", Hostnames: []string{host}}}
	}
}

func unlabel(p *corev1.Pod) { delete(p.Labels, suites.UseLabel) }

func noClientID(a *corev1.ServiceAccount) { delete(a.Annotations, suites.ClientIDAnnotation) }

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value) }
}

func preset(variable, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: variable, Value: value}} }
}

func reannotate(annotation, value string) func(context.Context, kubernetes.Interface, *corev1.Pod) error {
	return func(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) error {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotation, value)
		_, err := kube.CoreV1().ServiceAccounts(pod.Namespace).Patch(ctx, "app", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
}

// waiting is a container that does nothing until it is told to end. Its image comes later.
func waiting(name string) corev1.Container {
	return corev1.Container{Name: name, Args: []string{"proxy", "--proxy-port=8999"}}
}

func TestTheCauseComesFirst(t *testing.T) {
	needRoot(t)
	state := ownState(t)
	kubeconfig, remove := createCluster(t, state, "ill")
	defer remove()
	started := time.Now()
	lap := func(what string) { t.Logf("%5.1f s: %s", time.Since(started).Seconds(), what) }

	installReference(t, "ill")
	excludeNamespaces(t, kubeconfig)
	lap("webhook")
	args := []string{"azure", "up", "--cluster", "ill"}
	for _, a := range ailments {
		if a.federated {
			args = append(args, "--federate", a.name+"/app")
		}
	}
	if got := wiE2E(t, args...); got.code != 0 {
		t.Fatalf("azure up: %s", got.stderr)
	}
	kube := hastyClient(t, kubeconfig)
	azure, err := emulated.Show(t.Context(), kube)
	if err != nil {
		t.Fatal(err)
	}
	image := emulatorImage(t, kube)
	lap("emulator")

	names := make([]string, len(ailments))
	var wg sync.WaitGroup
	for i, a := range ailments {
		wg.Go(func() { names[i] = a.create(t, kube, azure, image) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, a := range ailments {
		if a.later == nil {
			continue
		}
		pod, err := kube.CoreV1().Pods(a.name).Get(t.Context(), names[i], metav1.GetOptions{})
		if err == nil && time.Since(pod.CreationTimestamp.Time) < 2*time.Second { // the API server counts in seconds
			err = errors.New("what is done later would be of the same second")
		}
		if err == nil {
			err = a.later(t.Context(), kube, pod)
		}
		if err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
	}
	lap("pods")
	results := make([]result, len(ailments))
	slots := make(chan struct{}, 6)
	for i, a := range ailments {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = wiE2E(t, "diagnose", "pod", a.name+"/"+names[i], "--cluster", "ill", "--image", image, "--output", "json")
		})
	}
	wg.Wait()
	lap(fmt.Sprintf("%d diagnoses", len(ailments)))
	for i, a := range ailments {
		t.Run(a.name, func(t *testing.T) { a.expect(t, results[i]) })
	}
	t.Run("nothing is left of the probes", func(t *testing.T) {
		left, err := kube.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{LabelSelector: objects.ManagedLabel + "=true"})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range left.Items {
			if strings.HasPrefix(p.Name, "wi-e2e-diagnose-") && p.DeletionTimestamp == nil {
				t.Errorf("pod %s/%s", p.Namespace, p.Name)
			}
		}
	})
	t.Run("for people, with an image of its own", func(t *testing.T) {
		got := wiE2E(t, "diagnose", "pod", "healthy/app", "--cluster", "ill")
		if got.code != 0 || !strings.HasPrefix(got.stdout, "IN ORDER  pod healthy/app\n") || !strings.Contains(got.stdout, "Entra ID exchanges a token") {
			t.Errorf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
		got = wiE2E(t, "diagnose", "pod", "no-label/app", "--kubeconfig", kubeconfig)
		if got.code != reports.ExitFailed || !strings.Contains(got.stdout, "Cause\n  ✗ pod no-label/app: the pod has no label") {
			t.Errorf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
	})
	t.Run("without a probe it says so", func(t *testing.T) {
		got := wiE2E(t, "diagnose", "pod", "not-federated/app", "--kubeconfig", kubeconfig)
		if got.code != 0 || !strings.Contains(got.stdout, "Not checked\n  - the exchange of the token at Entra ID: it takes an image") {
			t.Errorf("exit code %d\n%s\n%s", got.code, got.stdout, got.stderr)
		}
	})
	for _, pod := range []string{"healthy/nobody", "nowhere/app"} {
		t.Run(pod+", which is not there", func(t *testing.T) {
			got := wiE2E(t, "diagnose", "pod", pod, "--kubeconfig", kubeconfig)
			if got.code != reports.ExitUsage || !strings.Contains(got.stderr, "describe replicasets") {
				t.Errorf("exit code %d\n%s", got.code, got.stderr)
			}
		})
	}
	t.Run("the webhook is gone", func(t *testing.T) {
		err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(t.Context(), subject.WebhookConfigurationName, metav1.DeleteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a := ailment{name: "webhook-missing", cause: "webhook-missing", requirement: "SEL-04"}
		name := a.create(t, kube, azure, image)
		a.expect(t, wiE2E(t, "diagnose", "pod", a.name+"/"+name, "--kubeconfig", kubeconfig, "--output", "json"))
	})
}

// hastyClient is without client-go's own limit of a few requests a second.
func hastyClient(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

func installReference(t *testing.T, name string) {
	t.Helper()
	provider, err := local.New()
	if err != nil {
		t.Fatal(err)
	}
	c, err := provider.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	reference := subject.Reference(binary, subject.Options{})
	ignore := func(string, string, string) error { return nil }
	if err := reference.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	target := subject.Target{Cluster: c, Record: ignore, Removed: ignore, Progress: func(string) {}}
	if _, err := reference.Install(t.Context(), target); err != nil {
		t.Fatal(err)
	}
}

// excludeNamespaces has the webhook leave out namespaces with a label.
func excludeNamespaces(t *testing.T, kubeconfig string) {
	t.Helper()
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/webhooks/0/namespaceSelector","value":{"matchExpressions":[{"key":%q,"operator":"DoesNotExist"}]}}]`, excludeLabel)
	_, err := kubeClient(t, kubeconfig).AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(t.Context(), subject.WebhookConfigurationName, types.JSONPatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// emulatorImage is the image of wi-e2e that the cluster has.
func emulatorImage(t *testing.T, kube kubernetes.Interface) string {
	t.Helper()
	list, err := kube.CoreV1().Pods(emulated.DevelopmentNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("find the emulator's pod: %d pods, error %v", len(list.Items), err)
	}
	return list.Items[0].Spec.Containers[0].Image
}

// create makes the ailment's objects, and returns the name of the pod when that is as ill as it gets.
func (a ailment) create(t *testing.T, kube kubernetes.Interface, azure *emulated.Development, image string) string {
	ctx := t.Context()
	fail := func(err error) string {
		t.Errorf("%s: %v", a.name, err)
		return ""
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.name}}
	if a.namespace != nil {
		a.namespace(namespace)
	}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fail(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app", Annotations: map[string]string{suites.ClientIDAnnotation: azure.ClientID}}}
	if a.account != nil {
		a.account(account)
	}
	if _, err := kube.CoreV1().ServiceAccounts(a.name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fail(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Labels: map[string]string{suites.UseLabel: "true"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "app", AutomountServiceAccountToken: ptr.To(false), HostAliases: azure.HostAliases,
			TerminationGracePeriodSeconds: ptr.To[int64](0), Containers: []corev1.Container{waiting("app")},
		},
	}
	if a.pod != nil {
		a.pod(pod)
	}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Image = image
	}
	if a.ended == "" && !a.runs {
		pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wi-e2e.test/held"}}
	}
	if err := a.createPod(ctx, kube, pod); err != nil {
		return fail(err)
	}
	name, err := a.await(ctx, kube)
	if err != nil {
		return fail(err)
	}
	return name
}

// await returns the name of the pod when there is to see what there is.
func (a ailment) await(ctx context.Context, kube kubernetes.Interface) (string, error) {
	switch {
	case a.ended != "":
		finished, err := pods.AwaitEnd(ctx, kube, a.name, "", a.ended)
		if err != nil {
			return "", err
		}
		return finished.Pod.Name, nil
	case a.runs:
		return pods.AwaitReady(ctx, kube, a.name, "")
	}
	w, err := kube.CoreV1().Pods(a.name).Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return "", err
	}
	defer w.Stop()
	event, open := <-w.ResultChan()
	pod, ok := event.Object.(*corev1.Pod)
	if !open || !ok {
		return "", fmt.Errorf("the watch on pods of %s ended early", a.name)
	}
	return pod.Name, nil
}

func (a ailment) createPod(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) error {
	if a.deployed == nil {
		if a.ended != "" {
			pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		}
		if pod.Spec.ServiceAccountName == "default" {
			if err := awaitAccount(ctx, kube, a.name, "default"); err != nil {
				return err
			}
		}
		_, err := kube.CoreV1().Pods(a.name).Create(ctx, pod, metav1.CreateOptions{})
		return err
	}
	labels := maps.Clone(pod.Labels)
	labels["app"] = "app"
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "app"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec},
		},
	}
	a.deployed(deployment)
	_, err := kube.AppsV1().Deployments(a.name).Create(ctx, deployment, metav1.CreateOptions{})
	return err
}

// awaitAccount returns when the control plane has made a service account.
func awaitAccount(ctx context.Context, kube kubernetes.Interface, namespace, name string) error {
	w, err := kube.CoreV1().ServiceAccounts(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: "0"})
	if err != nil {
		return err
	}
	defer w.Stop()
	if _, open := <-w.ResultChan(); !open {
		return fmt.Errorf("the watch on service account %s/%s ended early", namespace, name)
	}
	return nil
}

// expect compares what was diagnosed with what the pod suffers from.
func (a ailment) expect(t *testing.T, got result) {
	t.Helper()
	want := reports.ExitFailed
	if a.healthy {
		want = reports.ExitPass
	}
	var d diagnosisDocument
	if err := json.Unmarshal([]byte(got.stdout), &d); err != nil || got.code != want || d.Broken == a.healthy {
		t.Fatalf("exit code %d, want %d; %v\n%s\n%s", got.code, want, err, got.stdout, got.stderr)
	}
	if jwt.MatchString(got.stdout + got.stderr) {
		t.Error("a token is printed")
	}
	var ids []string
	for _, f := range d.Findings {
		ids = append(ids, f.ID)
		if f.Statement == "" || f.Object == "" || f.Problem == "" || f.Remedy == "" {
			t.Errorf("finding %s says too little: %+v", f.ID, f)
		}
	}
	t.Logf("%s in %.1f s", strings.Join(ids, ", "), got.took.Seconds())
	if a.cause == "" {
		if len(d.Findings) > 0 {
			t.Errorf("findings %q, want none\n%s", ids, got.stdout)
		}
		return
	}
	if len(d.Findings) == 0 || d.Findings[0].ID != a.cause || d.Findings[0].Requirement != a.requirement {
		t.Errorf("findings %q, want %s of %s first\n%s", ids, a.cause, a.requirement, got.stdout)
		return
	}
	if isWarning := d.Findings[0].Severity == "warning"; isWarning != a.warning {
		t.Errorf("%s is of severity %s", a.cause, d.Findings[0].Severity)
	}
	if a.federated && !slices.ContainsFunc(d.InOrder, func(c diagnosis.Check) bool { return strings.HasPrefix(c.Statement, "Entra ID exchanges") }) &&
		a.requirement != "EXC-04" {
		t.Errorf("the exchange is not in order:\n%s", got.stdout)
	}
}
