package main

import (
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
)

// What must be in no log and no report: the secret that the workloads read, and tokens of any kind, with or without their
// signature.
var (
	canary = regexp.MustCompile(`canary-[0-9a-f]{48}`)
	jwt    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}`)
)

// expectNoLeaks searches everything that a run on a kept cluster left: its reports and output, the components' logs, and those of
// all pods.
func expectNoLeaks(t *testing.T, clusterName, output string) {
	t.Helper()
	provider, err := local.New()
	if err != nil {
		t.Fatal(err)
	}
	c, err := provider.Get(t.Context(), clusterName)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ExportLogs(t.Context(), filepath.Join(output, "logs")); err != nil {
		t.Fatal(err)
	}
	removeSampleLogs(t, filepath.Join(output, "logs"))
	kube := kubeClient(t, c.Kubeconfig())
	all, err := kube.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, pod := range all.Items {
		for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			log, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container.Name}).DoRaw(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(output, pod.Namespace+"_"+pod.Name+"_"+container.Name), string(log))
			read += strings.Count(string(log), `"ok":true`)
		}
	}
	if read < 10 {
		t.Errorf("only %d workloads say that they read the secret: there was little to leak", read)
	}
	if emulator := slices.ContainsFunc(all.Items, func(p corev1.Pod) bool { return p.Namespace == emulated.RunNamespace }); !emulator {
		t.Error("the emulator's log is not among those that were searched")
	}
	if found := leaks(t, output); len(found) > 0 {
		t.Errorf("a secret or a token is in: %s", strings.Join(found, ", "))
	}

	// The search finds what is there.
	write(t, filepath.Join(output, "planted"), "x canary-"+strings.Repeat("0a", 24)+" x")
	write(t, filepath.Join(output, "planted-token"), `{"t":"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2ln"}`)
	if found := leaks(t, output); len(found) != 2 {
		t.Errorf("of two planted leaks were found: %q", found)
	}
}

// removeSampleLogs removes what programs of somebody else logged, if the kubelet did not do so yet: to print the secret is what they
// do. Their pods are deleted, and a run's own export withholds it (package runner).
func removeSampleLogs(t *testing.T, dir string) {
	t.Helper()
	for _, w := range workloads.Catalogue() {
		if w.Sample == nil {
			continue
		}
		logs, err := filepath.Glob(filepath.Join(dir, "*", "*-read-secret-"+w.Name+"_*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, log := range logs {
			if err := os.RemoveAll(log); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// leaks are the files below a directory that hold a secret or a token.
func leaks(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if canary.Match(data) || jwt.Match(data) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheEmulatorNextToACluster(t *testing.T) {
	needRoot(t)
	state := ownState(t)
	kubeconfig, remove := createCluster(t, state, "dev")
	defer remove()
	if got := wiE2E(t, "azure", "show", "--cluster", "dev"); got.code != reports.ExitEnvironment || !strings.Contains(got.stderr, "wi-e2e azure up") {
		t.Errorf("show before up: exit code %d, %s", got.code, got.stderr)
	}
	up := wiE2E(t, "azure", "up", "--cluster", "dev", "--federate", "default/my-app")
	if up.code != 0 {
		t.Fatalf("up: %s", up.stderr)
	}
	for _, want := range []string{"default/my-app", "AZURE_CLIENT_ID=", "KEYVAULT_URL=https://", "hostAliases:", "login.microsoftonline.com"} {
		if !strings.Contains(up.stdout, want) {
			t.Errorf("up prints no %s:\n%s", want, up.stdout)
		}
	}
	expectFaultIsSurvived(t, kubeconfig)
	// Another way to the same cluster, and a run in between, which has an emulator of its own.
	run := wiE2E(t, "run", "--cluster", "dev", "--test", "federated-credential-limit", "--output", t.TempDir())
	if run.code != reports.ExitPass {
		t.Errorf("a run beside it: exit code %d\n%s", run.code, run.stdout)
	}
	if show := wiE2E(t, "azure", "show", "--kubeconfig", kubeconfig); show.code != 0 || show.stdout != up.stdout {
		t.Errorf("show: exit code %d, %s\nis not what up printed:\n%s", show.code, show.stdout, up.stdout)
	}
	if down := wiE2E(t, "azure", "down", "--cluster", "dev"); down.code != 0 {
		t.Errorf("down: %s", down.stderr)
	}
	_, err := kubeClient(t, kubeconfig).CoreV1().Namespaces().Get(t.Context(), emulated.DevelopmentNamespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("after down the namespace is there: %v", err)
	}
	if down := wiE2E(t, "azure", "down", "--cluster", "dev"); down.code != 0 {
		t.Errorf("down without an emulator: %s", down.stderr)
	}
}

// expectFaultIsSurvived injects a fault that SDKs have to put up with, and reads in the evidence that they did.
func expectFaultIsSurvived(t *testing.T, kubeconfig string) {
	t.Helper()
	ctx := t.Context()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulated.Find(ctx, config, emulated.DevelopmentNamespace)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	kube := kubeClient(t, kubeconfig)
	d, err := emulated.Show(ctx, kube)
	if err != nil {
		t.Fatal(err)
	}
	accounts := kube.CoreV1().ServiceAccounts("default")
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "my-app"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{subject.DefaultAudience}}}
	token, err := accounts.CreateToken(ctx, "my-app", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ignore := func(string, string) error { return nil }
	a, err := azure.New(azure.Options{
		Cloud: e.Cloud, TenantID: e.TenantID, SubscriptionID: e.SubscriptionID(), Credential: e.Credential(), Transport: e.Transport(),
		Run: "faults", Record: ignore, Removed: ignore,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = e.SetFaults(ctx, emulator.Fault{Service: "entra", Path: "/*/oauth2/v2.0/token", Count: 1, Status: http.StatusTooManyRequests, RetryAfter: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Exchange(ctx, d.ClientID, token.Status.Token, e.Cloud.VaultAudience()+"/.default"); err != nil {
		t.Errorf("with a fault: %v", err)
	}
	entries, err := e.Evidence(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []int
	for _, entry := range entries {
		if entry.Fault != "" || entry.ClientID == d.ClientID {
			statuses = append(statuses, entry.Status)
		}
	}
	if !slices.Equal(statuses, []int{http.StatusTooManyRequests, http.StatusOK}) {
		t.Errorf("answers %v, want a fault, and then a token", statuses)
	}
}

func TestTheRealAzureWithoutCredentialsSaysWhichSourcesWereTried(t *testing.T) {
	needRoot(t)
	state, output := ownState(t), t.TempDir()
	// Without a network nothing can be asked that is not on this machine, such as another's metadata service.
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", binary, "run", "--azure", "real", "--output", output)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AZURE") && !strings.HasPrefix(variable, "ACTIONS_") && !strings.HasPrefix(variable, "SYSTEM_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	got := finish(t, cmd)
	if got.code != reports.ExitEnvironment || got.took > 20*time.Second {
		t.Errorf("exit code %d after %s\n%s", got.code, got.took, got.stderr)
	}
	for _, source := range []string{
		"GitHub Actions", "Azure Pipelines", "EnvironmentCredential", "WorkloadIdentityCredential", "ManagedIdentityCredential", "AzureCLICredential", "az login",
	} {
		if !strings.Contains(got.stdout, source) {
			t.Errorf("%s is not among what was tried:\n%s", source, got.stdout)
		}
	}
	if record := load(t, output); record.Cluster.Provider != "" || len(record.Tests) > 0 {
		t.Errorf("the run went on: %+v", record.Cluster)
	}
	expectNothingLeft(t, state)
}
