package proxy

import (
	"context"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// Workloads of the tests that are not about the SDKs: one that supports workload identity, and one from before it.
const (
	supported   = "go-azidentity"
	unsupported = "go-imds"
)

// podIdentityLabel is what AAD Pod Identity, from which people migrate, chose a pod's identity by.
const podIdentityLabel = "aadpodidbinding"

// migrationTests hold the documents' decision table: an application on a supported SDK needs no step, which is what the exchange
// tier shows; it may go on to ask IMDS; and one on an older SDK needs the proxy.
func migrationTests() []suites.Test {
	tests := []suites.Test{
		{
			ID:    "migration-by-hand",
			Title: "Init container and proxy work where a manifest has them, as the migration documents say",
			Tier:  suites.Proxy, Requirements: []string{"PRX-17"},
			Needs: needs(suites.WorkloadImage(unsupported)), Trust: trusted(reader), Body: migratesByHand,
		},
		{
			ID:    "migration-leftovers",
			Title: "Labels of AAD Pod Identity that are left on pods do no harm",
			Tier:  suites.Proxy, Requirements: []string{"PRX-17"},
			Needs: needs(suites.WorkloadImage(supported), suites.WorkloadImage(unsupported)), Trust: trusted(reader), Body: leftovers,
		},
		{
			ID:    "migration-mixed",
			Title: "A container that has migrated and one that has not read the secret side by side",
			Tier:  suites.Proxy, Requirements: []string{"PRX-17"},
			Needs: needs(suites.WorkloadImage(supported), suites.WorkloadImage(unsupported)), Trust: trusted(reader), Body: mixed,
		},
	}
	for _, w := range workloads.Catalogue() {
		test := suites.Test{
			Tier: suites.Proxy, Requirements: []string{"PRX-17"}, Trust: trusted(reader), Timeout: 5 * time.Minute, // each attempt may take two
		}
		switch {
		case w.Managed:
			test.ID, test.Title = "managed-identity-"+w.Name, "The workload "+w.Name+" reads the secret by its managed identity credential, through the proxy"
			test.Needs = needs(suites.WorkloadImage(w.Name))
			test.Body = func(ctx context.Context, t *suites.T) { asManagedIdentity(ctx, t, w) }
		case w.Migrates:
			test.ID, test.Title = "migrate-"+w.Name, "The workload "+w.Name+", from before workload identity, gets nothing without the proxy and the secret with it"
			test.Needs = needs(suites.WorkloadImage(w.Name), suites.EmulatedIMDS)
			test.Body = func(ctx context.Context, t *suites.T) { migrates(ctx, t, w) }
		default:
			continue
		}
		tests = append(tests, test)
	}
	return tests
}

var managed = workloads.Attempt{Credential: "managed"}

// asManagedIdentity skips the container: newer SDKs would take the injected token for a managed identity's, past the proxy.
func asManagedIdentity(ctx context.Context, t *suites.T, w workloads.Workload) {
	own := t.Identity(app, reader).ClientID
	pod := newPod(ctx, t, w.Name, app, programs.New(t, "app", w.Name, managed, workloads.Attempt{Credential: managed.Credential, ClientID: own}))
	pod.Annotations[suites.SkipAnnotation] = "app"
	results := read(ctx, t, pod)["app"]
	for i, title := range []string{"the pod's identity", "an identity that the code names"} {
		t.Case(ctx, title, func(_ context.Context, t *suites.T) {
			t.Ran(programs.Ran(t, w, results[i], programs.Exchanges(ctx, t, app)))
			readsThroughIMDS(t, w.Name, results[i])
		})
	}
	expectExchanges(ctx, t, own)
}

func migrates(ctx context.Context, t *suites.T, w workloads.Workload) {
	var attempts []workloads.Attempt
	for _, credential := range w.Credentials {
		attempts = append(attempts, workloads.Attempt{Credential: credential})
	}
	program := programs.New(t, "app", w.Name, attempts...)
	t.Case(ctx, "without the proxy", func(ctx context.Context, t *suites.T) {
		finished, err := start(ctx, t, programs.Pod(ctx, t, "without", app, program))
		t.Must(err, "run pod without")
		for i, r := range programs.Outcomes(t, finished, []corev1.Container{program})["app"] {
			t.Check(!r.OK && r.Error.Stage == "token", "credential %s gets the secret without the proxy, or fails for another reason: %s", w.Credentials[i], programs.Describe(r))
			t.Note("credential %s: %s", w.Credentials[i], programs.Describe(r))
		}
		entries := asked(ctx, t, finished.Pod)
		tokens := slices.ContainsFunc(entries, func(e imds.Entry) bool { return e.Path == imds.TokenPath && e.Status == http.StatusBadRequest })
		t.Check(tokens, "it has not asked IMDS for a token")
	})
	t.Case(ctx, "with the proxy and no other change", func(ctx context.Context, t *suites.T) {
		for i, r := range read(ctx, t, newPod(ctx, t, "with", app, program))["app"] {
			t.Ran(programs.Ran(t, w, r, programs.Exchanges(ctx, t, app)))
			programs.HasSecret(t, "credential "+w.Credentials[i]+" of "+w.Name, r)
		}
		expectExchanges(ctx, t, t.Identity(app, reader).ClientID)
	})
}

// read runs workloads beside a proxy, which they ask, and not IMDS.
func read(ctx context.Context, t *suites.T, pod *corev1.Pod) map[string]programs.Outcome {
	finished, err := start(ctx, t, pod)
	t.Must(err, "run pod %s", pod.Name)
	bypassed(ctx, t, called{pod: finished.Pod}, imds.TokenPath)
	applications := slices.DeleteFunc(slices.Clone(pod.Spec.Containers), func(c corev1.Container) bool { return c.Name == byHandProxy })
	return programs.Outcomes(t, finished, applications)
}

// readsThroughIMDS expects the secret, by a managed identity's credential. Whose that is the application need not know.
func readsThroughIMDS(t *suites.T, what string, r workloads.Result) {
	programs.HasSecret(t, what, r)
	t.Equal("credential of "+what, "ManagedIdentityCredential", r.Credential)
}

// expectExchanges expects that Azure gave a token to the client for the account, and to no other. Only an emulator tells.
func expectExchanges(ctx context.Context, t *suites.T, clientID string) {
	if t.Azure().Evidence == nil {
		return
	}
	t.Check(len(granted(ctx, t, clientID)) > 0, "Azure gave client %s no token: the secret came another way", clientID)
	for _, e := range programs.Exchanges(ctx, t, app) {
		t.Equal("client of an exchange", clientID, e.ClientID)
	}
}

func migratesByHand(ctx context.Context, t *suites.T) {
	own := t.Identity(app, reader).ClientID
	t.Case(ctx, "the proxy stands before the application, and is ready for its first call", func(ctx context.Context, t *suites.T) {
		pod := programs.Pod(ctx, t, "proxy-first", app, caller(t, "app", ready(), token(t, "token")))
		byHand(ctx, t, pod, func(*corev1.Container) {})
		made := call(ctx, t, pod)
		isProxy(t, "the application", made.of(t, "app", "ready"))
		gets(t, "the application", made.of(t, "app", "token"), own)
	})
	t.Case(ctx, "the proxy stands after the application, without a hook", func(ctx context.Context, t *suites.T) {
		awaited := ready()
		awaited.Until = http.StatusOK
		pod := programs.Pod(ctx, t, "proxy-last", app, caller(t, "app", awaited, token(t, "token")))
		byHand(ctx, t, pod, func(proxy *corev1.Container) { proxy.Lifecycle = nil })
		slices.Reverse(pod.Spec.Containers)
		made := call(ctx, t, pod)
		isProxy(t, "the application", made.of(t, "app", "ready"))
		gets(t, "the application", made.of(t, "app", "token"), own)
	})
	t.Case(ctx, "a workload from before workload identity", func(ctx context.Context, t *suites.T) {
		pod := programs.Pod(ctx, t, "workload", app, programs.New(t, "app", unsupported, managed))
		byHand(ctx, t, pod, func(*corev1.Container) {})
		readsThroughIMDS(t, unsupported, read(ctx, t, pod)["app"].Only())
		expectExchanges(ctx, t, own)
	})
}

func leftovers(ctx context.Context, t *suites.T) {
	own := t.Identity(app, reader).ClientID
	t.Case(ctx, "an application that supports workload identity", func(ctx context.Context, t *suites.T) {
		pod := programs.Pod(ctx, t, "supported", app, programs.New(t, "app", supported))
		pod.Labels[podIdentityLabel] = "my-identity"
		programs.HasRead(t, supported, read(ctx, t, pod)["app"].Only(), own)
	})
	t.Case(ctx, "an application behind the proxy", func(ctx context.Context, t *suites.T) {
		pod := newPod(ctx, t, "unsupported", app, programs.New(t, "app", unsupported, managed))
		pod.Labels[podIdentityLabel] = "my-identity"
		readsThroughIMDS(t, unsupported, read(ctx, t, pod)["app"].Only())
	})
	t.Case(ctx, "what is injected is the same", func(ctx context.Context, t *suites.T) {
		admit := func(labels map[string]string) corev1.PodSpec {
			pod := newPod(ctx, t, "admitted", app, corev1.Container{Name: "app", Image: "app"})
			for name, value := range labels {
				pod.Labels[name] = value
			}
			admitted, err := t.Kube().CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			t.Must(err, "create a pod that is not kept")
			return admitted.Spec
		}
		t.Equal("pod with the label", admit(nil), admit(map[string]string{podIdentityLabel: "my-identity"}))
	})
}

func mixed(ctx context.Context, t *suites.T) {
	pod := newPod(ctx, t, "mixed", app, programs.New(t, "migrated", supported), programs.New(t, "unmigrated", unsupported, managed))
	outcomes := read(ctx, t, pod)
	programs.HasRead(t, "the container that has migrated", outcomes["migrated"].Only(), t.Identity(app, reader).ClientID)
	readsThroughIMDS(t, "the container that has not", outcomes["unmigrated"].Only())
	if t.Azure().Evidence != nil {
		t.Equal("exchanges, one by the application itself and one by the proxy", 2, len(granted(ctx, t, t.Identity(app, reader).ClientID)))
	}
}
