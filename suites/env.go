package suites

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
)

// Labels, beside objects.ManagedLabel, of the namespaces that the suites create.
const (
	RunLabel  = "wi-e2e.dev/run"
	TestLabel = "wi-e2e.dev/test"
)

// FieldManager is the name under which the suites write objects.
const FieldManager = "wi-e2e"

// namespaceKind is how the ledger names the kind of a namespace (subject.Target.Record).
const namespaceKind = "Namespace.v1."

// Env is what the tests of a run stand on.
type Env struct {
	Cluster cluster.Cluster
	Subject *subject.Installed
	// Downgrade puts the version before the subject's in its place, Upgrade the subject again, each as its users would. They return
	// when the webhook answers. Nil without a version before (PreviousVersion).
	Downgrade, Upgrade func(ctx context.Context) (*subject.Installed, error)
	// DialSubject connects to the subject's webhook, whatever the address; nil goes to a pod behind its Service.
	DialSubject func(ctx context.Context, network, address string) (net.Conn, error)
	// Azure is nil without one.
	Azure *Azure
	// RelyingParty is nil unless the issuer is public.
	RelyingParty policy.Transporter
	// IMDS is nil unless the nodes have ours.
	IMDS *IMDS
	// MinimumSDKs: the workloads have the oldest versions of their libraries that EXC-01 names.
	MinimumSDKs bool
	// Images are the references of those on the cluster, by workload, and of wi-e2e itself.
	Images map[string]string
	// LongRun is nil unless the tests of the tier soak were asked for.
	LongRun *LongRun
	// Fuzz is for the test of random pods.
	Fuzz Fuzz
	// RunID makes names unique; it is a DNS label of at most 12 characters.
	RunID string
	// UserAgent precedes the test's id in the User-Agent of every API request.
	UserAgent string
	// Strict makes a violated SHOULD a failure.
	Strict bool
	// Record writes down what is about to be created, before it is (the ledger).
	Record func(kind, namespace, name string) error
	// NotPassed is called when a test has failed or broken, while its namespace, "" if it made none, is still there. It may
	// change the result. May be nil.
	NotPassed func(ctx context.Context, result *reports.Test, namespace string)
	// KeepNamespaces leaves namespaces alone when their test ends, for a cluster that is about to be deleted as a whole.
	KeepNamespaces bool
	// NamespaceOwner owns the namespaces that tests make, which go with it; nil for none.
	NamespaceOwner *metav1.OwnerReference

	rest *rest.Config

	mu         sync.Mutex
	namespaces map[string]*testNamespace // by test
}

// Fuzz says which random pods are made: the same for the same seed.
type Fuzz struct {
	Seed int64
	Pods int // 0 means DefaultFuzzPods
}

// DefaultFuzzPods take about a second.
const DefaultFuzzPods = 100

// testNamespace is made once, by whoever needs it first.
type testNamespace struct {
	name string
	once sync.Once
	err  error
}

// Connect prepares the clients. It must be called before any test runs.
func (e *Env) Connect() error {
	config, err := e.Cluster.RESTConfig()
	if err != nil {
		return err
	}
	e.rest = config
	return nil
}

// RESTConfig is a client configuration whose requests name their sender: a test, or the harness itself.
func (e *Env) RESTConfig(sender string) *rest.Config {
	config := rest.CopyConfig(e.rest)
	config.UserAgent = e.UserAgent + " (" + sender + ")"
	config.WarningHandler = rest.NoWarnings{} // tests send odd pods on purpose
	return config
}

// RemoveNamespaces deletes the namespaces that tests made, waits until they are gone and calls removed for each.
func (e *Env) RemoveNamespaces(ctx context.Context, removed func(kind, namespace, name string) error) error {
	e.mu.Lock()
	var names []string
	for _, ns := range e.namespaces {
		names = append(names, ns.name)
	}
	e.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	kube, err := kubernetes.NewForConfig(e.RESTConfig("clean-up"))
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		err := kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // conflict: it is going already
			failures = append(failures, fmt.Errorf("delete namespace %s: %w", name, err))
		}
	}
	if err := e.awaitGone(ctx, kube); err != nil {
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		for _, name := range names {
			failures = append(failures, removed(namespaceKind, "", name))
		}
	}
	return errors.Join(failures...)
}

// awaitGone follows the run's namespaces until there is none.
func (e *Env) awaitGone(ctx context.Context, kube kubernetes.Interface) error {
	ours := func(o *metav1.ListOptions) { o.LabelSelector = RunLabel + "=" + e.RunID }
	left := map[string]bool{}
	list := cache.NewFilteredListWatchFromClient(kube.CoreV1().RESTClient(), "namespaces", "", ours)
	_, err := watchtools.UntilWithSync(ctx, list, &corev1.Namespace{}, func(store cache.Store) (bool, error) {
		for _, key := range store.ListKeys() {
			left[key] = true
		}
		return len(left) == 0, nil
	}, func(event watch.Event) (bool, error) {
		ns, ok := event.Object.(*corev1.Namespace)
		if ok && event.Type == watch.Deleted {
			delete(left, ns.Name)
		}
		return len(left) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait until the tests' namespaces are gone (%s are left): %w", strings.Join(slices.Sorted(maps.Keys(left)), ", "), err)
	}
	return nil
}

// Namespace is a test's own namespace, made on first use.
func (e *Env) Namespace(ctx context.Context, kube kubernetes.Interface, test string) (string, error) {
	e.mu.Lock()
	ns, ok := e.namespaces[test]
	if !ok {
		if e.namespaces == nil {
			e.namespaces = map[string]*testNamespace{}
		}
		ns = &testNamespace{name: namespaceName(e.RunID, test)}
		e.namespaces[test] = ns
	}
	e.mu.Unlock()
	ns.once.Do(func() { ns.err = e.createNamespace(ctx, kube, ns.name, test) })
	return ns.name, ns.err
}

// Adopt takes over the namespace that somebody else has made, or is about to make, for a test of the run.
func (e *Env) Adopt(test string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.namespaces == nil {
		e.namespaces = map[string]*testNamespace{}
	}
	if e.namespaces[test] == nil {
		ns := &testNamespace{name: namespaceName(e.RunID, test)}
		ns.once.Do(func() {})
		e.namespaces[test] = ns
	}
}

// namespaceOf is the test's namespace, "" if it has none.
func (e *Env) namespaceOf(test string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ns, ok := e.namespaces[test]; ok {
		return ns.name
	}
	return ""
}

func (e *Env) createNamespace(ctx context.Context, kube kubernetes.Interface, name, test string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name,
		Labels: map[string]string{
			objects.ManagedLabel: "true", RunLabel: e.RunID, TestLabel: test,
			// The rules speak of pods with host network and NET_ADMIN, which a stricter default would refuse.
			"pod-security.kubernetes.io/enforce": "privileged",
		},
	}}
	if e.NamespaceOwner != nil {
		ns.OwnerReferences = []metav1.OwnerReference{*e.NamespaceOwner}
	}
	if err := e.Record(namespaceKind, "", name); err != nil {
		return err
	}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// namespaceName is unique per run and test and at most 63 characters long.
func namespaceName(run, test string) string {
	name := "wi-e2e-" + run + "-" + test
	if len(name) > 63 {
		sum := sha256.Sum256([]byte(test))
		name = name[:54] + "-" + hex.EncodeToString(sum[:4])
	}
	return name
}
