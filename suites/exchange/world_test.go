package exchange

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/directory"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

const (
	tenantID        = "11111111-1111-4111-8111-111111111111"
	authority       = "https://login.microsoftonline.com/"
	vaultScope      = "https://vault.azure.net/.default"
	secretName      = "canary"
	secretValue     = "canary-of-the-teeth"
	operatorSubject = "system:serviceaccount:azure:operator"
)

// lab is an Azure for many worlds: the emulator, with a vault and a secret in it.
type lab struct {
	emulator *emulator.Emulator
	operator azcore.TokenCredential
	made     *azure.Azure
	vault    azure.Vault
	// key signs in every world at first, otherKey in none: RSA keys are slow to make.
	key, otherKey *rsa.PrivateKey
	worlds        atomic.Int64

	mu      sync.Mutex
	entries []evidence.Entry
}

// newLab starts an Azure in which new federated credentials take that long until they hold.
func newLab(t *testing.T, propagation time.Duration) *lab {
	t.Helper()
	l := &lab{}
	var err error
	for _, key := range []**rsa.PrivateKey{&l.key, &l.otherKey} {
		*key, err = rsa.GenerateKey(rand.Reader, 2048)
		must(t, err)
	}
	home := newAPIServer(t, l.key)
	l.emulator, err = emulator.New(emulator.Options{
		TenantID: tenantID, Propagation: propagation, Log: l,
		Operator: directory.FederatedCredential{Issuer: home.issuer(), Subject: operatorSubject, Audience: subject.DefaultAudience},
		Issuers:  home.server.Client(), // all servers of httptest have the same certificate
	})
	must(t, err)
	transport := &http.Client{Transport: inProcess{l.emulator}}
	l.operator, err = azidentity.NewClientAssertionCredential(tenantID, emulator.OperatorClientID,
		func(context.Context) (string, error) {
			return home.sign(home.claims("azure", "operator", subject.DefaultAudience, 3600)), nil
		},
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: azcore.ClientOptions{Cloud: clouds.Public.SDK(), Transport: transport}})
	must(t, err)
	l.made = l.newAzure(t, "lab", transport)
	l.vault, err = l.made.CreateVault(t.Context())
	must(t, err)
	self, err := l.made.Self(t.Context())
	must(t, err)
	must(t, l.made.GrantRole(t.Context(), azure.KeyVaultSecretsOfficer, l.vault.ResourceID, self))
	must(t, l.made.SetSecret(t.Context(), l.vault, secretName, secretValue))
	return l
}

// newAzure makes things in a group of its own.
func (l *lab) newAzure(t *testing.T, run string, transport *http.Client) *azure.Azure {
	t.Helper()
	nobody := func(string, string) error { return nil }
	made, err := azure.New(azure.Options{
		Cloud: clouds.Public, TenantID: tenantID, SubscriptionID: emulator.SubscriptionID, Credential: l.operator, Transport: transport,
		Run: run, Record: nobody, Removed: nobody,
	})
	must(t, err)
	must(t, made.CreateGroup(t.Context()))
	return made
}

// Write takes the emulator's log.
func (l *lab) Write(line []byte) (int, error) {
	var entry evidence.Entry
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	return len(line), nil
}

// evidenceSince are the entries after a sequence number.
func (l *lab) evidenceSince(sequence uint64) []evidence.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.entries, func(e evidence.Entry) bool { return e.Sequence > sequence })
	if i < 0 {
		return nil
	}
	return slices.Clone(l.entries[i:])
}

// world is a cluster with the webhook, and a run's part of an Azure. It conforms; faults replace its functions before any
// test runs.
type world struct {
	lab *lab
	api *apiServer
	env *suites.Env
	// azure stands before the emulator, for pods and harness.
	azure func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// evidence changes what Azure tells of its decisions.
	evidence func(entries []evidence.Entry) []evidence.Entry
	// reader is an identity that may read the secret, and the subject that it trusts.
	reader struct{ clientID, namespace, account string }
}

// newWorld makes what the runner makes for tests.
func newWorld(t *testing.T, l *lab, tests ...suites.Test) *world {
	t.Helper()
	w := &world{
		lab: l, api: newAPIServer(t, l.key),
		azure:    func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
		evidence: func(entries []evidence.Entry) []evidence.Entry { return entries },
	}
	transport := inProcess{http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.azure(rw, r, l.emulator) })}
	w.api.node.azure = transport
	run := fmt.Sprintf("w%d", l.worlds.Add(1))
	sum := sha256.Sum256([]byte(secretValue))
	w.env = &suites.Env{
		Cluster: fakeCluster{api: w.api}, RunID: run, UserAgent: "wi-e2e/test", KeepNamespaces: true,
		Subject: &subject.Installed{Audience: subject.DefaultAudience, TenantID: tenantID, AuthorityHost: authority, Profile: subject.Latest},
		Record:  func(_, _, _ string) error { return nil },
		Images:  map[string]string{selfImage: imageOf(selfImage)},
		Azure: &suites.Azure{
			Azure: l.newAzure(t, run, &http.Client{Transport: transport}), TenantID: tenantID, Scope: vaultScope, Authority: authority,
			Vault: l.vault, Secret: secretName, SecretSHA256: hex.EncodeToString(sum[:]),
			HostAliases: []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{login, l.vault.Name + vaults}}},
			Propagation: suites.Propagation{Budget: 20 * time.Second},
			Trusted:     map[suites.TrustKey]azure.Identity{},
		},
	}
	w.env.Azure.Evidence = func(_ context.Context, since uint64) ([]evidence.Entry, error) {
		return w.evidence(l.evidenceSince(since)), nil
	}
	for _, workload := range workloads.Catalogue() {
		w.env.Images[workload.Name] = imageOf(workload.Name)
	}
	must(t, w.env.Connect())
	w.makeTrusts(t, tests)
	return w
}

