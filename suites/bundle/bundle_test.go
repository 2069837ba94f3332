package bundle

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// The canaries: neither may be in any file.
const (
	secret = "canary-5f0e1d2c3b4a"
	jwt    = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJodHRwczovL2lzc3VlciIsInN1YiI6InMifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
)

var (
	began   = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	service = types.NamespacedName{Namespace: "system", Name: "webhook"}
)

// canaries are a line that a program might log, holding all that must not be kept.
func canaries() string {
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	return "secret=" + secret + " in base64 " + encoded + " token=" + jwt + " cut off " + jwt[:60] + " end\n"
}

// pod has containers of all kinds of states: one that runs, one that crashed before, one that never started.
func pod(namespace, name string) corev1.Pod {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: "TOKEN", Value: canaries()}}}}},
		Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}},
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "app", State: running, RestartCount: 1},
				{Name: "stuck", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
			},
		},
	}
}

// api answers as the API server; broken are paths that it does not answer.
type api struct {
	t      *testing.T
	asked  []string
	broken string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.URL.String())
	if a.broken != "" && strings.Contains(r.URL.Path, a.broken) {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	event := func(name string, at time.Time) corev1.Event {
		return corev1.Event{
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "cart"}, Reason: name, Message: "said " + secret,
			Type: "Warning", LastTimestamp: metav1.NewTime(at),
		}
	}
	answers := map[string]any{
		"/api/v1/namespaces/shop/pods":   corev1.PodList{Items: []corev1.Pod{pod("shop", "cart")}},
		"/api/v1/namespaces/system/pods": corev1.PodList{Items: []corev1.Pod{pod("system", "webhook-0")}},
		"/api/v1/namespaces/shop/events": corev1.EventList{Items: []corev1.Event{event("Later", began.Add(time.Minute)), event("Sooner", began)}},
		"/api/v1/namespaces/system/services/webhook": corev1.Service{
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "webhook"}},
		},
		"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": admissionv1.MutatingWebhookConfigurationList{
			Items: []admissionv1.MutatingWebhookConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "mutation"}}},
		},
	}
	switch answer, ok := answers[r.URL.Path]; {
	case ok:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			a.t.Error(err)
		}
	case strings.HasSuffix(r.URL.Path, "/log"):
		_, _ = w.Write([]byte("log of " + r.URL.Path + " " + r.URL.RawQuery + "\n" + canaries()))
	default:
		http.NotFound(w, r)
	}
}

// source reads from an API server that does not answer the broken path.
func source(t *testing.T, broken string) (Source, *api) {
	a := &api{t: t, broken: broken}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return Source{Kube: kube, Subject: service, Evidence: func(context.Context, uint64) ([]evidence.Entry, error) {
		return []evidence.Entry{
			{Sequence: 1, Time: began.Add(-time.Second), Why: "before the test"},
			{Sequence: 2, Time: began.Add(time.Second), Why: "during the test " + jwt},
		}, nil
	}}, a
}

// files are those below a directory, with what they hold.
func files(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func names(files map[string]string) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// secrets know the secret by what it is: it has not the form of a run's.
func secrets() *redact.Redactor {
	r := &redact.Redactor{}
	r.Add(secret)
	return r
}

func writer(dir string) *Writer {
	return NewWriter(dir, MaxFile, MaxAll, secrets())
}

func TestBundleHasWhatWasAroundTheTest(t *testing.T) {
	from, a := source(t, "")
	dir := t.TempDir()
	if !from.Collect(t.Context(), writer(dir), "a-test", "shop", began) {
		t.Error("nothing was written")
	}
	got := files(t, dir)
	want := []string{
		"a-test/azure.jsonl", "a-test/events.txt", "a-test/pods.yaml",
		"a-test/pods/cart.app.log", "a-test/pods/cart.app.previous.log", "a-test/pods/cart.init.log",
		"a-test/subject.yaml", "a-test/subject/webhook-0.app.log", "a-test/subject/webhook-0.app.previous.log", "a-test/subject/webhook-0.init.log",
		"a-test/webhooks.yaml",
	}
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for name, wanted := range map[string]string{
		"a-test/pods.yaml":                  "kind: Pod",
		"a-test/webhooks.yaml":              "kind: MutatingWebhookConfiguration",
		"a-test/pods/cart.app.previous.log": "previous=true",
		"a-test/subject/webhook-0.app.log":  "sinceTime=2026-11-22T08%3A00%3A00Z",
		"a-test/azure.jsonl":                "during the test",
	} {
		if !strings.Contains(got[name], wanted) {
			t.Errorf("%s has no %q:\n%s", name, wanted, got[name])
		}
	}
	if strings.Contains(got["a-test/azure.jsonl"], "before the test") {
		t.Error("a decision of before the test is among the test's")
	}
	if strings.Contains(got["a-test/pods.yaml"], "managedFields") {
		t.Error("pods.yaml has managedFields")
	}
	if sooner, later := strings.Index(got["a-test/events.txt"], "Sooner"), strings.Index(got["a-test/events.txt"], "Later"); sooner < 0 || later < sooner {
		t.Errorf("the events are not in the order of time:\n%s", got["a-test/events.txt"])
	}
	if !slices.ContainsFunc(a.asked, func(url string) bool { return strings.Contains(url, "/system/pods?labelSelector=app%3Dwebhook") }) {
		t.Errorf("the subject's pods are not those behind its Service: %q", a.asked)
	}
}

func TestNoCanaryIsInABundle(t *testing.T) {
	from, _ := source(t, "")
	dir := t.TempDir()
	from.Collect(t.Context(), writer(dir), "a-test", "shop", began)
	all := files(t, dir)
	if len(all) == 0 {
		t.Fatal("nothing was written")
	}
	seen := 0
	for name, content := range all {
		for _, canary := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), jwt[:40], jwt[40:80], "c2lnbmF0dXJl"} {
			if strings.Contains(content, canary) {
				t.Errorf("%s holds %.20q", name, canary)
			}
		}
		seen += strings.Count(content, "(withheld: ")
	}
	if seen == 0 {
		t.Error("nothing was withheld, so that the canaries were not there to be found")
	}
}

