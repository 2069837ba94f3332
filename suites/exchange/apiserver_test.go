package exchange

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

type object = map[string]any

// apiServer is as much of an API server as the tier needs: an issuer, admission by the reference webhook's mutation, and
// pods, which a node runs to their end while they are created. Its functions are for faults to replace, before any test runs.
type apiServer struct {
	// forbids says whether a request is forbidden.
	forbids func(r *http.Request) bool
	// selects says whether the webhook is called for a pod.
	selects func(pod *corev1.Pod) bool
	// annotations are an account's as the webhook reads them for a pod.
	annotations func(pod *corev1.Pod, dryRun bool, account map[string]string) map[string]string
	mutation    webhook.Mutation
	// before changes what the webhook is shown of a pod, mutated a pod that it has mutated.
	before, mutated func(pod *corev1.Pod)
	// listed are the keys of the JWKS, signs is the one of new tokens.
	listed func(k keyring) []signingKey
	signs  func(k keyring) signingKey

	server *httptest.Server
	node   *node

	admission sync.Mutex

	mu       sync.Mutex
	keys     keyring
	accounts map[string]map[string]string // annotations, by namespace/name
	secrets  map[string]map[string]string // by namespace/name
	pods     map[string]*ranPod           // by namespace/name
}

// ranPod is a pod at its end, with the logs of its containers.
type ranPod struct {
	pod  *corev1.Pod
	logs map[string][]byte
}

// keyring are the signing keys that the API server was given.
type keyring struct {
	// current is the key that signs, followed by those that verify only.
	current []signingKey
	// ever are all keys, the first first.
	ever []signingKey
}

type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

// newSigningKey names the key as a kube-apiserver does.
func newSigningKey(private *rsa.PrivateKey) signingKey {
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	return signingKey{base64.RawURLEncoding.EncodeToString(sum[:]), private}
}

// newAPIServer starts a conformant one. The issuer of its tokens is its own URL.
func newAPIServer(t *testing.T, key *rsa.PrivateKey) *apiServer {
	t.Helper()
	first := newSigningKey(key)
	s := &apiServer{
		forbids:     func(*http.Request) bool { return false },
		selects:     func(pod *corev1.Pod) bool { return pod.Labels[suites.UseLabel] == "true" },
		annotations: func(_ *corev1.Pod, _ bool, account map[string]string) map[string]string { return account },
		mutation:    webhook.Mutation{TenantID: tenantID, AuthorityHost: authority, Audience: subject.DefaultAudience},
		before:      func(*corev1.Pod) {},
		mutated:     func(*corev1.Pod) {},
		listed:      func(k keyring) []signingKey { return k.current },
		signs:       func(k keyring) signingKey { return k.current[0] },
		keys:        keyring{current: []signingKey{first}, ever: []signingKey{first}},
		accounts:    map[string]map[string]string{}, secrets: map[string]map[string]string{}, pods: map[string]*ranPod{},
	}
	s.node = newNode(t, s)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", s.serveDiscovery)
	mux.HandleFunc("GET /openid/v1/jwks", s.serveKeys)
	mux.HandleFunc("POST /api/v1/namespaces", s.createNamespace)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/secrets", s.createSecret)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/serviceaccounts", s.createAccount)
	mux.HandleFunc("PATCH /api/v1/namespaces/{namespace}/serviceaccounts/{name}", s.patchAccount)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", s.createToken)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/pods", s.createPod)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", s.servePods)
	mux.HandleFunc("POST /apis/batch/v1/namespaces/{namespace}/jobs", s.createJob)
	mux.HandleFunc("POST /apis/batch/v1/namespaces/{namespace}/cronjobs", s.createCronJob)
	mux.HandleFunc("POST /apis/apps/v1/namespaces/{namespace}/deployments", s.createDeployment)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}/log", s.serveLog)
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.forbids(r) {
			refuse(w, apierrors.NewForbidden(corev1.Resource("objects"), path.Base(r.URL.Path), errors.New("not today")))
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *apiServer) issuer() string { return s.server.URL }

func (s *apiServer) keyring() keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keyring{slices.Clone(s.keys.current), slices.Clone(s.keys.ever)}
}

func (s *apiServer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, object{
		"issuer": s.issuer(), "jwks_uri": s.server.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (s *apiServer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range s.listed(s.keyring()) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.private.Public(), KeyID: key.id, Algorithm: string(jose.RS256), Use: "sig"})
	}
	reply(w, http.StatusOK, set)
}

// claims are those of a token of an account, as a kube-apiserver makes them.
func (s *apiServer) claims(namespace, account, audience string, seconds int64) object {
	now := time.Now().Unix()
	return object{
		"iss": s.issuer(), "sub": "system:serviceaccount:" + namespace + ":" + account, "aud": []string{audience},
		"iat": now, "nbf": now, "exp": now + seconds, "jti": uuid.NewString(),
		"kubernetes.io": object{"namespace": namespace, "serviceaccount": object{"name": account, "uid": "uid-of-" + account}},
	}
}

