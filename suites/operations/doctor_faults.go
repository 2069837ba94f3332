package operations

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// installationFault is one of OPS-06.
type installationFault struct {
	name string
	// finding is the ID that the doctor has for it.
	finding string
	put     func(ctx context.Context, t *suites.T, webhook *installation) (mend func(context.Context) error)
}

var installationFaults = []installationFault{
	{"missing RBAC", "webhook-rights", withoutRights},
	{"a renamed webhook configuration", "configuration-renamed", renamed},
	{"a second installation beside it", "two-installations", besideAddOn},
	{"an unexpanded tenant", "installation-unexpanded", unexpanded},
}

// withoutRights unbinds the webhook's service account from its roles on the cluster.
func withoutRights(ctx context.Context, t *suites.T, webhook *installation) func(context.Context) error {
	pods := webhook.pods(ctx, t)
	account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: pods[0].Namespace, Name: cmp.Or(pods[0].Spec.ServiceAccountName, "default")}
	bindings := t.Kube().RbacV1().ClusterRoleBindings()
	all, err := bindings.List(ctx, metav1.ListOptions{})
	t.Must(err, "list the cluster role bindings")
	bound := map[string][]rbacv1.Subject{}
	for _, b := range all.Items {
		if slices.Contains(b.Subjects, account) {
			bound[b.Name] = b.Subjects
		}
	}
	if len(bound) == 0 {
		t.Broken("no ClusterRoleBinding names service account %s/%s: where the webhook has its rights from is not known", account.Namespace, account.Name)
	}
	set := func(ctx context.Context, of func([]rbacv1.Subject) []rbacv1.Subject) error {
		for name, subjects := range bound {
			patch, err := json.Marshal(map[string]any{"subjects": of(subjects)})
			if err != nil {
				return err
			}
			if _, err := bindings.Patch(ctx, name, types.MergePatchType, patch, patchOptions); err != nil {
				return err
			}
		}
		return nil
	}
	err = set(ctx, func(had []rbacv1.Subject) []rbacv1.Subject {
		return slices.DeleteFunc(slices.Clone(had), func(s rbacv1.Subject) bool { return s == account })
	})
	mend := func(ctx context.Context) error {
		return set(ctx, func(had []rbacv1.Subject) []rbacv1.Subject { return had })
	}
	mended(ctx, t, err, mend, "take the webhook's rights away")
	return mend
}

// mended takes back what was done of a fault that could not be put, before the test ends for it.
func mended(ctx context.Context, t *suites.T, err error, mend func(context.Context) error, doing string) {
	if err == nil {
		return
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	t.Must(errors.Join(err, mend(undo)), "%s", doing)
}

// renamed has at no moment no configuration: labelled pods are never let by.
func renamed(ctx context.Context, t *suites.T, _ *installation) func(context.Context) error {
	configurations := t.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations()
	found, err := configurations.Get(ctx, t.Subject().WebhookConfiguration, metav1.GetOptions{})
	t.Must(err, "get webhook configuration %s", t.Subject().WebhookConfiguration)
	copied := copyOf(ctx, t, found, "wi-e2e-renamed")
	_, err = configurations.Create(ctx, copied, metav1.CreateOptions{})
	t.Must(err, "create webhook configuration %s", copied.Name)
	mend := func(ctx context.Context) error {
		original := found.DeepCopy()
		original.ResourceVersion, original.UID, original.ManagedFields = "", "", nil
		if _, err := configurations.Create(ctx, original, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		return configurations.Delete(ctx, copied.Name, metav1.DeleteOptions{})
	}
	err = configurations.Delete(ctx, found.Name, metav1.DeleteOptions{})
	mended(ctx, t, err, mend, "delete webhook configuration "+found.Name)
	return mend
}

// besideAddOn registers the webhook once more, as the AKS add-on would, with nobody who answers for it.
func besideAddOn(ctx context.Context, t *suites.T, _ *installation) func(context.Context) error {
	configurations := t.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations()
	found, err := configurations.Get(ctx, t.Subject().WebhookConfiguration, metav1.GetOptions{})
	t.Must(err, "get webhook configuration %s", t.Subject().WebhookConfiguration)
	second := copyOf(ctx, t, found, "wi-e2e-add-on")
	for i := range second.Webhooks {
		second.Webhooks[i].ClientConfig.Service.Namespace = subject.AddOnNamespace
	}
	_, err = configurations.Create(ctx, second, metav1.CreateOptions{})
	t.Must(err, "create webhook configuration %s", second.Name)
	return func(ctx context.Context) error {
		return configurations.Delete(ctx, second.Name, metav1.DeleteOptions{})
	}
}

// copyOf belongs to the test's namespace, so that whatever removes that takes it along.
func copyOf(ctx context.Context, t *suites.T, found *registrationv1.MutatingWebhookConfiguration, name string) *registrationv1.MutatingWebhookConfiguration {
	ns := t.Namespace(ctx)
	owner, err := t.Kube().CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	t.Must(err, "get namespace %s", ns)
	copied := &registrationv1.MutatingWebhookConfiguration{Webhooks: found.DeepCopy().Webhooks}
	copied.Name = name
	copied.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: owner.Name, UID: owner.UID}}
	return copied
}

// tenantVariable is what an installation's tenant is called in its ConfigMap.
const tenantVariable = "AZURE_TENANT_ID"

// unexpanded is what is left of a manifest that nobody ran through envsubst. Running replicas have read their tenant before.
func unexpanded(ctx context.Context, t *suites.T, _ *installation) func(context.Context) error {
	ns := t.Subject().Namespace
	configs := t.Kube().CoreV1().ConfigMaps(ns)
	found, err := configs.Get(ctx, subject.ConfigMapName, metav1.GetOptions{})
	t.Must(err, "get ConfigMap %s/%s", ns, subject.ConfigMapName)
	tenant, ok := found.Data[tenantVariable]
	if !ok {
		t.Broken("ConfigMap %s/%s has no %s: where the tenant is set is not known", ns, subject.ConfigMapName, tenantVariable)
	}
	set := func(ctx context.Context, value string) error {
		patch, err := json.Marshal(map[string]any{"data": map[string]string{tenantVariable: value}})
		if err != nil {
			return err
		}
		_, err = configs.Patch(ctx, subject.ConfigMapName, types.MergePatchType, patch, patchOptions)
		return err
	}
	t.Must(set(ctx, "${"+tenantVariable+"}"), "change ConfigMap %s/%s", ns, subject.ConfigMapName)
	return func(ctx context.Context) error { return set(ctx, tenant) }
}