func TestWhatCannotBeReadIsToldAndTheRestKept(t *testing.T) {
	for broken, want := range map[string]string{
		"/shop/pods":                     "the pods of the test's namespace",
		"/events":                        "the events of the test's namespace",
		"/cart/log":                      "read the log of pod cart, container app",
		"/mutatingwebhookconfigurations": "the webhook configurations",
		"/services/webhook":              "the webhook under test",
	} {
		t.Run(want, func(t *testing.T) {
			from, _ := source(t, broken)
			dir := t.TempDir()
			from.Collect(t.Context(), writer(dir), "a-test", "shop", began)
			got := files(t, dir)
			if !strings.Contains(got["a-test/not-read.txt"], want) {
				t.Errorf("not-read.txt has %q, want %q", got["a-test/not-read.txt"], want)
			}
			if len(got) < 5 {
				t.Errorf("of the rest there is only %q", names(got))
			}
		})
	}
}

func TestATestWithoutNamespaceAndAClusterWithoutSubject(t *testing.T) {
	from, _ := source(t, "")
	from.Subject, from.Evidence = types.NamespacedName{}, nil
	dir := t.TempDir()
	from.Collect(t.Context(), writer(dir), "a-test", "", began)
	if got := names(files(t, dir)); !slices.Equal(got, []string{"a-test/webhooks.yaml"}) {
		t.Errorf("the bundle has %q", got)
	}
}

func TestTheEndOfALongFileIsKeptAndTheRestSaid(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(dir, 100, 1000, nil)
	long := strings.Repeat("a line\n", 100) + "the last line\n"
	if _, err := w.Write("x/long.log", []byte(long)); err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)["x/long.log"]
	if first, rest, _ := strings.Cut(got, "\n"); first != "(the first 616 bytes are left out)" || !strings.HasSuffix(rest, "the last line\n") || !strings.HasPrefix(rest, "a line\n") || len(rest) > 100 {
		t.Errorf("kept is %q", got)
	}
}

// A token that is cut in two could not be recognized any more.
func TestRedactionIsBeforeTheCut(t *testing.T) {
	for keep := range len(canaries()) {
		if got := tail(secrets().Bytes([]byte(canaries())), keep); bytes.Contains(got, []byte(jwt[len(jwt)-20:])) || bytes.Contains(got, []byte(secret[len(secret)-8:])) {
			t.Fatalf("of the last %d bytes there is left %q", keep, got)
		}
	}
}

func TestAllBundlesTogetherAreBounded(t *testing.T) {
	from, _ := source(t, "")
	dir := t.TempDir()
	w := NewWriter(dir, MaxFile, 6000, secrets())
	if !from.Collect(t.Context(), w, "first", "shop", began) {
		t.Error("there is no first bundle")
	}
	last := true
	for _, test := range []string{"second", "third", "fourth"} {
		last = from.Collect(t.Context(), w, test, "shop", began)
	}
	size := 0
	for _, content := range files(t, dir) {
		size += len(content)
	}
	if size > 6000 || !w.Full() {
		t.Errorf("the bundles have %d bytes of 6000, and full is %v", size, w.Full())
	}
	if last && len(files(t, filepath.Join(dir, "fourth"))) == 0 {
		t.Error("the fourth bundle is said to be there, and is not")
	}
}

func TestNothingIsMadeWhereNothingIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	NewWriter(dir, MaxFile, MaxAll, nil)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
}