// sign makes a token with the key that signs now.
func (s *apiServer) sign(claims object) string {
	key := s.signs(s.keyring())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}}, nil)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(encoded(claims))
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (s *apiServer) createNamespace(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusCreated, read[corev1.Namespace](r))
}

func (s *apiServer) createSecret(w http.ResponseWriter, r *http.Request) {
	secret := read[corev1.Secret](r)
	s.mu.Lock()
	s.secrets[r.PathValue("namespace")+"/"+secret.Name] = secret.StringData
	s.mu.Unlock()
	reply(w, http.StatusCreated, secret)
}

func (s *apiServer) createAccount(w http.ResponseWriter, r *http.Request) {
	account := read[corev1.ServiceAccount](r)
	s.putAccount(r.PathValue("namespace"), account.Name, account.Annotations)
	reply(w, http.StatusCreated, account)
}

// putAccount makes a service account, or sets the annotations of one.
func (s *apiServer) putAccount(namespace, name string, annotations map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[namespace+"/"+name] = annotations
}

func (s *apiServer) account(namespace, name string) (annotations map[string]string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	annotations, ok = s.accounts[namespace+"/"+name]
	return annotations, ok
}

// patchAccount takes the only patch of the tier: one annotation more, or another value of it.
func (s *apiServer) patchAccount(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	patch := read[corev1.ServiceAccount](r)
	if _, ok := s.account(namespace, name); !ok {
		refuse(w, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), name))
		return
	}
	s.putAccount(namespace, name, patch.Annotations)
	patch.Name = name
	reply(w, http.StatusOK, patch)
}

func (s *apiServer) createToken(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	request := read[authenticationv1.TokenRequest](r)
	if _, ok := s.account(namespace, name); !ok {
		refuse(w, apierrors.NewNotFound(corev1.Resource("serviceaccounts"), name))
		return
	}
	request.Status.Token = s.sign(s.claims(namespace, name, request.Spec.Audiences[0], ptr.Deref(request.Spec.ExpirationSeconds, 3600)))
	reply(w, http.StatusCreated, request)
}

func (s *apiServer) createPod(w http.ResponseWriter, r *http.Request) {
	dryRun := r.URL.Query().Has("dryRun")
	pod, err := s.admit(r.PathValue("namespace"), read[corev1.Pod](r), dryRun)
	if err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.UID, pod.ResourceVersion = types.UID(uuid.NewString()), "1"
	if !dryRun {
		s.runPod(r.Context(), pod)
	}
	reply(w, http.StatusCreated, pod)
}

func (s *apiServer) runPod(ctx context.Context, pod *corev1.Pod) {
	ran := s.node.run(ctx, pod)
	ran.pod.ResourceVersion = "2"
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[pod.Namespace+"/"+pod.Name] = ran
}

func (s *apiServer) createJob(w http.ResponseWriter, r *http.Request) {
	job := read[batchv1.Job](r)
	template := job.Spec.Template
	template.Labels = maps.Clone(template.Labels)
	template.Labels[batchv1.JobNameLabel] = job.Name
	s.runTemplate(w, r, job.Name, "Job", template, job)
}

func (s *apiServer) createDeployment(w http.ResponseWriter, r *http.Request) {
	deployment := read[appsv1.Deployment](r)
	s.runTemplate(w, r, deployment.Name, "ReplicaSet", deployment.Spec.Template, deployment)
}

// createCronJob makes no Jobs: it has to be suspended.
func (s *apiServer) createCronJob(w http.ResponseWriter, r *http.Request) {
	cron := read[batchv1.CronJob](r)
	if !ptr.Deref(cron.Spec.Suspend, false) {
		refuse(w, apierrors.NewBadRequest("there is no clock"))
		return
	}
	reply(w, http.StatusCreated, cron)
}

// runTemplate runs the pod that a controller makes of a template, in which it may have a name or not.
func (s *apiServer) runTemplate(w http.ResponseWriter, r *http.Request, owner, kind string, template corev1.PodTemplateSpec, created any) {
	pod := corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.OwnerReferences = owner+"-x", []metav1.OwnerReference{{Kind: kind, Name: owner, Controller: ptr.To(true)}}
	admitted, err := s.admit(r.PathValue("namespace"), pod, false)
	if err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	s.runPod(r.Context(), admitted)
	reply(w, http.StatusCreated, created)
}

