package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

const (
	// releaseImage and its proxy's are names that no registry has: the images come from archives, or not at all.
	releaseImage = "webhook.invalid/workload-identity/webhook:v1.7.0"
	releaseProxy = "webhook.invalid/workload-identity/proxy:v1.7.0"
	tenant       = "00000000-1111-4222-8333-444444444444"
	// quickly is how soon a webhook that cannot start has to be given up on, on a busy machine too: the
	// kubelet needs about 12 s to show it, and the time limit for slow starts is two minutes.
	quickly = 45 * time.Second
)

// TestSubjectsThatFilesInstall runs a webhook that comes as a manifest and as a chart, with its image in an archive, sound
// and broken. It shares one cluster, so every run also has to leave the cluster fit for the next one.
func TestSubjectsThatFilesInstall(t *testing.T) {
	needRoot(t)
	state, dir := ownState(t), t.TempDir()
	dockerArchive, layoutDir := releaseArchives(t, dir)
	manifest := func(name string, change func(*unstructured.Unstructured)) string {
		path := filepath.Join(dir, name+".yaml")
		write(t, path, stream(t, installation(t, "${AZURE_TENANT_ID}", change)))
		return path
	}

	kubeconfig, remove := createCluster(t, state, "subjects")
	defer remove()
	// run tests the subject that the arguments describe, and expects the exit code.
	run := func(t *testing.T, code int, args ...string) (result, string) {
		t.Helper()
		output := t.TempDir()
		got := wiE2E(t, append([]string{"run", "--cluster", "subjects", "--output", output}, args...)...)
		if got.code != code {
			t.Fatalf("exit code %d, want %d\n%s\n%s", got.code, code, got.stdout, got.stderr)
		}
		t.Logf("%s", got.took.Round(100*time.Millisecond))
		return got, output
	}

	t.Run("a manifest passes, with the tenant of the environment in it", func(t *testing.T) {
		t.Setenv("AZURE_TENANT_ID", tenant)
		_, output := run(t, reports.ExitPass, "--keep",
			"--subject", "manifest", "--manifest", manifest("sound", nil), "--image-archive", dockerArchive,
			"--tier", "admission", "--test", "!unchanged-schema-fields")
		expectReleaseTested(t, load(t, output), "manifest")
		expectTenant(t, kubeconfig)
	})
	t.Run("a proxy with an archive of its own is tested in pods, on top of what the kept run left", func(t *testing.T) {
		t.Setenv("AZURE_TENANT_ID", tenant)
		proxied := manifest("proxied", func(o *unstructured.Unstructured) {
			setContainer(t, o, func(container map[string]any) {
				container["args"] = append(container["args"].([]any), "--proxy-image="+releaseProxy)
			})
		})
		got, output := run(t, reports.ExitPass, "--keep",
			"--subject", "manifest", "--manifest", proxied, "--image-archive", dockerArchive, "--image-archive", proxyArchive(t, dir),
			"--test", "proxy-token-route")
		if record := load(t, output); record.Counts.Cases[reports.Pass] < 5 || record.Counts.Tests[reports.Skip] > 0 {
			t.Errorf("of the proxy was tested: %+v\n%s", record.Counts, got.stdout)
		}
	})
	t.Run("a chart over the kept manifest is refused, and the manifest stays whole", func(t *testing.T) {
		got, output := run(t, reports.ExitEnvironment, "--subject", "helm", "--chart", chartDirectory(t), "--image-archive", dockerArchive)
		expectSubjectBroken(t, got, load(t, output), "an earlier run of wi-e2e left the webhook installed")
		expectTenant(t, kubeconfig)
	})
	t.Run("a violated rule is a failure, on top of what the kept run left", func(t *testing.T) {
		lenient := manifest("lenient", func(o *unstructured.Unstructured) {
			set(t, o, "MutatingWebhookConfiguration", "webhooks", func(webhook map[string]any) {
				webhook["failurePolicy"] = "Ignore"
				webhook["objectSelector"] = map[string]any{"matchExpressions": []any{map[string]any{
					"key": "azure.workload.identity/use", "operator": "Exists",
				}}}
			})
		})
		got, output := run(t, reports.ExitFailed,
			"--subject", "manifest", "--manifest", lenient, "--image-archive", dockerArchive, "--requirement", "SEL-01,SEL-04,ENV-01")
		for _, want := range []string{
			"SEL-01", "SEL-04", "failurePolicy",
			"rerun: wi-e2e run --cluster subjects", "--manifest " + lenient, "--test select-exact-label",
		} {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("the summary does not say %q:\n%s", want, got.stdout)
			}
		}
		if strings.Contains(got.stdout, "ENV-01") {
			t.Errorf("the summary blames ENV-01, which holds:\n%s", got.stdout)
		}
		if want, got := load(t, output).Counts.Cases[reports.Fail], junitFailures(t, output); got != want || got < 2 {
			t.Errorf("junit.xml has %d <failure>, record.json has %d failed cases, want at least one of each rule", got, want)
		}
		expectUninstalled(t, kubeconfig)
	})
	t.Run("a chart directory passes, right after another installation was removed", func(t *testing.T) {
		_, output := run(t, reports.ExitPass, "--keep",
			"--subject", "helm", "--chart", chartDirectory(t), "--set", "azureTenantID="+tenant, "--image-archive", layoutDir,
			"--tier", "admission", "--test", "!unchanged-schema-fields")
		expectReleaseTested(t, load(t, output), "helm")
		expectTenant(t, kubeconfig)
	})
	t.Run("a packaged chart passes, in place of the kept release", func(t *testing.T) {
		values := filepath.Join(dir, "values.yaml")
		write(t, values, "azureTenantID: "+tenant+"\n")
		_, output := run(t, reports.ExitPass,
			"--subject", "helm", "--chart", packagedChart(t), "--chart-version", "1.7.0", "--values", values, "--image-archive", packed(t, layoutDir),
			"--test", "env-tenant-id,env-client-id")
		expectReleaseTested(t, load(t, output), "helm")
		expectUninstalled(t, kubeconfig)
	})
	t.Run("a webhook that crashes is an error with the end of its log", func(t *testing.T) {
		crashing := manifest("crashing", func(o *unstructured.Unstructured) {
			setContainer(t, o, func(container map[string]any) {
				container["args"] = append(container["args"].([]any), "--no-such-flag")
			})
		})
		got, output := run(t, reports.ExitEnvironment, "--subject", "manifest", "--manifest", crashing, "--image-archive", dockerArchive)
		expectSubjectBroken(t, got, load(t, output), "CrashLoopBackOff", "the end of its log", "unknown flag: --no-such-flag")
		if got.took > quickly {
			t.Errorf("it took %s to say so", got.took)
		}
		expectUninstalled(t, kubeconfig)
	})
	t.Run("an image that nothing holds is an error that tells how to give it", func(t *testing.T) {
		missing := manifest("missing", func(o *unstructured.Unstructured) {
			setContainer(t, o, func(container map[string]any) { container["image"] = releaseImage + "-missing" })
		})
		got, output := run(t, reports.ExitEnvironment, "--subject", "manifest", "--manifest", missing, "--image-archive", dockerArchive)
		expectSubjectBroken(t, got, load(t, output), "ImagePullBackOff", releaseImage+"-missing", "--image-archive")
		if got.took > quickly {
			t.Errorf("it took %s to say so", got.took)
		}
		expectUninstalled(t, kubeconfig)
	})
}

