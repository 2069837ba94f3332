package simulated

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// World is a cluster with the webhook, and a run's part of an Azure.
type World struct {
	Lab *Lab
	API *APIServer
	Env *suites.Env
	// Network is what pods reach beside Azure.
	Network *Network
	// Azure stands before the emulator, for pods and harness.
	Azure func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// Evidence changes what Azure tells of its decisions.
	Evidence func(entries []evidence.Entry) []evidence.Entry
	// Trusts are what was made of the tests' trusts, in the same order.
	Trusts []Trust
}

// Trust is one of a test: the identity that was made for it, and where its account is.
type Trust struct {
	suites.Trust
	Namespace string
	ClientID  string
}

// NewWorld makes what the runner makes for these tests. It is to be closed.
func NewWorld(ctx context.Context, l *Lab, tests ...suites.Test) (*World, error) {
	api, err := newAPIServer(ctx, l.key)
	if err != nil {
		return nil, err
	}
	w := &World{
		Lab: l, API: api,
		Azure:    func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
		Evidence: func(entries []evidence.Entry) []evidence.Entry { return entries },
	}
	w.Network = newNetwork(api.Node)
	if err := w.furnish(ctx, tests); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close ends all that goes on in it.
func (w *World) Close() error { return w.API.close() }

// furnish makes the run's part of the lab's Azure, and what tests stand on.
func (w *World) furnish(ctx context.Context, tests []suites.Test) error {
	transport := inProcess{http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.Azure(rw, r, w.Lab.Emulator) })}
	w.API.Node.azure = transport
	run := fmt.Sprintf("w%d", w.Lab.worlds.Add(1))
	made, err := w.Lab.newAzure(ctx, run, &http.Client{Transport: transport})
	if err != nil {
		return err
	}
	vault, sum := w.Lab.vault, sha256.Sum256([]byte(SecretValue))
	w.Env = &suites.Env{
		Cluster: simulatedCluster{api: w.API}, RunID: run, UserAgent: "wi-e2e/test", KeepNamespaces: true,
		Subject: &subject.Installed{Audience: subject.DefaultAudience, TenantID: TenantID, AuthorityHost: Authority, Profile: subject.Latest},
		Record:  func(_, _, _ string) error { return nil },
		Images:  map[string]string{self: ImageOf(self)},
		Azure: &suites.Azure{
			Azure: made, TenantID: TenantID, Scope: Scope, Authority: Authority,
			Vault: vault, Secret: SecretName, SecretSHA256: hex.EncodeToString(sum[:]),
			HostAliases: []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{LoginHost, vault.Name + VaultSuffix}}},
			Propagation: suites.Propagation{Budget: 20 * time.Second},
			Trusted:     map[suites.TrustKey]azure.Identity{},
			Evidence: func(_ context.Context, since uint64) ([]evidence.Entry, error) {
				return w.Evidence(w.Lab.evidenceSince(since)), nil
			},
		},
		RelyingParty: w.API.server.Client(),
		IMDS:         w.Network.env(),
	}
	for _, workload := range workloads.All() {
		w.Env.Images[workload.Name] = ImageOf(workload.Name)
	}
	if err := w.Env.Connect(); err != nil {
		return err
	}
	return w.makeTrusts(ctx, tests)
}

// Run executes a test in the world.
func (w *World) Run(ctx context.Context, test suites.Test) reports.Test {
	return suites.Execute(ctx, w.Env, test, reports.Fail, make(chan struct{}, 8))
}

// trust is one of a test before it is made.
type trust struct {
	suites.Trust
	key        suites.TrustKey
	namespace  string
	credential azure.FederatedCredential
}

// asked are the tests' trusts, and the credentials that are wanted for them.
func (w *World) asked(ctx context.Context, tests []suites.Test) (trusts []trust, wanted []azure.Wanted, err error) {
	kube, err := kubernetes.NewForConfig(w.Env.RESTConfig("azure"))
	if err != nil {
		return nil, nil, err
	}
	for _, test := range tests {
		for _, asked := range test.Trust {
			ns, err := w.Env.Namespace(ctx, kube, test.ID)
			if err != nil {
				return nil, nil, err
			}
			c := azure.FederatedCredential{
				Name: test.ID + "-" + asked.Account, Issuer: w.API.Issuer.URL, Audience: subject.DefaultAudience,
				Subject: issuer.Subject(ns, asked.Account),
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
	return trusts, wanted, nil
}

// makeTrusts makes the identities, federated credentials, grants and service accounts that the tests ask for, as the runner does.
func (w *World) makeTrusts(ctx context.Context, tests []suites.Test) error {
	trusts, wanted, err := w.asked(ctx, tests)
	if err != nil {
		return err
	}
	plan := azure.Plan(wanted)
	for _, trust := range trusts {
		if trust.NoCredential {
			plan = append(plan, azure.PlannedIdentity{Name: trust.Identity.Name, Role: trust.Identity.Name})
		}
	}
	if len(trusts) > 0 {
		w.API.restart = restartOfTrusted
	}
	identities := make([]azure.Identity, len(plan))
	group, making := errgroup.WithContext(ctx)
	for i, planned := range plan {
		group.Go(func() (err error) {
			if identities[i], err = w.Env.Azure.CreateIdentity(making, planned.Name); err != nil {
				return err
			}
			for _, c := range planned.Credentials {
				if err := w.Env.Azure.Federate(making, identities[i], c); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(trusts, func(t trust) bool { return t.Identity.Reads && t.Identity.Name == planned.Role }) {
				return w.Lab.made.GrantRole(making, azure.KeyVaultSecretsUser, w.Lab.vault.ResourceID, identities[i].Principal())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, trust := range trusts {
		i := slices.IndexFunc(plan, func(p azure.PlannedIdentity) bool {
			return p.Role == trust.Identity.Name && (trust.NoCredential || slices.Contains(p.Credentials, trust.credential))
		})
		w.Env.Azure.Trusted[trust.key] = identities[i]
		w.Trusts = append(w.Trusts, Trust{trust.Trust, trust.namespace, identities[i].ClientID})
		if _, made := w.API.account(trust.namespace, trust.Account); !made {
			w.API.putAccount(trust.namespace, trust.Account, map[string]string{suites.ClientIDAnnotation: identities[i].ClientID})
		}
	}
	return nil
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
