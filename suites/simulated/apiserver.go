package simulated

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// APIServer is as much of one as the tiers need: an issuer, admission by the reference webhook's mutation, pods, which the node
// runs, and their controllers.
type APIServer struct {
	// Intercept stands before the API server.
	Intercept func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// Mutation is what the webhook injects, Webhook a fault of it, Registration when it is called.
	Mutation     webhook.Mutation
	Webhook      reference.Fault
	Registration registrationv1.MutatingWebhook
	// Issuer is that of the service accounts. It answers what is nobody else's.
	*issuer.Issuer
	// AskedIssuer is the issuer that the cluster was asked for.
	AskedIssuer string
	// PrivateIssuer keeps the issuer's documents for those who have credentials.
	PrivateIssuer bool
	// Prefix stands before every path, as where a proxy for many API servers is in front.
	Prefix string
	Node   *Node

	server  *httptest.Server
	webhook func() http.Handler // the same one for all pods
	store   *store
	ctx     context.Context // of all that goes on without a request
	stop    context.CancelFunc

	restart time.Duration // how long it is away when its keys change

	background sync.WaitGroup

	mu         sync.Mutex
	namespaces map[string]map[string]string // labels, by name
	accounts   map[string]map[string]string // annotations, by namespace/name
	secrets    map[string]map[string]string // and ConfigMaps, by kind/namespace/name
	running    map[string]*Pod              // and what has run, by namespace/name
}

// self is the image of wi-e2e itself, in which the proxy is too.
var self, _ = suites.SelfImage.ImageName()

// ImageOf is the reference of an image in the world: of a workload, or of wi-e2e itself.
func ImageOf(name string) string { return "teeth.wi-e2e.dev/" + name + ":1" }

// newAPIServer starts a conformant one, to be closed. The issuer of its tokens is its own URL.
func newAPIServer(ctx context.Context, private *rsa.PrivateKey) (*APIServer, error) {
	registration, err := reference.Registration()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wi-e2e-simulated-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the pods' volumes: %w", err)
	}
	s := &APIServer{
		Intercept: func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
		Mutation: webhook.Mutation{
			TenantID: TenantID, AuthorityHost: Authority, Audience: subject.DefaultAudience, ProxyImage: ImageOf(self), NativeSidecar: true,
		},
		Registration: registration,
		store:        newStore(),
		namespaces:   map[string]map[string]string{}, accounts: map[string]map[string]string{}, secrets: map[string]map[string]string{},
		running: map[string]*Pod{},
	}
	s.webhook = sync.OnceValue(s.newWebhook)
	s.Node = newNode(s, dir)
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, version.Info{Major: "1", Minor: "36", GitVersion: "v1.36.3"})
	})
	mux.HandleFunc("POST /api/v1/namespaces", s.createNamespace)
	const (
		core  = "/api/v1/namespaces/{namespace}/"
		batch = "/apis/batch/v1/namespaces/{namespace}/"
	)
	mux.HandleFunc("POST "+core+"secrets", s.createSecret)
	mux.HandleFunc("POST "+core+"configmaps", s.createConfigMap)
	mux.HandleFunc("POST "+core+"serviceaccounts", s.createAccount)
	mux.HandleFunc("PATCH "+core+"serviceaccounts/{name}", s.patchAccount)
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
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.Issuer.ServeHTTP(w, r) })
	next := s.authenticated(mux)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Intercept(w, r, http.StripPrefix(s.Prefix, next)) }))
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // clients that refuse the certificate, on purpose
	s.server.StartTLS()
	s.AskedIssuer = s.server.URL
	s.Issuer = issuer.New(s.server.URL, s.hasAccount, issuer.NewSigningKey(private))
	return s, nil
}

// close returns when all that went on has ended.
func (s *APIServer) close() error {
	s.stop()
	s.server.Close()
	s.background.Wait()
	return os.RemoveAll(s.Node.dir)
}

func (s *APIServer) createNamespace(w http.ResponseWriter, r *http.Request) {
	made := read[corev1.Namespace](r)
	s.mu.Lock()
	s.namespaces[made.Name] = made.Labels
	s.mu.Unlock()
	reply(w, http.StatusCreated, made)
}

func (s *APIServer) namespaceLabels(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namespaces[name]
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

// Forbid has the API server forbid changes and reads below a path of that ending.
func (w *World) Forbid(suffix string) {
	w.API.Intercept = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, suffix) {
			refuse(w, apierrors.NewForbidden(corev1.Resource("objects"), path.Base(r.URL.Path), errors.New("not today")))
			return
		}
		next.ServeHTTP(w, r)
	}
}
