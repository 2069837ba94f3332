package exchange

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Accounts of the mappings.
const (
	first, second = "first", "second"
	many          = "many"
)

func mappingTests() []suites.Test {
	return []suites.Test{{
		ID:    "account-identity-mappings",
		Title: "Accounts and identities map one to one, many to one and one to many",
		Tier:  suites.Exchange, Requirements: []string{"EXC-03"},
		Needs: needs(),
		Trust: []suites.Trust{
			{Account: first, Identity: reader}, {Account: second, Identity: reader},
			{Account: many, Identity: reader}, {Account: many, Identity: otherReader},
		},
		Body: mappings,
	}}
}

func mappings(ctx context.Context, t *suites.T) {
	for _, account := range []string{first, second} {
		t.Case(ctx, "account "+account+" is the identity that both accounts share", func(ctx context.Context, t *suites.T) {
			hasRead(t, "account "+account, run(ctx, t, newPod(ctx, t, account, sample, account)), t.Identity(account, reader).ClientID)
		})
	}
	one, other := t.Identity(many, reader).ClientID, t.Identity(many, otherReader).ClientID
	t.Require(one != other, "the two identities are one")
	t.Case(ctx, "the identity follows the account's annotation from pod to pod", func(ctx context.Context, t *suites.T) {
		hasRead(t, "a pod before the annotation changes", run(ctx, t, newPod(ctx, t, "before", sample, many)), one)
		annotate(ctx, t, many, map[string]string{suites.ClientIDAnnotation: other})
		awaitInjection(ctx, t, many, other)
		hasRead(t, "a pod after the annotation changed", run(ctx, t, newPod(ctx, t, "after", sample, many)), other)
	})
	t.Case(ctx, "a client ID in code wins over the annotation", func(ctx context.Context, t *suites.T) {
		for name, clientID := range map[string]string{"one": one, "other": other} { // one of them is not the annotation's
			before := grants(ctx, t, clientID)
			pod := newPod(ctx, t, "in-code-"+name, sample, many, withEnv("WORKLOAD_CLIENT_ID", clientID))
			hasRead(t, "a pod with client ID "+name+" in code", run(ctx, t, pod), clientID)
			t.Check(t.Azure().Evidence == nil || grants(ctx, t, clientID) > before, "Azure gave client %s no token", clientID)
		}
	})
}

// grants counts the tokens that Azure gave to a client for the account "many". Only an emulator tells.
func grants(ctx context.Context, t *suites.T, clientID string) (n int) {
	if t.Azure().Evidence == nil {
		return 0
	}
	entries, err := t.Azure().Evidence(ctx, 0)
	t.Must(err, "read the emulator's evidence")
	for _, e := range entries {
		if e.Service == "entra" && e.Status == http.StatusOK && e.ClientID == clientID && strings.HasSuffix(e.Subject, ":"+many) {
			n++
		}
	}
	return n
}

func annotate(ctx context.Context, t *suites.T, account string, annotations map[string]string) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	t.Must(err, "encode annotations")
	_, err = t.Kube().CoreV1().ServiceAccounts(t.Namespace(ctx)).Patch(ctx, account, types.MergePatchType, patch, metav1.PatchOptions{})
	t.Must(err, "annotate service account %s", account)
}

// injectionBudget is how long a webhook that reads accounts through a watch may take to see a change (as for SA-04).
const injectionBudget = 5 * time.Second

// awaitInjection returns when pods of the account get the client ID, which a dry run tells.
func awaitInjection(ctx context.Context, t *suites.T, account, clientID string) {
	ctx, cancel := context.WithTimeout(ctx, injectionBudget)
	defer cancel()
	injected := ""
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err := t.Kube().CoreV1().Pods(t.Namespace(ctx)).Create(ctx, newPod(ctx, t, "dry-run", sample, account), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return false, err
		}
		for _, env := range pod.Spec.Containers[0].Env {
			if env.Name == suites.ClientIDVariable {
				injected = env.Value
			}
		}
		return injected == clientID, nil
	})
	if err != nil && ctx.Err() == nil {
		t.Must(err, "dry-run create of a pod")
	}
	t.Require(injected == clientID, "%s after its annotation changed, a pod of account %s still gets client ID %q", injectionBudget, account, injected)
}
