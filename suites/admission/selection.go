package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

func selectionTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "select-exact-label",
			Title:        `Only pods whose label azure.workload.identity/use is exactly "true" are mutated`,
			Tier:         suites.Admission,
			Requirements: []string{"SEL-01"},
			Body:         selectExactLabel,
		},
		{
			ID:           "select-not-by-other-objects",
			Title:        "A label on the service account, the namespace or the owning Deployment selects no pod",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-02"},
			Body:         selectNotByOtherObjects,
		},
		{
			ID:           "intercept-pod-create-only",
			Title:        "Nothing but the creation of pods is intercepted",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-03"},
			Body:         interceptPodCreateOnly,
		},
		{
			ID:           "webhook-configuration",
			Title:        "The webhook is registered as the contract says",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-04"},
			Body:         webhookConfiguration,
		},
		{
			ID:           "dry-run-equals-create",
			Title:        "A dry-run create is mutated exactly as a real create",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-05"},
			Body:         dryRunEqualsCreate,
		},
		{
			ID:           "ordinary-namespaces-selected",
			Title:        "Ordinary namespaces are selected",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-06"},
			Body:         ordinaryNamespacesSelected,
		},
		{
			ID:           "select-pods-of-controllers",
			Title:        "Pods made from the templates of controllers are mutated like bare pods",
			Tier:         suites.Admission,
			Requirements: []string{"SEL-07"},
			Body:         selectPodsOfControllers,
		},
	}
}

func selectExactLabel(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	t.Case(ctx, `"true" is mutated`, func(ctx context.Context, t *suites.T) {
		pod := newPod(sa)
		expectIdentity(t, pod, admit(ctx, t, ns, pod), "app")
	})
	for _, value := range []string{"True", "TRUE", "tRUE", "1", "yes", "on", "t", "tru", "true1", "true.true", "false", "0", "enabled", ""} {
		t.Case(ctx, fmt.Sprintf("%q is left untouched", value), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, func(p *corev1.Pod) { p.Labels[suites.UseLabel] = value })
			expectUntouched(t, pod, admit(ctx, t, ns, pod))
		})
	}
	for _, v := range []variant{
		{"no label at all", unlabelled},
		{"the label's key in capitals", func(p *corev1.Pod) { unlabelled(p); p.Labels["azure.workload.identity/Use"] = "true" }},
		{"a label of a like name", func(p *corev1.Pod) { unlabelled(p); p.Labels["workload.identity/use"] = "true" }},
		{"an annotation of that name", func(p *corev1.Pod) { unlabelled(p); annotated(suites.UseLabel, "true")(p) }},
	} {
		t.Case(ctx, v.name+" is left untouched", func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			expectUntouched(t, pod, admit(ctx, t, ns, pod))
		})
	}
}