// makeTrusts makes the identities, federated credentials, grants and service accounts that the tests ask for, as the runner does.
func (w *world) makeTrusts(t *testing.T, tests []suites.Test) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(w.env.RESTConfig("azure"))
	must(t, err)
	type trust struct {
		suites.Trust
		key        suites.TrustKey
		namespace  string
		credential azure.FederatedCredential
	}
	var trusts []trust
	var wanted []azure.Wanted
	for _, test := range tests {
		for _, asked := range test.Trust {
			ns, err := w.env.Namespace(t.Context(), kube, test.ID)
			must(t, err)
			c := azure.FederatedCredential{
				Name: test.ID + "-" + asked.Account, Issuer: w.api.issuer(), Audience: subject.DefaultAudience,
				Subject: "system:serviceaccount:" + ns + ":" + asked.Account,
			}
			if asked.Altered != nil {
				c = asked.Altered(c)
			}
			trusts = append(trusts, trust{asked, suites.TrustKey{Test: test.ID, Account: asked.Account, Identity: asked.Identity.Name}, ns, c})
			if !asked.NoCredential {
				wanted = append(wanted, azure.Wanted{Role: asked.Identity.Name, Credential: c})
			}
		}
	}
	plan := azure.Plan(wanted)
	for _, trust := range trusts {
		if trust.NoCredential {
			plan = append(plan, azure.PlannedIdentity{Name: trust.Identity.Name, Role: trust.Identity.Name})
		}
	}
	identities := make([]azure.Identity, len(plan))
	group, ctx := errgroup.WithContext(t.Context())
	for i, planned := range plan {
		group.Go(func() (err error) {
			if identities[i], err = w.env.Azure.CreateIdentity(ctx, planned.Name); err != nil {
				return err
			}
			for _, c := range planned.Credentials {
				if err := w.env.Azure.Federate(ctx, identities[i], c); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(trusts, func(t trust) bool { return t.Identity.Reads && t.Identity.Name == planned.Role }) {
				return w.lab.made.GrantRole(ctx, azure.KeyVaultSecretsUser, w.lab.vault.ResourceID, identities[i].Principal())
			}
			return nil
		})
	}
	must(t, group.Wait())
	for _, trust := range trusts {
		i := slices.IndexFunc(plan, func(p azure.PlannedIdentity) bool {
			return p.Role == trust.Identity.Name && (trust.NoCredential || slices.Contains(p.Credentials, trust.credential))
		})
		clientID := identities[i].ClientID
		w.env.Azure.Trusted[trust.key] = identities[i]
		if _, made := w.api.account(trust.namespace, trust.Account); !made {
			w.api.putAccount(trust.namespace, trust.Account, map[string]string{suites.ClientIDAnnotation: clientID})
		}
		if trust.Identity == reader {
			w.reader.clientID, w.reader.namespace, w.reader.account = clientID, trust.namespace, trust.Account
		}
	}
}

// run executes a test in the world.
func (w *world) run(t *testing.T, test suites.Test) reports.Test {
	t.Helper()
	return suites.Execute(t.Context(), w.env, test, reports.Fail, make(chan struct{}, 8))
}

// ask puts a request to the emulator itself.
func (w *world) ask(ctx context.Context, method, address string, form url.Values) *answer {
	r := httptest.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	recorder := httptest.NewRecorder()
	w.lab.emulator.ServeHTTP(recorder, r)
	return &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

// inProcess is a transport to a handler of this process.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (response *http.Response, err error) {
	served := r.Clone(r.Context())
	served.Host, served.RequestURI = r.URL.Host, r.URL.RequestURI()
	served.Body = http.NoBody
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		served.Body = io.NopCloser(bytes.NewReader(body))
	}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler: // which net/http takes for a wish to hang up
			response, err = nil, io.ErrUnexpectedEOF
		default:
			panic(p)
		}
	}()
	recorder := httptest.NewRecorder()
	p.ServeHTTP(recorder, served)
	response = recorder.Result()
	response.Request = r
	return response, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
