package admission

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/suites"
)

// annotationBudget is how long a webhook may take to see a changed service account annotation. SA-04 gives no
// time; a webhook that reads through a watch needs some milliseconds, one with a stale cache never gets there.
const annotationBudget = 5 * time.Second

func serviceAccountTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "service-account-of-pod",
			Title:        "The service account is the pod's, or default",
			Tier:         suites.Admission,
			Requirements: []string{"SA-01"},
			Body:         serviceAccountOfPod,
		},
		{
			ID:           "service-account-just-created",
			Title:        "A service account created in the moment before the pod is found",
			Tier:         suites.Admission,
			Requirements: []string{"SA-02"},
			Body:         serviceAccountJustCreated,
		},
		{
			ID:           "service-account-missing",
			Title:        "A pod whose service account does not exist is refused, and the message names the account",
			Tier:         suites.Admission,
			Requirements: []string{"SA-03"},
			Body:         serviceAccountMissing,
		},
		{
			ID:           "service-account-missing-direct",
			Title:        "The webhook itself refuses a pod whose service account does not exist",
			Tier:         suites.Admission,
			Requirements: []string{"SA-03", "ADM-03"},
			Needs:        []suites.Capability{suites.SubjectPods},
			Body:         serviceAccountMissingDirect,
		},
		{
			ID:           "service-account-changes-later",
			Title:        "A changed annotation reaches the next pod and leaves existing pods as they are",
			Tier:         suites.Admission,
			Requirements: []string{"SA-04"},
			Body:         serviceAccountChangesLater,
		},
		{
			ID:           "service-account-values-as-given",
			Title:        "Annotation values are used as given",
			Tier:         suites.Admission,
			Requirements: []string{"SA-05"},
			Body:         serviceAccountValuesAsGiven,
		},
	}
}

// clientIDOf is the injected client id of container "app".
func clientIDOf(sent, got *corev1.Pod) string {
	value, _ := observe(sent, got).containers["app"].variable(suites.ClientIDVariable)
	return value
}

func serviceAccountOfPod(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	t.ServiceAccount(ctx, "default", map[string]string{suites.ClientIDAnnotation: "id-of-default"})
	t.ServiceAccount(ctx, "named", map[string]string{suites.ClientIDAnnotation: "id-of-named"})
	t.ServiceAccount(ctx, "other", map[string]string{suites.ClientIDAnnotation: "id-of-other"})
	for _, c := range []struct{ name, account, want string }{
		{"a named account", "named", "id-of-named"},
		{"another named account", "other", "id-of-other"},
		{"no account named", "", "id-of-default"},
		{"default, by name", "default", "id-of-default"},
	} {
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(c.account)
			t.Equal(suites.ClientIDVariable, c.want, clientIDOf(pod, admit(ctx, t, ns, pod)))
		})
	}
	t.Case(ctx, "the deprecated field serviceAccount", func(ctx context.Context, t *suites.T) {
		pod := newPod("", func(p *corev1.Pod) { p.Spec.DeprecatedServiceAccount = "named" })
		t.Equal(suites.ClientIDVariable, "id-of-named", clientIDOf(pod, admit(ctx, t, ns, pod)))
	})
}

func serviceAccountJustCreated(ctx context.Context, t *suites.T) {
	const rows, pairs = 5, 10 // fifty pairs; within a row each follows the one before at once
	ns := t.Namespace(ctx)
	for row := range rows {
		t.Case(ctx, fmt.Sprintf("pairs %d to %d", row*pairs+1, (row+1)*pairs), func(ctx context.Context, t *suites.T) {
			for i := row * pairs; i < (row+1)*pairs; i++ {
				id := fmt.Sprintf("id-%02d", i)
				sa := t.ServiceAccount(ctx, fmt.Sprintf("new-%02d", i), map[string]string{suites.ClientIDAnnotation: id})
				pod := newPod(sa)
				t.Equal(fmt.Sprintf("%s of pair %d", suites.ClientIDVariable, i+1), id, clientIDOf(pod, admit(ctx, t, ns, pod)))
			}
		})
	}
}