// expectReleaseTested expects the record of a run that tested the release as a webhook of that kind.
func expectReleaseTested(t *testing.T, record *reports.Record, kind string) {
	t.Helper()
	got := record.Subject
	if got.Kind != kind || got.Namespace != subject.DefaultNamespace || got.Version != "v1.7.0" || got.Profile != "1.7.0" || got.ProfileBy != "image tag" {
		t.Errorf("the subject is recorded as %+v", got)
	}
	if len(got.Images) != 1 || got.Images[0].Name != releaseImage || !strings.HasPrefix(got.Images[0].Digest, "sha256:") {
		t.Errorf("the images are recorded as %+v", got.Images)
	}
}

// expectTenant expects the tenant that was asked for in the installation's configuration.
func expectTenant(t *testing.T, kubeconfig string) {
	t.Helper()
	config, err := kubeClient(t, kubeconfig).CoreV1().ConfigMaps(subject.DefaultNamespace).Get(t.Context(), subject.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Data["AZURE_TENANT_ID"]; got != tenant {
		t.Errorf("the webhook's tenant is %q, want %q", got, tenant)
	}
}

// expectSubjectBroken expects a run that ended at the subject, and a summary that tells all these reasons.
func expectSubjectBroken(t *testing.T, got result, record *reports.Record, reasons ...string) {
	t.Helper()
	i := slices.IndexFunc(record.Phases, func(p reports.Phase) bool { return p.Name == "subject" })
	if i < 0 || record.Phases[i].Status != reports.Error || len(record.Tests) > 0 {
		t.Fatalf("%d tests ran, the phases are %+v", len(record.Tests), record.Phases)
	}
	for _, reason := range reasons {
		if !strings.Contains(got.stdout, reason) {
			t.Errorf("the summary does not say %q:\n%s", reason, got.stdout)
		}
	}
}

// expectUninstalled expects the cluster to be as it was, up to a namespace that is on its way out.
func expectUninstalled(t *testing.T, kubeconfig string) {
	t.Helper()
	kube := kubeClient(t, kubeconfig)
	ofTheWebhook := metav1.ListOptions{LabelSelector: "azure-workload-identity.io/system=true"}
	configurations, err := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(t.Context(), ofTheWebhook)
	if err != nil || len(configurations.Items) > 0 {
		t.Errorf("%d webhook configurations are left, error %v", len(configurations.Items), err)
	}
	roles, err := kube.RbacV1().ClusterRoles().List(t.Context(), ofTheWebhook)
	if err != nil || len(roles.Items) > 0 {
		t.Errorf("%d cluster roles are left, error %v", len(roles.Items), err)
	}
	ns, err := kube.CoreV1().Namespaces().Get(t.Context(), subject.DefaultNamespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		t.Error(err)
	case ns.DeletionTimestamp == nil:
		t.Errorf("namespace %s is left", ns.Name)
	}
}

// junitFailures counts the test cases with a <failure>.
func junitFailures(t *testing.T, output string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(output, runner.JUnitFile))
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Failures []struct{} `xml:"testsuite>testcase>failure"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	return len(report.Failures)
}

// installation is that of the reference, its image under a name and tag of its own, as somebody else's webhook would
// be; change, if not nil, is made to every object.
func installation(t *testing.T, tenant string, change func(*unstructured.Unstructured)) []*unstructured.Unstructured {
	t.Helper()
	objects, err := reference.Objects(reference.Options{
		Image: releaseImage, TenantID: tenant,
		// On, so that its settings have to be found in the installation.
		CustomTokenEndpoint: webhook.CustomTokenEndpoint{
			AnnotationSuffix: "identity-binding", Audience: "api://Bindings",
			URL: "https://kubernetes.default.svc", SNIName: "bindings.example", CAConfigMap: "kube-root-ca.crt",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		for _, object := range objects {
			change(object)
		}
	}
	return objects
}

// set changes the items of a list in the object, if it is of the kind.
func set(t *testing.T, object *unstructured.Unstructured, kind, list string, change func(item map[string]any)) {
	t.Helper()
	if object.GetKind() != kind {
		return
	}
	path := strings.Split(list, ".")
	items, found, err := unstructured.NestedSlice(object.Object, path...)
	if err != nil || !found {
		t.Fatalf("%s of %s: found %v, error %v", list, kind, found, err)
	}
	for _, item := range items {
		change(item.(map[string]any))
	}
	if err := unstructured.SetNestedSlice(object.Object, items, path...); err != nil {
		t.Fatal(err)
	}
}

func setContainer(t *testing.T, object *unstructured.Unstructured, change func(container map[string]any)) {
	t.Helper()
	set(t, object, "Deployment", "spec.template.spec.containers", change)
}

// stream writes objects as documents of YAML.
func stream(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	var text strings.Builder
	for _, object := range objects {
		document, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "---\n%s", document)
	}
	return text.String()
}

// releaseArchives writes the release's image as docker save does, and as an OCI layout.
func releaseArchives(t *testing.T, dir string) (dockerArchive, layoutDir string) {
	t.Helper()
	image, _, err := images.Self(binary)
	if err != nil {
		t.Fatal(err)
	}
	dockerArchive, layoutDir = filepath.Join(dir, "webhook.tar"), filepath.Join(dir, "webhook")
	if err := images.Save(t.Context(), image, releaseImage, dockerArchive); err != nil {
		t.Fatal(err)
	}
	path, err := layout.Write(layoutDir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": releaseImage})
	if err := path.AppendImage(image, named); err != nil {
		t.Fatal(err)
	}
	return dockerArchive, layoutDir
}

// proxyArchive writes the image of the release's proxy.
func proxyArchive(t *testing.T, dir string) string {
	t.Helper()
	image, _, err := images.Self(binary)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "proxy.tar")
	if err := images.Save(t.Context(), image, releaseProxy, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// chartDirectory writes the installation as a chart. The namespace is not part of it, as in most charts: who installs
// the chart makes it.
func chartDirectory(t *testing.T) string {
	t.Helper()
	chart := filepath.Join(t.TempDir(), "workload-identity-webhook")
	if err := os.MkdirAll(filepath.Join(chart, "templates"), 0o755); err != nil {
		t.Fatal(err)
	}
	objects := slices.DeleteFunc(installation(t, "{{ .Values.azureTenantID }}", nil), func(o *unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
	write(t, filepath.Join(chart, "Chart.yaml"), "apiVersion: v2\nname: workload-identity-webhook\nversion: 1.7.0\n")
	write(t, filepath.Join(chart, "values.yaml"), "azureTenantID:\n")
	write(t, filepath.Join(chart, "templates", "webhook.yaml"), stream(t, objects))
	return chart
}

// packagedChart writes the chart as helm package does.
func packagedChart(t *testing.T) string {
	t.Helper()
	chart := chartDirectory(t)
	path := filepath.Join(t.TempDir(), "workload-identity-webhook-1.7.0.tgz")
	create(t, path, func(w io.Writer) error {
		z := gzip.NewWriter(w)
		return errors.Join(pack(z, filepath.Dir(chart)), z.Close())
	})
	return path
}

// packed is a tar of the directory's content, beside it.
func packed(t *testing.T, dir string) string {
	t.Helper()
	path := dir + "-layout.tar"
	create(t, path, func(w io.Writer) error { return pack(w, dir) })
	return path
}

func pack(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	return errors.Join(archive.AddFS(os.DirFS(dir)), archive.Close())
}

func create(t *testing.T, path string, content func(io.Writer) error) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(content(file), file.Close()); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}
