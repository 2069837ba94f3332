package main

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
)

// TestTheDoctorNamesWhatIsWrong breaks an installation on a real cluster in the ways of OPS-06.
func TestTheDoctorNamesWhatIsWrong(t *testing.T) {
	needRoot(t)
	state := ownState(t)
	kubeconfig, remove := createCluster(t, state, "doctor")
	defer remove()
	if got := wiE2E(t, "doctor", "--cluster", "doctor", "--output", "json"); got.code != 1 || !slices.Contains(findings(t, got), "error webhook-missing") {
		t.Errorf("without an installation: exit code %d, %s", got.code, got.stdout)
	}
	if got := wiE2E(t, "run", "--cluster", "doctor", "--keep", "--test", "issuer-discovery", "--output", t.TempDir()); got.code != 0 {
		t.Fatalf("install the reference: %s", got.stdout)
	}
	kube := kubeClient(t, kubeconfig)
	const (
		notPublic   = "warning issuer-not-public" // true of every cluster of wi-e2e's
		unreachable = "error webhook-unreachable"
	)
	for _, c := range []struct {
		name         string
		break_, mend func(ctx context.Context, kube kubernetes.Interface) error
		want         []string // without notPublic
	}{
		{"nothing", nothing, nothing, nil},
		{"the right to read service accounts", bind("somebody-else"), bind("azure-wi-webhook-admin"), []string{"error webhook-rights"}},
		{"a tenant that was never filled in", tenantSet("${AZURE_TENANT_ID}"), tenantSet("11111111-2222-4333-8444-555555555555"), []string{"warning installation-unexpanded"}},
		{"the name of the configuration", rename(subject.WebhookConfigurationName, "mine"), rename("mine", subject.WebhookConfigurationName), []string{"warning configuration-renamed"}},
		{"an add-on beside it", withAddOn, withoutAddOn, []string{
			"error two-installations", "warning configuration-renamed", "error webhook-without-pods", unreachable,
		}},
		{"nothing any more", nothing, nothing, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.break_(t.Context(), kube); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.mend(t.Context(), kube); err != nil {
					t.Fatal(err)
				}
			}()
			got := wiE2E(t, "doctor", "--cluster", "doctor", "--output", "json")
			found := slices.DeleteFunc(findings(t, got), func(f string) bool {
				// The API server hears of withdrawn rights in its own time: until then the webhook answers.
				return f == notPublic || f == unreachable && slices.Contains(c.want, "error webhook-rights")
			})
			if !slices.Equal(found, c.want) {
				t.Errorf("findings %q, want %q\n%s", found, c.want, got.stdout)
			}
			if broken := slices.ContainsFunc(c.want, func(f string) bool { return f[:5] == "error" }); (got.code == 1) != broken {
				t.Errorf("exit code %d", got.code)
			}
		})
	}
}

// findings are the severity and the ID of each.
func findings(t *testing.T, of result) []string {
	t.Helper()
	var document struct {
		Findings []struct{ Severity, ID string }
	}
	if err := json.Unmarshal([]byte(of.stdout), &document); err != nil {
		t.Fatalf("%v: %s%s", err, of.stdout, of.stderr)
	}
	var all []string
	for _, f := range document.Findings {
		all = append(all, f.Severity+" "+f.ID)
	}
	return all
}

func nothing(context.Context, kubernetes.Interface) error { return nil }

const roleBinding = "azure-wi-webhook-manager-rolebinding"

// bind gives the webhook's role on the cluster to a service account of its namespace.
func bind(account string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, kube kubernetes.Interface) error {
		binding, err := kube.RbacV1().ClusterRoleBindings().Get(ctx, roleBinding, metav1.GetOptions{})
		if err != nil {
			return err
		}
		binding.Subjects[0].Name = account
		_, err = kube.RbacV1().ClusterRoleBindings().Update(ctx, binding, metav1.UpdateOptions{})
		return err
	}
}

func tenantSet(id string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, kube kubernetes.Interface) error {
		config, err := kube.CoreV1().ConfigMaps(subject.DefaultNamespace).Get(ctx, subject.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		config.Data["AZURE_TENANT_ID"] = id
		_, err = kube.CoreV1().ConfigMaps(subject.DefaultNamespace).Update(ctx, config, metav1.UpdateOptions{})
		return err
	}
}

func rename(from, to string) func(context.Context, kubernetes.Interface) error {
	return func(ctx context.Context, kube kubernetes.Interface) error {
		configurations := kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
		configuration, err := configurations.Get(ctx, from, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := configurations.Delete(ctx, from, metav1.DeleteOptions{}); err != nil {
			return err
		}
		configuration.ObjectMeta = metav1.ObjectMeta{Name: to, Labels: configuration.Labels}
		_, err = configurations.Create(ctx, configuration, metav1.CreateOptions{})
		return err
	}
}

const addOn = "aks-webhook-configuration"

// withAddOn registers a second webhook, for which nobody answers.
func withAddOn(ctx context.Context, kube kubernetes.Interface) error {
	configurations := kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(ctx, subject.WebhookConfigurationName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	configuration.ObjectMeta = metav1.ObjectMeta{Name: addOn}
	configuration.Webhooks[0].ClientConfig.Service.Namespace = subject.AddOnNamespace
	_, err = configurations.Create(ctx, configuration, metav1.CreateOptions{})
	return err
}

func withoutAddOn(ctx context.Context, kube kubernetes.Interface) error {
	return kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, addOn, metav1.DeleteOptions{})
}