func selectNotByOtherObjects(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	label := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"true"}}}`, suites.UseLabel)
	_, err := t.Kube().CoreV1().Namespaces().Patch(ctx, ns, types.MergePatchType, label, metav1.PatchOptions{})
	t.Must(err, "label namespace %s", ns)
	plain, labelled := t.ServiceAccount(ctx, "plain", identified()), t.ServiceAccount(ctx, "labelled", identified())
	_, err = t.Kube().CoreV1().ServiceAccounts(ns).Patch(ctx, labelled, types.MergePatchType, label, metav1.PatchOptions{})
	t.Must(err, "label service account %s/%s", ns, labelled)

	for _, c := range []struct {
		name string
		pod  *corev1.Pod
	}{
		{"a label on the namespace", newPod(plain, unlabelled)},
		{"a label on the service account", newPod(labelled, unlabelled)},
		{"a label on the Deployment, not on its template", newPod(plain, unlabelled, ownedBy("apps/v1", "ReplicaSet", "web-5d9f8c7b6", "pod-template-hash"))},
		{"a label on the CronJob, not on its pod template", newPod(plain, unlabelled, jobPod("tick-29000000"))},
	} {
		t.Case(ctx, c.name+" changes nothing", func(ctx context.Context, t *suites.T) {
			expectUntouched(t, c.pod, admit(ctx, t, ns, c.pod))
		})
	}
	t.Case(ctx, "the pod's own label still counts there", func(ctx context.Context, t *suites.T) {
		pod := newPod(labelled)
		expectIdentity(t, pod, admit(ctx, t, ns, pod), "app")
	})
}

// ownedBy makes the pod look as a controller sends it: a generated name, an owner and the controller's label.
func ownedBy(apiVersion, kind, name, label string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Name, p.GenerateName = "", name+"-"
		p.Labels[label] = name
		p.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: apiVersion, Kind: kind, Name: name, UID: "00000000-0000-0000-0000-000000000001",
			Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
		}}
	}
}

func selectPodsOfControllers(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range []variant{
		{"a bare pod", func(*corev1.Pod) {}},
		{"a pod with generateName", generateName},
		{"a Deployment's pod", ownedBy("apps/v1", "ReplicaSet", "web-5d9f8c7b6", "pod-template-hash")},
		{"a Job's pod", jobPod("batch")},
		{"a CronJob's pod", jobPod("tick-29000000")},
		{"a StatefulSet's pod", func(p *corev1.Pod) {
			ownedBy("apps/v1", "StatefulSet", "db", "controller-revision-hash")(p)
			p.Name, p.GenerateName = "db-0", "db-"
			p.Labels["statefulset.kubernetes.io/pod-name"], p.Labels["apps.kubernetes.io/pod-index"] = "db-0", "0"
			p.Spec.Hostname, p.Spec.Subdomain = "db-0", "db"
		}},
		{"a DaemonSet's pod", func(p *corev1.Pod) {
			ownedBy("apps/v1", "DaemonSet", "agent", "controller-revision-hash")(p)
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"node"}}},
				}}},
			}}
			p.Spec.Tolerations = []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}
		}},
	} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			expectIdentity(t, pod, got, "app")
			value, _ := observe(pod, got).containers["app"].variable(suites.ClientIDVariable)
			t.Equal(suites.ClientIDVariable, clientID, value)
		})
	}
}

func jobPod(job string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		ownedBy("batch/v1", "Job", job, "batch.kubernetes.io/job-name")(p)
		p.Labels["job-name"], p.Labels["batch.kubernetes.io/controller-uid"] = job, "00000000-0000-0000-0000-000000000001"
		p.Finalizers = []string{"batch.kubernetes.io/job-tracking"}
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
}

// gated keeps a stored pod from ever being scheduled.
func gated(p *corev1.Pod) {
	p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "wi-e2e.dev/never-scheduled"}}
}

// create stores a gated pod.
func create(ctx context.Context, t *suites.T, ns string, pod *corev1.Pod) *corev1.Pod {
	stored, refusal := post(ctx, t, ns, encode(t, pod))
	t.Require(refusal == nil, "the pod is refused, but must be admitted: %s", describe(refusal))
	return decode(t, stored)
}

func interceptPodCreateOnly(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	pods := t.Kube().CoreV1().Pods(ns)
	plain := create(ctx, t, ns, newPod(sa, unlabelled, gated))
	labelled := create(ctx, t, ns, newPod(sa, gated, func(p *corev1.Pod) {
		p.Name = "labelled"
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2m")}
	}))

	t.Case(ctx, "the configuration's rules", func(ctx context.Context, t *suites.T) {
		webhook := registeredWebhook(ctx, t)
		for _, rule := range webhook.Rules {
			t.Equal("operations", []admissionv1.OperationType{admissionv1.Create}, rule.Operations)
			t.Equal("API groups", []string{""}, rule.APIGroups)
			t.Equal("API versions", []string{"v1"}, rule.APIVersions)
			t.Equal("resources", []string{"pods"}, rule.Resources)
		}
		t.Check(len(webhook.Rules) > 0, "the webhook has no rules")
	})
	patch := func(name string, pod *corev1.Pod, body string, subresources ...string) {
		t.Case(ctx, name, func(ctx context.Context, t *suites.T) {
			got, err := pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, subresources...)
			if !subject.Denied(err) && !apierrors.IsInvalid(err) { // invalid is an update of what the webhook has added to a pod that is made
				t.Must(err, "%s", name)
			}
			t.Require(err == nil, "%s is refused: %v", name, err)
			expectUntouched(t, pod, got)
		})
	}
	labelNow := fmt.Sprintf(`{"metadata":{"labels":{%q:"true"}}}`, suites.UseLabel)
	patch("an update that adds the label", plain, labelNow)
	patch("an update of a labelled pod", labelled, `{"metadata":{"labels":{"other":"label"}}}`)
	patch("a status update", labelled, `{"status":{"conditions":[{"type":"wi-e2e.dev/Seen","status":"True"}]}}`, "status")
	if servesResize(t) {
		patch("a resize", labelled, `{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"1m"}}}]}}`, "resize")
	}
	patch("an ephemeral container", labelled, ephemeral, "ephemeralcontainers")
}

// servesResize says whether the API server has the resize subresource (Kubernetes 1.33 and later).
func servesResize(t *suites.T) bool {
	list, err := t.Kube().Discovery().ServerResourcesForGroupVersion("v1")
	t.Must(err, "list the resources of v1")
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "pods/resize" })
}

// ephemeral adds a debugging container to a stored pod.
const ephemeral = `{"spec":{"ephemeralContainers":[{"name":"debug","image":"wi-e2e.invalid/never-pulled:1"}]}}`

// registeredWebhook is the subject's entry in its configuration.
func registeredWebhook(ctx context.Context, t *suites.T) admissionv1.MutatingWebhook {
	name := t.Subject().WebhookConfiguration
	config, err := t.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
	t.Must(err, "read webhook configuration %s", name)
	for _, w := range config.Webhooks {
		if w.Name == subject.WebhookName {
			return w
		}
	}
	t.Broken("webhook configuration %s has no webhook %s", name, subject.WebhookName)
	return admissionv1.MutatingWebhook{}
}

func webhookConfiguration(ctx context.Context, t *suites.T) {
	w := registeredWebhook(ctx, t)
	check := func(name string, body func(t *suites.T)) {
		t.Case(ctx, name, func(_ context.Context, t *suites.T) { body(t) })
	}
	check("failurePolicy is Fail", func(t *suites.T) { t.Equal("failurePolicy", ptr.To(admissionv1.Fail), w.FailurePolicy) })
	check("sideEffects is None", func(t *suites.T) { t.Equal("sideEffects", ptr.To(admissionv1.SideEffectClassNone), w.SideEffects) })
	check("reinvocationPolicy is IfNeeded", func(t *suites.T) {
		t.Equal("reinvocationPolicy", ptr.To(admissionv1.IfNeededReinvocationPolicy), w.ReinvocationPolicy)
	})
	check("matchPolicy is Equivalent", func(t *suites.T) { t.Equal("matchPolicy", ptr.To(admissionv1.Equivalent), w.MatchPolicy) })
	check("admissionReviewVersions include v1", func(t *suites.T) {
		t.Check(slices.Contains(w.AdmissionReviewVersions, "v1"), "admissionReviewVersions are %q", w.AdmissionReviewVersions)
	})
	check("the path is /mutate-v1-pod", func(t *suites.T) {
		t.Require(w.ClientConfig.Service != nil, "the webhook is not called through a Service")
		t.Equal("path", ptr.To("/mutate-v1-pod"), w.ClientConfig.Service.Path)
	})
	check("the time-out is at most 10 s", func(t *suites.T) {
		t.Require(w.TimeoutSeconds != nil, "no timeoutSeconds")
		t.Check(*w.TimeoutSeconds <= 10, "timeoutSeconds is %d", *w.TimeoutSeconds)
	})
}

func dryRunEqualsCreate(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range []variant{
		{"a plain pod", func(p *corev1.Pod) { p.Name = "plain" }},
		{"a pod with the proxy", func(p *corev1.Pod) { p.Name = "proxy"; withProxy(p) }},
	} {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, gated, v.change)
			dry := admit(ctx, t, ns, pod)
			stored := create(ctx, t, ns, pod)
			expectIdentity(t, pod, stored, "app")
			t.Equal("the stored pod", comparable(dry), comparable(stored))
		})
	}
}

// comparable is a pod without what the API server sets anew for every request.
func comparable(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.UID, pod.ResourceVersion, pod.CreationTimestamp, pod.ManagedFields = "", "", metav1.Time{}, nil
	pod.Status = corev1.PodStatus{} // holds times
	if pod.GenerateName != "" {
		pod.Name = ""
	}
	return pod
}

func ordinaryNamespacesSelected(ctx context.Context, t *suites.T) {
	w := registeredWebhook(ctx, t)
	selector, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
	t.Must(err, "read the namespaceSelector")
	list, err := t.Kube().CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	t.Must(err, "list namespaces")
	var excluded []string
	for _, ns := range list.Items {
		selected := w.NamespaceSelector == nil || selector.Matches(labels.Set(ns.Labels))
		if selected {
			continue
		}
		excluded = append(excluded, ns.Name)
		system := ns.Name == t.Subject().Namespace || strings.HasPrefix(ns.Name, "kube-") || ns.Labels["control-plane"] != ""
		t.Check(system, "the ordinary namespace %s is not selected", ns.Name)
	}
	ours := labels.Set{"kubernetes.io/metadata.name": "some-team"}
	t.Check(w.NamespaceSelector == nil || selector.Matches(ours), "a new namespace without labels would not be selected")
	selectorJSON, err := json.Marshal(w.NamespaceSelector)
	t.Must(err, "encode the namespaceSelector")
	t.Note("namespaceSelector %s; excluded: [%s]", selectorJSON, strings.Join(excluded, " "))
}
