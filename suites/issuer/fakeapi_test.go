package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

type object = map[string]any

const (
	administrator = "administrator" // the harness' credentials
	discoveryPath = "/.well-known/openid-configuration"
	jwksPath      = "/openid/v1/jwks"
)

// fakeAPI is as much of an API server as the tier needs, with a conformant issuer. Its fields are for faults to
// replace, before the first request.
type fakeAPI struct {
	// issuer is the iss of tokens; the documents are served below its path.
	issuer string
	// asked is the issuer that the cluster was asked for.
	asked   string
	jwksURI string
	// private keeps the documents for those who have credentials. Else they are for those who send none, as Entra ID.
	private bool
	// prefix stands before every path, as where a proxy for many API servers is in front.
	prefix string
	// minimum is the shortest lifetime that is granted, in seconds.
	minimum int64

	document func(d object)
	jwks     func(keys []object) []object
	claims   func(c object)
	// tooShort answers a request for a lifetime below the minimum, if it is set.
	tooShort func(w http.ResponseWriter)
	// anyAccount grants tokens of accounts that do not exist.
	anyAccount bool

	// signs is the key of new tokens, listed are the keys of the JWKS, trusted those whose tokens are accepted.
	signs           func(k keyring) signingKey
	listed, trusted func(k keyring) []signingKey
	// rotate says why the nth change of keys fails, from 1; 0 is to read the key that signs.
	rotate func(n int) error

	// intercept answers a request in place of all the rest, or says that it has not.
	intercept func(w http.ResponseWriter, r *http.Request) bool

	server *httptest.Server

	mu       sync.Mutex
	keys     keyring
	accounts []string // namespace/name
}

// keyring are the keys that the API server was given.
type keyring struct {
	// current is the key that signs, followed by those that verify only.
	current []signingKey
	// ever are all keys, the first first.
	ever    []signingKey
	changes int
}

type signingKey struct {
	kid     string
	alg     jose.SignatureAlgorithm
	private crypto.Signer
}

// newSigningKey names the key as a kube-apiserver does.
func newSigningKey(private crypto.Signer) signingKey {
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	key := signingKey{kid: base64.RawURLEncoding.EncodeToString(sum[:]), alg: jose.RS256, private: private}
	if _, ok := private.(*ecdsa.PrivateKey); ok {
		key.alg = jose.ES256
	}
	return key
}

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: string(k.alg), Use: "sig"}
}

// RSA keys are slow to make. firstKey is the one that signs at first, otherKey one that no API server was given.
var (
	firstKey = sync.OnceValue(newRSAKey)
	otherKey = sync.OnceValue(newRSAKey)
)

func newRSAKey() signingKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return newSigningKey(private)
}

func newECKey() signingKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return newSigningKey(private)
}

// newFakeAPI starts an API server with that fault. Its issuer has a path with an upper-case letter, for faults that
// differ from it by case.
func newFakeAPI(t *testing.T, fault func(*fakeAPI)) *fakeAPI {
	t.Helper()
	f := &fakeAPI{
		minimum:   600,
		document:  func(object) {},
		jwks:      func(keys []object) []object { return keys },
		claims:    func(object) {},
		signs:     func(k keyring) signingKey { return k.current[0] },
		listed:    func(k keyring) []signingKey { return k.current },
		trusted:   func(k keyring) []signingKey { return k.current },
		rotate:    func(int) error { return nil },
		intercept: func(http.ResponseWriter, *http.Request) bool { return false },
		keys:      keyring{current: []signingKey{firstKey()}, ever: []signingKey{firstKey()}},
	}
	f.server = httptest.NewUnstartedServer(f)
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse the certificate, on purpose
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.issuer = f.server.URL + "/Cluster"
	f.jwksURI = f.server.URL + jwksPath
	fault(f)
	if f.asked == "" {
		f.asked = f.issuer
	}
	return f
}