// admit has the webhook mutate a pod.
func (s *apiServer) admit(namespace string, pod corev1.Pod, dryRun bool) (*corev1.Pod, error) {
	account, ok := s.account(namespace, pod.Spec.ServiceAccountName)
	if !ok {
		return nil, fmt.Errorf("service account %s/%s does not exist", namespace, pod.Spec.ServiceAccountName)
	}
	pod.Namespace = namespace
	if !s.selects(&pod) {
		return &pod, nil
	}
	s.admission.Lock() // faults may remember pods
	defer s.admission.Unlock()
	raw := encoded(pod)
	shown := pod.DeepCopy()
	s.before(shown)
	parsed, err := webhook.ParsePod(encoded(shown))
	if err != nil {
		return nil, err
	}
	operations, err := s.mutation.Patch(parsed, s.annotations(&pod, dryRun, account))
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded(operations))
	if err != nil {
		return nil, err
	}
	if raw, err = patch.Apply(raw); err != nil {
		return nil, err
	}
	var mutated corev1.Pod
	if err := json.Unmarshal(raw, &mutated); err != nil {
		return nil, err
	}
	s.mutated(&mutated)
	return &mutated, nil
}

// servePods lists pods by a label, or tells how one that is named ended. All have ended when they are there, so that a watch has
// nothing more to tell.
func (s *apiServer) servePods(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	name, byName := strings.CutPrefix(query.Get("fieldSelector"), "metadata.name=")
	switch watching := query.Get("watch") == "true"; {
	case query.Get("sendInitialEvents") == "true":
		refuse(w, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)) // as an older API server
		return
	case err == nil && !selector.Empty() && !watching:
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "2"}}
		for _, pod := range s.podsOf(r.PathValue("namespace"), selector) {
			list.Items = append(list.Items, *pod)
		}
		reply(w, http.StatusOK, list)
		return
	case err == nil && !selector.Empty() && query.Get("resourceVersion") == "2":
	case byName && watching && query.Get("resourceVersion") == "1" && s.pod(r.PathValue("namespace"), name) != nil:
		ended := s.pod(r.PathValue("namespace"), name).pod
		reply(w, http.StatusOK, metav1.WatchEvent{Type: string(watch.Modified), Object: runtime.RawExtension{Object: ended}})
	default:
		refuse(w, apierrors.NewBadRequest("want the watch of a pod from its creation on, or what a label selects"))
		return
	}
	_ = http.NewResponseController(w).Flush() // the client notices when it breaks off
	<-r.Context().Done()
}

func (s *apiServer) podsOf(namespace string, selector labels.Selector) []*corev1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*corev1.Pod
	for _, ran := range s.pods {
		if ran.pod.Namespace == namespace && selector.Matches(labels.Set(ran.pod.Labels)) {
			found = append(found, ran.pod)
		}
	}
	return found
}

func (s *apiServer) serveLog(w http.ResponseWriter, r *http.Request) {
	if ran := s.pod(r.PathValue("namespace"), r.PathValue("name")); ran != nil {
		_, _ = w.Write(ran.logs[r.URL.Query().Get("container")])
		return
	}
	refuse(w, apierrors.NewNotFound(corev1.Resource("pods"), r.PathValue("name")))
}

func (s *apiServer) pod(namespace, name string) *ranPod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[namespace+"/"+name]
}

// fakeCluster is a cluster whose control plane is ours.
type fakeCluster struct {
	cluster.Cluster
	api *apiServer
}

var _ cluster.SigningKeyRotator = fakeCluster{}

func (c fakeCluster) RESTConfig() (*rest.Config, error) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.api.server.Certificate().Raw})
	return &rest.Config{
		Host: c.api.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}, nil
}

func (c fakeCluster) ServiceAccountKey() ([]byte, error) {
	return keyutil.MarshalPrivateKeyToPEM(c.api.keyring().current[0].private)
}

// restart is how long the API server is away when its keys change. A real one takes longer; the emulator, as Entra ID, does
// not ask an issuer for unknown keys twice within a second.
const restart = 1100 * time.Millisecond

func (c fakeCluster) SetServiceAccountKeys(ctx context.Context, signing []byte, verify ...[]byte) error {
	var current []signingKey
	for _, text := range slices.Concat([][]byte{signing}, verify) {
		private, err := keyutil.ParsePrivateKeyPEM(text)
		if err != nil {
			return fmt.Errorf("read a signing key: %w", err)
		}
		key, ok := private.(*rsa.PrivateKey)
		if !ok {
			return errors.New("read a signing key: it is not RSA's")
		}
		current = append(current, newSigningKey(key))
	}
	select {
	case <-time.After(restart):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s := c.api
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range current {
		if !slices.ContainsFunc(s.keys.ever, func(k signingKey) bool { return k.id == key.id }) {
			s.keys.ever = append(s.keys.ever, key)
		}
	}
	s.keys.current = current
	return nil
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
