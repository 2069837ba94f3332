package exchange

import (
	"context"
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
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
		Needs: needs(sample),
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
			o := programs.Run(ctx, t, programs.Pod(ctx, t, account, account, programs.New(t, "app", sample)))["app"].Only()
			programs.HasRead(t, "account "+account, o, t.Identity(account, reader).ClientID)
		})
	}
	t.Case(ctx, "one account is many identities, by its annotation and by a client ID in code", func(ctx context.Context, t *suites.T) {
		one, other := t.Identity(many, reader).ClientID, t.Identity(many, otherReader).ClientID
		t.Require(one != other, "the two identities are one")
		isBoth(ctx, t, "before", one, other)
		annotate(ctx, t, many, map[string]string{suites.ClientIDAnnotation: other})
		awaitInjection(ctx, t, many, other)
		isBoth(ctx, t, "after", other, one)
	})
}

// isBoth expects that a pod is the annotated identity, and the other one where its program says so.
func isBoth(ctx context.Context, t *suites.T, name, annotated, inCode string) {
	before := grants(ctx, t, inCode)
	o := programs.Run(ctx, t, programs.Pod(ctx, t, name, many, programs.New(t, "app", sample, workloads.Attempt{}, asClient(inCode))))["app"]
	programs.HasRead(t, "a pod "+name+" the annotation changed", o[0], annotated)
	programs.HasRead(t, "its code that names a client", o[1], inCode)
	t.Check(t.Azure().Evidence == nil || grants(ctx, t, inCode) > before, "Azure gave client %s no token", inCode)
}

// grants counts the tokens that Azure gave to a client for the account "many". Only an emulator tells.
func grants(ctx context.Context, t *suites.T, clientID string) (n int) {
	for _, e := range programs.Exchanges(ctx, t, many) {
		if e.ClientID == clientID {
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
		pod, err := t.Kube().CoreV1().Pods(t.Namespace(ctx)).Create(ctx, programs.Pod(ctx, t, "dry-run", account, programs.New(t, "app", sample)), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
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