func (f *fakeAPI) keyring() keyring {
	f.mu.Lock()
	defer f.mu.Unlock()
	return keyring{slices.Clone(f.keys.current), slices.Clone(f.keys.ever), f.keys.changes}
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.intercept(w, r) {
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, f.prefix)
	if !ok {
		http.NotFound(w, r)
		return
	}
	issuer, err := url.Parse(f.issuer)
	if err != nil {
		panic(err)
	}
	authenticated := r.Header.Get("Authorization") == "Bearer "+administrator
	segments := strings.Split(strings.TrimPrefix(path, "/api/v1/namespaces"), "/")
	switch {
	case r.Method == http.MethodGet && (path == strings.TrimSuffix(issuer.Path, "/")+discoveryPath || path == jwksPath):
		if authenticated != f.private {
			refuse(w, apierrors.NewUnauthorized("Unauthorized"))
			return
		}
		if path == jwksPath {
			w.Header().Set("Content-Type", "application/jwk-set+json")
			encode(w, object{"keys": f.jwks(f.keySet())})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		encode(w, f.discovery())
	case !authenticated:
		refuse(w, apierrors.NewUnauthorized("Unauthorized"))
	case r.Method != http.MethodPost:
		http.NotFound(w, r)
	case path == "/api/v1/namespaces":
		created(w, read[object](r))
	case path == "/apis/authentication.k8s.io/v1/tokenreviews":
		review := read[authenticationv1.TokenReview](r)
		review.Status = f.review(review.Spec)
		created(w, review)
	case len(segments) == 3 && segments[2] == "serviceaccounts":
		account := read[metav1.PartialObjectMetadata](r)
		f.mu.Lock()
		f.accounts = append(f.accounts, segments[1]+"/"+account.Name)
		f.mu.Unlock()
		created(w, account)
	case len(segments) == 5 && segments[2] == "serviceaccounts" && segments[4] == "token":
		request := read[authenticationv1.TokenRequest](r)
		if f.tooShort != nil && *request.Spec.ExpirationSeconds < f.minimum {
			f.tooShort(w)
			return
		}
		if refusal := f.grant(segments[1], segments[3], &request); refusal != nil {
			refuse(w, refusal)
			return
		}
		created(w, request)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeAPI) discovery() object {
	algorithms := []any{}
	for _, key := range f.listed(f.keyring()) {
		if !slices.Contains(algorithms, any(key.alg)) {
			algorithms = append(algorithms, key.alg)
		}
	}
	d := object{
		"issuer": f.issuer, "jwks_uri": f.jwksURI, "response_types_supported": []any{"id_token"},
		"subject_types_supported": []any{"public"}, "id_token_signing_alg_values_supported": algorithms,
	}
	f.document(d)
	return d
}

func (f *fakeAPI) keySet() []object {
	keys := []object{}
	for _, key := range f.listed(f.keyring()) {
		keys = append(keys, members(key.public()))
	}
	return keys
}

// members are the members of a JWK.
func members(key jose.JSONWebKey) object {
	raw, err := key.MarshalJSON()
	if err != nil {
		panic(err)
	}
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		panic(err)
	}
	return o
}

// grant completes a request with a token, or says why not, in the order and the words of a kube-apiserver.
func (f *fakeAPI) grant(ns, account string, request *authenticationv1.TokenRequest) *apierrors.StatusError {
	f.mu.Lock()
	known := slices.Contains(f.accounts, ns+"/"+account)
	f.mu.Unlock()
	if !known && !f.anyAccount {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, account)
	}
	seconds := *request.Spec.ExpirationSeconds
	if seconds < f.minimum {
		return apierrors.NewInvalid(schema.GroupKind{Group: "authentication.k8s.io", Kind: "TokenRequest"}, "", field.ErrorList{
			field.Invalid(field.NewPath("spec", "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"),
		})
	}
	now := time.Now().Unix()
	claims := object{
		"iss": f.issuer, "sub": "system:serviceaccount:" + ns + ":" + account, "aud": request.Spec.Audiences,
		"exp": now + seconds, "iat": now, "nbf": now,
		"kubernetes.io": object{"namespace": ns, "serviceaccount": object{"name": account, "uid": "1"}},
	}
	f.claims(claims)
	key := f.signs(f.keyring())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.alg, Key: jose.JSONWebKey{Key: key.private, KeyID: key.kid}}, nil)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	if request.Status.Token, err = signed.CompactSerialize(); err != nil {
		panic(err)
	}
	return nil
}

func (f *fakeAPI) review(spec authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
	signed, err := jose.ParseSignedCompact(spec.Token, signatures)
	if err != nil {
		return authenticationv1.TokenReviewStatus{Error: err.Error()}
	}
	for _, key := range f.trusted(f.keyring()) {
		if _, err := signed.Verify(key.private.Public()); err == nil {
			return authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: spec.Audiences}
		}
	}
	return authenticationv1.TokenReviewStatus{Error: "invalid bearer token"}
}

func read[T any](r *http.Request) T {
	var body T
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		panic(err)
	}
	return body
}

func encode(w http.ResponseWriter, body any) {
	_ = json.NewEncoder(w).Encode(body) // the client notices when it breaks off
}

func created(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	encode(w, body)
}

func refuse(w http.ResponseWriter, refusal *apierrors.StatusError) {
	status := refusal.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	encode(w, status)
}

// env is what tests on this API server stand on.
func (f *fakeAPI) env(t *testing.T) *suites.Env {
	t.Helper()
	env := &suites.Env{
		Cluster: fakeCluster{api: f}, Subject: &subject.Installed{Audience: subject.DefaultAudience}, RunID: "run",
		Record: func(_, _, _ string) error { return nil }, KeepNamespaces: true,
	}
	if err := env.Connect(); err != nil {
		t.Fatal(err)
	}
	return env
}

// fakeCluster is a cluster whose control plane is ours, with nothing but an API server.
type fakeCluster struct {
	cluster.Cluster
	api *fakeAPI
}

var _ cluster.SigningKeyRotator = fakeCluster{}

func (c fakeCluster) Issuer() string { return c.api.asked }

func (c fakeCluster) RESTConfig() (*rest.Config, error) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.api.server.Certificate().Raw})
	return &rest.Config{
		Host: c.api.server.URL + c.api.prefix, BearerToken: administrator, TLSClientConfig: rest.TLSClientConfig{CAData: ca}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	}, nil
}

func (c fakeCluster) ServiceAccountKey() ([]byte, error) {
	if err := c.api.rotate(0); err != nil {
		return nil, err
	}
	return keyutil.MarshalPrivateKeyToPEM(c.api.keyring().current[0].private)
}

func (c fakeCluster) SetServiceAccountKeys(_ context.Context, signing []byte, verify ...[]byte) error {
	var current []signingKey
	for _, text := range slices.Concat([][]byte{signing}, verify) {
		private, err := keyutil.ParsePrivateKeyPEM(text)
		if err != nil {
			return fmt.Errorf("read a signing key: %w", err)
		}
		current = append(current, newSigningKey(private.(crypto.Signer)))
	}
	f := c.api
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys.changes++
	if err := f.rotate(f.keys.changes); err != nil {
		return err
	}
	for _, key := range current {
		if !slices.ContainsFunc(f.keys.ever, func(k signingKey) bool { return k.kid == key.kid }) {
			f.keys.ever = append(f.keys.ever, key)
		}
	}
	f.keys.current = current
	return nil
}
