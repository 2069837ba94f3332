package incluster

import (
	"maps"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
)

func anAssignment() *Assignment {
	return &Assignment{
		Run: reports.Run{ID: "run1"}, Namespace: NamespaceOf("run1"), Tests: [][]string{{"a"}, {"b"}, {"c"}}, Limit: time.Hour,
		Subject: subject.Installed{Images: []subject.Image{{Name: "i"}}, Service: types.NamespacedName{Namespace: "webhook", Name: "s"}},
		Azure:   &Azure{Emulator: "azure"}, IMDS: []string{"node"}, Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: "n", UID: "u"},
	}
}

// object decodes the one of a kind and namespace.
func object[T any](t *testing.T, all []*unstructured.Unstructured, kind, namespace string) (decoded T) {
	t.Helper()
	i := slices.IndexFunc(all, func(u *unstructured.Unstructured) bool { return u.GetKind() == kind && u.GetNamespace() == namespace })
	if i < 0 {
		t.Fatalf("there is no %s in namespace %q", kind, namespace)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(all[i].Object, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func made(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	all, err := manifest(anAssignment(), "image")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheJobHasAnIndexForEachShardAndReplacesPodsThatHaveEnded(t *testing.T) {
	spec := object[batchv1.Job](t, made(t), "Job", NamespaceOf("run1")).Spec
	if *spec.Completions != 3 || *spec.Parallelism != 3 || *spec.CompletionMode != batchv1.IndexedCompletion {
		t.Errorf("%d completions, %d at a time, %s", *spec.Completions, *spec.Parallelism, *spec.CompletionMode)
	}
	if *spec.BackoffLimitPerIndex != replacements || *spec.PodReplacementPolicy != batchv1.Failed {
		t.Errorf("an index is tried %d times more, after %s", *spec.BackoffLimitPerIndex, *spec.PodReplacementPolicy)
	}
	if *spec.ActiveDeadlineSeconds != 3600 {
		t.Errorf("it ends after %d s", *spec.ActiveDeadlineSeconds)
	}
}

// The namespace enforces the Pod Security Standard "restricted"; this is what goes beyond it.
func TestTheShardsWriteNowhereAndAskForWhatTheyNeed(t *testing.T) {
	pod := object[batchv1.Job](t, made(t), "Job", NamespaceOf("run1")).Spec.Template.Spec
	c := pod.Containers[0]
	if !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || !*pod.SecurityContext.RunAsNonRoot {
		t.Error("the container may write to its root, become more than it is, or be root")
	}
	if pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Error("there is no seccomp profile")
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("resources %+v", c.Resources)
	}
	if level := namespace("run1").Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
		t.Errorf("the namespace enforces %q", level)
	}
}

func TestWhateverIsInNoNamespaceOfTheRunGoesWithIt(t *testing.T) {
	for _, u := range made(t) {
		owned := len(u.GetOwnerReferences()) == 1 && u.GetOwnerReferences()[0].UID == "u"
		if u.GetNamespace() != NamespaceOf("run1") && !owned {
			t.Errorf("%s %s/%s has the owners %v", u.GetKind(), u.GetNamespace(), u.GetName(), u.GetOwnerReferences())
		}
	}
}

func TestTheRightsOfAShardOpenNothingElse(t *testing.T) {
	all := made(t)
	rules := map[string][]rbacv1.PolicyRule{"": object[rbacv1.ClusterRole](t, all, "ClusterRole", "").Rules}
	for _, ns := range []string{NamespaceOf("run1"), "webhook", "azure", "wi-e2e-imds"} {
		rules[ns] = object[rbacv1.Role](t, all, "Role", ns).Rules
	}
	for ns, list := range rules {
		for _, r := range list {
			for _, part := range slices.Concat(r.Verbs, r.Resources, r.APIGroups) {
				if part == "*" || slices.Contains([]string{"bind", "escalate", "impersonate", "deletecollection"}, part) {
					t.Errorf("namespace %q: %v", ns, r)
				}
			}
			if slices.Contains(r.Resources, "secrets") && (slices.Contains(r.Verbs, "get") || slices.Contains(r.Verbs, "list") || slices.Contains(r.Verbs, "watch")) {
				t.Errorf("namespace %q: secrets can be read", ns)
			}
			if slices.Contains(r.Resources, "namespaces") && slices.Contains(r.Verbs, "delete") {
				t.Errorf("namespace %q: namespaces can be deleted", ns)
			}
			if ns == "" && (slices.Contains(r.Resources, "pods/portforward") || slices.Contains(r.Resources, "pods/exec") || slices.Contains(r.Resources, "configmaps")) {
				t.Errorf("everywhere: %v", r)
			}
			if ns == "azure" && slices.ContainsFunc([]string{"configmaps", "serviceaccounts/token"}, func(s string) bool { return slices.Contains(r.Resources, s) }) && len(r.ResourceNames) == 0 {
				t.Errorf("namespace azure: %v is of no names", r)
			}
		}
	}
}

func TestWhereThereIsNothingToDialThereIsNoRight(t *testing.T) {
	a := anAssignment()
	a.Azure, a.IMDS, a.Subject.Images = nil, nil, nil
	rights := a.rightsIn()
	if got, want := slices.Sorted(maps.Keys(rights)), []string{metav1.NamespaceSystem, a.Namespace}; !slices.Equal(got, want) {
		t.Errorf("rights in %v, want %v", got, want)
	}
}

func TestTheIndexOfAJobIsAShard(t *testing.T) {
	if n, err := ShardOf("2"); err != nil || n != 3 {
		t.Errorf("shard %d, error %v", n, err)
	}
	for _, index := range []string{"", "-1", "x"} {
		if _, err := ShardOf(index); err == nil {
			t.Errorf("index %q is accepted", index)
		}
	}
}

func add(t *testing.T, kube *fake.Clientset, objects ...runtime.Object) {
	t.Helper()
	for _, o := range objects {
		if err := kube.Tracker().Add(o); err != nil {
			t.Fatal(err)
		}
	}
}