func serviceAccountMissing(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	t.ServiceAccount(ctx, "present", identified())
	t.Case(ctx, "a missing account", func(ctx context.Context, t *suites.T) {
		refusal := refuse(ctx, t, ns, newPod("no-such-account"))
		// The API server's own ServiceAccount admission may answer first, with 403.
		t.Check(refusal.Code == http.StatusForbidden || refusal.Code == http.StatusBadRequest, "the refusal has code %d, want 403 or 400", refusal.Code)
		t.Check(strings.Contains(refusal.Message, "no-such-account"), "the refusal does not name the account: %s", refusal.Message)
	})
	t.Case(ctx, "an existing account is admitted", func(ctx context.Context, t *suites.T) {
		pod := newPod("present")
		expectIdentity(t, pod, admit(ctx, t, ns, pod), "app")
	})
}

func serviceAccountMissingDirect(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	t.ServiceAccount(ctx, "present", identified())
	webhook := dialWebhook(ctx, t)
	t.Case(ctx, "a missing account", func(ctx context.Context, t *suites.T) {
		answer := webhook.review(ctx, t, "admission.k8s.io/v1", ns, newPod("no-such-account"))
		t.Check(!answer.Allowed, "the webhook allows the pod")
		t.Require(answer.Result != nil, "the refusal says nothing")
		t.Equal("code", int32(http.StatusBadRequest), answer.Result.Code)
		t.Check(strings.Contains(answer.Result.Message, "no-such-account"), "the refusal does not name the account: %s", answer.Result.Message)
	})
	t.Case(ctx, "an existing account is allowed", func(ctx context.Context, t *suites.T) {
		answer := webhook.review(ctx, t, "admission.k8s.io/v1", ns, newPod("present"))
		t.Check(answer.Allowed, "the webhook refuses: %v", answer.Result)
		t.Check(len(answer.Patch) > 0, "the webhook changes nothing")
	})
}

func serviceAccountChangesLater(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	sa := t.ServiceAccount(ctx, "app", map[string]string{suites.ClientIDAnnotation: "id-before"})
	existing := create(ctx, t, ns, newPod(sa, gated, func(p *corev1.Pod) { p.Name = "existing" }))

	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"id-after"}}}`, suites.ClientIDAnnotation)
	_, err := t.Kube().CoreV1().ServiceAccounts(ns).Patch(ctx, sa, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	t.Must(err, "change the annotation of service account %s/%s", ns, sa)

	t.Case(ctx, "the next pod gets the new value", func(ctx context.Context, t *suites.T) {
		// There is nothing to watch: what the webhook knows shows in its next answer only.
		changed, pods := time.Now(), 0
		for {
			pod := newPod(sa)
			got := clientIDOf(pod, admit(ctx, t, ns, pod))
			if pods++; got == "id-after" || time.Since(changed) > annotationBudget {
				t.Equal(suites.ClientIDVariable, "id-after", got)
				break
			}
		}
		t.Note("pod %d got the new value, %d ms after the change", pods, time.Since(changed).Milliseconds())
	})
	t.Case(ctx, "an existing pod stays as it is", func(ctx context.Context, t *suites.T) {
		now, err := t.Kube().CoreV1().Pods(ns).Get(ctx, existing.Name, metav1.GetOptions{})
		t.Must(err, "read pod %s/%s", ns, existing.Name)
		t.Equal("the pod's spec", existing.Spec, now.Spec)
	})
}

func serviceAccountValuesAsGiven(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	for i, v := range []struct{ name, value string }{
		{"a GUID", clientID},
		{"a GUID in capitals", strings.ToUpper(clientID)},
		{"no GUID", "my-client"},
		{"surrounding space", "  padded  "},
		{"characters that JSON escapes", `a"b\c<d>&e/f`},
		{"a variable reference", "$(HOME) ${AZURE_TENANT_ID}"},
		{"other scripts", "kunde-größe-客户"},
		{"a thousand characters", strings.Repeat("x", 1000)},
	} {
		sa := t.ServiceAccount(ctx, fmt.Sprintf("given-%d", i), map[string]string{suites.ClientIDAnnotation: v.value, suites.TenantIDAnnotation: "tenant " + v.value})
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa)
			app := observe(pod, admit(ctx, t, ns, pod)).containers["app"]
			client, _ := app.variable(suites.ClientIDVariable)
			tenant, _ := app.variable(suites.TenantIDVariable)
			t.Equal(suites.ClientIDVariable, v.value, client)
			t.Equal(suites.TenantIDVariable, "tenant "+v.value, tenant)
		})
	}
}
