package simulated

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// APIServer is as much of one as the tiers need: an issuer, admission by the reference webhook's mutation, pods, which the node
// runs, and their controllers.
type APIServer struct {
	// Forbids says whether a request is forbidden.
	Forbids func(r *http.Request) bool
	// Selects says whether the webhook is called for a pod.
	Selects func(pod *corev1.Pod) bool
	// Annotations are an account's as the webhook reads them for a pod.
	Annotations func(pod *corev1.Pod, dryRun bool, account map[string]string) map[string]string
	Mutation    webhook.Mutation
	// Before changes what the webhook is shown of a pod, Mutated a pod that it has mutated.
	Before, Mutated func(pod *corev1.Pod)
	// Listed are the keys of the JWKS, Signs is the one of new tokens.
	Listed func(k Keyring) []SigningKey
	Signs  func(k Keyring) SigningKey
	Node   *Node

	server *httptest.Server
	store  *store
	ctx    context.Context // of all that goes on without a request

	admission  sync.Mutex
	background sync.WaitGroup

	mu       sync.Mutex
	keys     Keyring
	accounts map[string]map[string]string // annotations, by namespace/name
	secrets  map[string]map[string]string // and ConfigMaps, by kind/namespace/name
	running  map[string]*Pod              // and what has run, by namespace/name
}

// self is the image of wi-e2e itself, in which the proxy is too.
var self, _ = suites.SelfImage.ImageName()

// ImageOf is the reference of an image in the world: of a workload, or of wi-e2e itself.
func ImageOf(name string) string { return "teeth.wi-e2e.dev/" + name + ":1" }

// newAPIServer starts a conformant one. The issuer of its tokens is its own URL.
func newAPIServer(t testing.TB, private *rsa.PrivateKey) *APIServer {
	t.Helper()
	first := NewSigningKey(private)
	s := &APIServer{
		Forbids:     func(*http.Request) bool { return false },
		Selects:     func(pod *corev1.Pod) bool { return pod.Labels[suites.UseLabel] == "true" },
		Annotations: func(_ *corev1.Pod, _ bool, account map[string]string) map[string]string { return account },
		Mutation: webhook.Mutation{
			TenantID: TenantID, AuthorityHost: Authority, Audience: subject.DefaultAudience, ProxyImage: ImageOf(self), NativeSidecar: true,
		},
		Before:  func(*corev1.Pod) {},
		Mutated: func(*corev1.Pod) {},
		Listed:  func(k Keyring) []SigningKey { return k.Current },
		Signs:   func(k Keyring) SigningKey { return k.Current[0] },

		store:    newStore(),
		keys:     Keyring{Current: []SigningKey{first}, Ever: []SigningKey{first}},
		accounts: map[string]map[string]string{}, secrets: map[string]map[string]string{}, running: map[string]*Pod{},
	}
	s.Node = newNode(t, s)
	var stop context.CancelFunc
	s.ctx, stop = context.WithCancel(context.WithoutCancel(t.Context()))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, version.Info{Major: "1", Minor: "36", GitVersion: "v1.36.3"})
	})
	mux.HandleFunc("GET /.well-known/openid-configuration", s.serveDiscovery)
	mux.HandleFunc("GET /openid/v1/jwks", s.serveKeys)
	mux.HandleFunc("POST /api/v1/namespaces", s.createNamespace)
	const (
		core  = "/api/v1/namespaces/{namespace}/"
		batch = "/apis/batch/v1/namespaces/{namespace}/"
	)
	mux.HandleFunc("POST "+core+"secrets", s.createSecret)
	mux.HandleFunc("POST "+core+"configmaps", s.createConfigMap)
	mux.HandleFunc("POST "+core+"serviceaccounts", s.createAccount)
	mux.HandleFunc("PATCH "+core+"serviceaccounts/{name}", s.patchAccount)
	mux.HandleFunc("POST "+core+"serviceaccounts/{name}/token", s.createToken)
	mux.HandleFunc("GET "+core+"events", s.store.serve(s.ctx, eventsResource))
	mux.HandleFunc("GET /api/v1/events", s.store.serve(s.ctx, eventsResource))
	mux.HandleFunc("GET /api/v1/pods", s.store.serve(s.ctx, podsResource))
	mux.HandleFunc("POST "+core+"pods", s.createPod)
	mux.HandleFunc("GET "+core+"pods", s.store.serve(s.ctx, podsResource))
	mux.HandleFunc("GET "+core+"pods/{name}", serveObject[*corev1.Pod](s, podsResource))
	mux.HandleFunc("GET "+core+"pods/{name}/log", s.serveLog)
	mux.HandleFunc("DELETE "+core+"pods/{name}", s.deletePod)
	mux.HandleFunc("POST "+batch+"jobs", s.createJob)
	mux.HandleFunc("GET "+batch+"jobs", s.store.serve(s.ctx, jobsResource))
	mux.HandleFunc("GET "+batch+"jobs/{name}", serveObject[*batchv1.Job](s, jobsResource))
	mux.HandleFunc("DELETE "+batch+"jobs/{name}", s.deleteJob)
	mux.HandleFunc("POST "+batch+"cronjobs", s.createCronJob)
	mux.HandleFunc("POST /apis/apps/v1/namespaces/{namespace}/deployments", s.createDeployment)
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Forbids(r) {
			refuse(w, apierrors.NewForbidden(corev1.Resource("objects"), path.Base(r.URL.Path), errors.New("not today")))
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		stop()
		s.server.Close()
		s.background.Wait()
	})
	return s
}

