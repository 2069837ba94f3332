package simulated

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
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

// NewWorld makes what the runner makes for these tests.
func NewWorld(t testing.TB, l *Lab, tests ...suites.Test) *World {
	t.Helper()
	w := &World{
		Lab: l, API: newAPIServer(t, l.key),
		Azure:    func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
		Evidence: func(entries []evidence.Entry) []evidence.Entry { return entries },
	}
	transport := inProcess{http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.Azure(rw, r, l.Emulator) })}
	w.API.Node.azure = transport
	run := fmt.Sprintf("w%d", l.worlds.Add(1))
	sum := sha256.Sum256([]byte(SecretValue))
	w.Env = &suites.Env{
		Cluster: simulatedCluster{api: w.API}, RunID: run, UserAgent: "wi-e2e/test", KeepNamespaces: true,
		Subject: &subject.Installed{Audience: subject.DefaultAudience, TenantID: TenantID, AuthorityHost: Authority, Profile: subject.Latest},
		Record:  func(_, _, _ string) error { return nil },
		Images:  map[string]string{self: ImageOf(self)},
		Azure: &suites.Azure{
			Azure: l.newAzure(t, run, &http.Client{Transport: transport}), TenantID: TenantID, Scope: Scope, Authority: Authority,
			Vault: l.vault, Secret: SecretName, SecretSHA256: hex.EncodeToString(sum[:]),
			HostAliases: []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{LoginHost, l.vault.Name + VaultSuffix}}},
			Propagation: suites.Propagation{Budget: 20 * time.Second},
			Trusted:     map[suites.TrustKey]azure.Identity{},
		},
	}
	w.Env.Azure.Evidence = func(_ context.Context, since uint64) ([]evidence.Entry, error) {
		return w.Evidence(l.evidenceSince(since)), nil
	}
	for _, workload := range workloads.Catalogue() {
		w.Env.Images[workload.Name] = ImageOf(workload.Name)
	}
	must(t, w.Env.Connect())
	w.makeTrusts(t, tests)
	return w
}

// Run executes a test in the world.
func (w *World) Run(t testing.TB, test suites.Test) reports.Test {
	t.Helper()
	return suites.Execute(t.Context(), w.Env, test, reports.Fail, make(chan struct{}, 8))
}

// makeTrusts makes the identities, federated credentials, grants and service accounts that the tests ask for, as the runner does.
func (w *World) makeTrusts(t testing.TB, tests []suites.Test) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(w.Env.RESTConfig("azure"))
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
			ns, err := w.Env.Namespace(t.Context(), kube, test.ID)
			must(t, err)
			c := azure.FederatedCredential{
				Name: test.ID + "-" + asked.Account, Issuer: w.API.issuer(), Audience: subject.DefaultAudience,
				Subject: subjectOf(ns, asked.Account),
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
			if identities[i], err = w.Env.Azure.CreateIdentity(ctx, planned.Name); err != nil {
				return err
			}
			for _, c := range planned.Credentials {
				if err := w.Env.Azure.Federate(ctx, identities[i], c); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(trusts, func(t trust) bool { return t.Identity.Reads && t.Identity.Name == planned.Role }) {
				return w.Lab.made.GrantRole(ctx, azure.KeyVaultSecretsUser, w.Lab.vault.ResourceID, identities[i].Principal())
			}
			return nil
		})
	}
	must(t, group.Wait())
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

// Findings are the messages of that status, of every status if it is "", each with the case that it is of.
func Findings(result reports.Test, status reports.Status) string {
	var text []string
	all := slices.Clone(result.Findings)
	for _, c := range result.Cases {
		for _, f := range c.Findings {
			f.Message = c.Name + ": " + f.Message
			all = append(all, f)
		}
	}
	for _, f := range all {
		if status == "" || f.Status == status {
			text = append(text, strings.TrimSpace(f.Message+"\n"+f.Diff))
		}
	}
	return strings.Join(text, "\n")
}