func (s *APIServer) createNamespace(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusCreated, read[corev1.Namespace](r))
}

func (s *APIServer) createSecret(w http.ResponseWriter, r *http.Request) {
	secret := read[corev1.Secret](r)
	content := map[string]string{}
	for name, data := range secret.Data {
		content[name] = string(data)
	}
	maps.Copy(content, secret.StringData)
	s.putFiles("Secret", r.PathValue("namespace"), secret.Name, content)
	reply(w, http.StatusCreated, secret)
}

func (s *APIServer) createConfigMap(w http.ResponseWriter, r *http.Request) {
	made := read[corev1.ConfigMap](r)
	s.putFiles("ConfigMap", r.PathValue("namespace"), made.Name, made.Data)
	reply(w, http.StatusCreated, made)
}

func (s *APIServer) putFiles(kind, namespace, name string, content map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[kind+"/"+namespace+"/"+name] = content
}

func (s *APIServer) files(kind, namespace, name string) (content map[string]string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok = s.secrets[kind+"/"+namespace+"/"+name]
	return content, ok
}

func (s *APIServer) createAccount(w http.ResponseWriter, r *http.Request) {
	account := read[corev1.ServiceAccount](r)
	s.putAccount(r.PathValue("namespace"), account.Name, account.Annotations)
	reply(w, http.StatusCreated, account)
}

// putAccount makes a service account, or sets the annotations of one.
func (s *APIServer) putAccount(namespace, name string, annotations map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[namespace+"/"+name] = annotations
}

func (s *APIServer) account(namespace, name string) (annotations map[string]string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	annotations, ok = s.accounts[namespace+"/"+name]
	return annotations, ok
}

// patchAccount takes the only patch of the tiers: one annotation more, or another value of it.
func (s *APIServer) patchAccount(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	patch := read[corev1.ServiceAccount](r)
	annotations, ok := s.account(namespace, name)
	if !ok {
		refuse(w, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), name))
		return
	}
	merged := map[string]string{}
	maps.Copy(merged, annotations)
	maps.Copy(merged, patch.Annotations)
	s.putAccount(namespace, name, merged)
	patch.Name, patch.Annotations = name, merged
	reply(w, http.StatusOK, patch)
}

func (s *APIServer) createToken(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	request := read[authenticationv1.TokenRequest](r)
	if _, ok := s.account(namespace, name); !ok {
		refuse(w, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), name))
		return
	}
	request.Status.Token = s.sign(s.claims(namespace, name, request.Spec.Audiences[0], ptr.Deref(request.Spec.ExpirationSeconds, 3600)))
	reply(w, http.StatusCreated, request)
}

func serveObject[T stored](s *APIServer, resource string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		object, ok := get[T](s.store, resource, r.PathValue("namespace"), r.PathValue("name"))
		if !ok {
			refuse(w, notFound(resource, r.PathValue("name")))
			return
		}
		reply(w, http.StatusOK, object)
	}
}

func notFound(resource, name string) *apierrors.StatusError {
	return apierrors.NewNotFound(kinds[resource].GroupVersion().WithResource(resource).GroupResource(), name)
}

func read[T any](r *http.Request) T {
	var body T
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		panic(err)
	}
	return body
}

func encoded(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encoded(body)) // the client notices when it breaks off
}

func refuse(w http.ResponseWriter, refusal *apierrors.StatusError) {
	status := refusal.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	reply(w, int(status.Code), status)
}
