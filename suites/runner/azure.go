package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/clouds"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/ledger"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites"
)

const (
	// emulatedPropagation is how long the emulator takes to know a new federated credential or grant. The real Azure takes
	// "a few seconds", and up to minutes.
	emulatedPropagation = 3 * time.Second
	// propagationBudget is what a run waits for one credential unless it is told otherwise (EXC-08).
	propagationBudget = 5 * time.Minute
	secretName        = "canary"
	// groupLifetime is longer than any run: a resource group that is older is nobody's.
	groupLifetime = 24 * time.Hour
)

// azureStage is the Azure of a run, while it is being set up.
type azureStage struct {
	credential azcore.TokenCredential // of the real Azure; nil until it was checked
	emulator   *emulated.Emulator
	applier    *objects.Applier // of the emulator
	made       *azure.Azure     // nil until there is a resource group
	options    azure.Options
	// issuer is the cluster's that is published on site; zero if none is.
	issuer cluster.Issuer
	site   azure.Site
	secret string // value of the secret that workloads read
}

// checkAzure finds out, before anything is made, whether the real Azure lets us in and could do its part.
func (s *stage) checkAzure(ctx context.Context, selected []suites.Test) error {
	c := s.run.config
	if c.Azure.Mode != realAzure || !needs(selected, suites.AzureAvailable) {
		return nil
	}
	if !c.usesExisting() && !c.usesAKS() && !c.publishesIssuer() {
		return errors.New("the real Azure fetches the cluster's issuer over the internet, where that of a cluster which was made before is not: " +
			"let the run make one, whose issuer it publishes (without --cluster and --reuse), or name a cluster whose issuer is public (--kubeconfig FILE)")
	}
	cloud, err := c.Azure.cloud("")
	if err != nil {
		return err
	}
	if s.azure.credential == nil {
		s.azure.credential, err = checkedCredential(ctx, cloud)
	}
	return err
}

// checkedCredential is one that the real Azure gives tokens for.
func checkedCredential(ctx context.Context, cloud clouds.Cloud) (*azure.Credential, error) {
	credential, err := azure.NewCredential(cloud, nil)
	if err != nil {
		return nil, err
	}
	return credential, credential.Check(ctx)
}

// ledgerAzure is the place in the ledger of what is made in a cloud.
func ledgerAzure(cloud clouds.Cloud) string { return "azure/" + cloud.Name }

// bringUpAzure makes what the planned tests need of Azure: the emulator if it is that, a vault, and the identities that
// trust the tests' service accounts. The vault gets its secret once the harness may set it, see awaitPropagation.
func (s *stage) bringUpAzure(ctx context.Context, plan *suites.Plan) error {
	options, err := s.openAzure(ctx)
	if err != nil {
		return err
	}
	made := s.azure.made
	if s.azure.secret, err = redact.NewSecret(); err != nil {
		return err
	}
	s.run.secrets.Add(s.azure.secret)
	a := &suites.Azure{
		Azure: made, TenantID: options.TenantID, Scope: options.Cloud.VaultAudience() + "/.default", Authority: options.Cloud.Authority(),
		Secret: secretName, SecretSHA256: hexSHA256(s.azure.secret),
		Propagation: suites.Propagation{Budget: propagationBudget},
	}
	if budget := s.run.config.Azure.PropagationBudget.Duration; budget > 0 {
		a.Propagation.Budget = budget
	}

	trusts, err := s.trusts(ctx, plan)
	if err != nil {
		return err
	}
	var identities map[string]azure.Identity
	// The vault takes its time, and so do identities and a website; neither waits for the other.
	both, together := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		a.Vault, err = made.CreateVault(together)
		return err
	})
	both.Go(func() (err error) {
		identities, err = s.makeIdentities(together, trusts)
		return err
	})
	if s.run.config.publishesIssuer() {
		both.Go(func() error { return s.publishIssuer(together) })
	}
	if err := both.Wait(); err != nil {
		return err
	}
	self, err := a.Self(ctx)
	if err != nil {
		return err
	}
	both, together = errgroup.WithContext(ctx)
	both.Go(func() error { return a.GrantRole(together, azure.KeyVaultSecretsOfficer, a.Vault.ResourceID, self) })
	both.Go(func() error { return grant(together, a, trusts, identities) })
	if err := both.Wait(); err != nil {
		return err
	}
	a.Trusted = map[suites.TrustKey]azure.Identity{}
	for _, t := range trusts.list {
		a.Trust(t.key(), identities[trusts.identityOf(t)])
	}
	if e := s.azure.emulator; e != nil {
		a.HostAliases, a.Evidence, a.ShortenTokens = e.HostAliases(a.Vault.Name), e.Evidence, e.ShortenTokens
	}
	s.env.Azure = a
	s.run.record.Azure = &reports.Azure{Mode: s.mode(), Cloud: options.Cloud.Name, TenantID: options.TenantID, Vault: a.Vault.URL}
	s.run.note(fmt.Sprintf("%s Azure: %d identities with %d federated credentials, vault %s", s.mode(), len(identities), len(trusts.wanted()), a.Vault.URL))
	return s.makeAccounts(ctx, a, trusts)
}

func (s *stage) mode() string {
	if s.run.config.Azure.Mode == realAzure {
		return realAzure
	}
	return emulatedAzure
}

// openAzure makes the resource group for all that follows, unless there is one already.
func (s *stage) openAzure(ctx context.Context) (options azure.Options, err error) {
	if s.azure.made != nil {
		return s.azure.options, nil
	}
	if options, err = s.azureOptions(ctx); err != nil {
		return options, err
	}
	if s.azure.made, err = azure.New(options); err != nil {
		return options, err
	}
	s.azure.options = options
	return options, s.azure.made.CreateGroup(ctx)
}

// tenancy is where the subject gets its tokens: as it says itself once it is installed, and before as it is going to be told.
func (s *stage) tenancy() (tenantID, environment string) {
	if s.installed != nil {
		return s.installed.TenantID, s.installed.Environment
	}
	return s.run.config.Subject.TenantID, s.run.config.Subject.Environment
}

// azureOptions are those of the real Azure, or of the emulator, which is started.
func (s *stage) azureOptions(ctx context.Context) (azure.Options, error) {
	r := s.run
	tenantID, environment := s.tenancy()
	options := azure.Options{
		TenantID: tenantID, Run: r.record.Run.ID, Tags: r.azureTags(), Progress: r.observer.PhaseNote,
		// What is made in an emulator goes with it.
		Record:  func(string, string) error { return nil },
		Removed: func(string, string) error { return nil },
	}
	var err error
	if options.Cloud, err = r.config.Azure.cloud(environment); err != nil {
		return options, err
	}
	if s.mode() == realAzure {
		options.SubscriptionID, options.Location, options.Credential = r.config.Azure.SubscriptionID, r.config.Azure.Location, s.azure.credential
		maps.Copy(options.Tags, r.config.Azure.Tags)
		entry := func(kind, name string) ledger.Entry {
			return ledger.Entry{Kind: kind, Cluster: ledgerAzure(options.Cloud), Name: name}
		}
		options.Record = func(kind, name string) error { return r.ledger.Create(entry(kind, name)) }
		options.Removed = func(kind, name string) error { return r.ledger.Removed(entry(kind, name)) }
		return options, nil
	}
	e, err := s.startEmulator(ctx, options.Cloud)
	if err != nil {
		return options, err
	}
	options.SubscriptionID, options.Credential, options.Transport = e.SubscriptionID(), e.Credential(), e.Transport()
	return options, nil
}

func (s *stage) startEmulator(ctx context.Context, cloud clouds.Cloud) (*emulated.Emulator, error) {
	r := s.run
	clients, err := objects.New(s.cluster, "azure")
	if err != nil {
		return nil, err
	}
	issuer, err := cluster.DiscoverIssuer(ctx, clients.Kube.Discovery().RESTClient())
	if err != nil {
		return nil, err
	}
	image, err := s.provideSelf(ctx)
	if err != nil {
		return nil, err
	}
	s.azure.applier = &objects.Applier{Clients: clients, Record: r.recordCreate, Removed: r.recordRemoved, Progress: r.observer.PhaseNote, Owner: r.record.Run.ID}
	s.azure.emulator, err = emulated.Start(ctx, s.azure.applier, emulated.Options{
		Namespace: emulated.RunNamespace, Image: image, Cloud: cloud, TenantID: s.installed.TenantID,
		Issuer: issuer, Audience: subject.DefaultAudience, Propagation: emulatedPropagation,
	})
	return s.azure.emulator, err
}

// makeIdentities makes the planned identities, each with its federated credentials, and returns them by name.
func (s *stage) makeIdentities(ctx context.Context, trusts *trusts) (map[string]azure.Identity, error) {
	made := make([]azure.Identity, len(trusts.plan))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, planned := range trusts.plan {
		group.Go(func() (err error) {
			if made[i], err = s.azure.made.CreateIdentity(ctx, planned.Name); err != nil {
				return err
			}
			for _, c := range planned.Credentials {
				if err := s.azure.made.Federate(ctx, made[i], c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	identities := map[string]azure.Identity{}
	for i, planned := range trusts.plan {
		identities[planned.Name] = made[i]
	}
	return identities, err
}

// grant gives the reading identities their role on the vault. Until they hold, other tiers can run.
func grant(ctx context.Context, a *suites.Azure, trusts *trusts, identities map[string]azure.Identity) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, planned := range trusts.plan {
		if trusts.reads(planned) {
			group.Go(func() error {
				return a.GrantRole(ctx, azure.KeyVaultSecretsUser, a.Vault.ResourceID, identities[planned.Name].Principal())
			})
		}
	}
	return group.Wait()
}

// makeAccounts makes the tests' service accounts, annotated with the first identity that is to trust them.
func (s *stage) makeAccounts(ctx context.Context, a *suites.Azure, trusts *trusts) error {
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("azure"))
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for _, t := range trusts.list {
		if made[t.namespace+"/"+t.Account] {
			continue
		}
		made[t.namespace+"/"+t.Account] = true
		identity, _ := a.TrustedBy(t.key())
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Name: t.Account, Annotations: map[string]string{suites.ClientIDAnnotation: identity.ClientID},
		}}
		if _, err := kube.CoreV1().ServiceAccounts(t.namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create service account %s/%s: %w", t.namespace, t.Account, err)
		}
	}
	return nil
}

// removeAzure removes what was made in Azure, and the emulator.
func (s *stage) removeAzure(ctx context.Context) error {
	var errs []error
	if s.azure.made != nil {
		errs = append(errs, s.azure.made.Remove(ctx))
	}
	if s.azure.emulator != nil {
		errs = append(errs, s.azure.emulator.Close())
	}
	if s.azure.applier != nil && !s.run.ownCluster {
		errs = append(errs, s.azure.applier.Remove(ctx))
	}
	return errors.Join(errs...)
}

// azureTags tell whoever finds the resource group whose it is.
func (r *run) azureTags() map[string]string {
	started := r.record.Run.Started
	return map[string]string{
		azure.TagCreated: started.Format(time.RFC3339), azure.TagJob: azure.Job, azure.TagBuild: r.record.Run.ID,
		azure.TagShutdown: started.Add(groupLifetime).Format(time.RFC3339),
	}
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// trusts are the federated credentials of all planned tests, and the identities that it takes.
type trusts struct {
	list []plannedTrust
	plan []azure.PlannedIdentity
}

// plannedTrust is a test's trust with the credential that it comes to.
type plannedTrust struct {
	suites.Trust
	test, namespace string
	credential      azure.FederatedCredential
}

func (t plannedTrust) key() suites.TrustKey {
	return suites.TrustKey{Test: t.test, Account: t.Account, Identity: t.Identity.Name}
}

// trusts plans the identities, and makes the namespaces, whose names are in the subjects.
func (s *stage) trusts(ctx context.Context, plan *suites.Plan) (*trusts, error) {
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("azure"))
	if err != nil {
		return nil, err
	}
	issuer, err := cluster.DiscoverIssuer(ctx, kube.Discovery().RESTClient())
	if err != nil {
		return nil, err
	}
	var list []plannedTrust
	for _, p := range plan.Tests {
		if p.Skip != nil || len(p.Test.Trust) == 0 {
			continue
		}
		ns, err := s.env.Namespace(ctx, kube, p.Test.ID)
		if err != nil {
			return nil, err
		}
		for _, trust := range p.Test.Trust {
			credential := azure.FederatedCredential{
				Name: p.Test.ID + "-" + trust.Account, Issuer: issuer,
				Subject: "system:serviceaccount:" + ns + ":" + trust.Account, Audience: s.installed.Audience,
			}
			if trust.Altered != nil {
				credential = trust.Altered(credential)
			}
			list = append(list, plannedTrust{trust, p.Test.ID, ns, credential})
		}
	}
	return planTrusts(list), nil
}

// planTrusts finds the identities that it takes.
func planTrusts(list []plannedTrust) *trusts {
	t := &trusts{list: list}
	t.plan = azure.Plan(t.wanted())
	for _, trust := range list {
		if trust.NoCredential && !slices.ContainsFunc(t.plan, func(p azure.PlannedIdentity) bool { return p.Role == trust.Identity.Name }) {
			t.plan = append(t.plan, azure.PlannedIdentity{Name: trust.Identity.Name, Role: trust.Identity.Name})
		}
	}
	return t
}

func (t *trusts) wanted() []azure.Wanted {
	var wanted []azure.Wanted
	for _, trust := range t.list {
		if !trust.NoCredential {
			wanted = append(wanted, azure.Wanted{Role: trust.Identity.Name, Credential: trust.credential})
		}
	}
	return wanted
}

// identityOf names the planned identity that has the trust's credential.
func (t *trusts) identityOf(trust plannedTrust) string {
	i := slices.IndexFunc(t.plan, func(p azure.PlannedIdentity) bool {
		return p.Role == trust.Identity.Name && (trust.NoCredential || slices.Contains(p.Credentials, trust.credential))
	})
	return t.plan[i].Name
}

// reads says whether the identity may read the vault's secrets.
func (t *trusts) reads(p azure.PlannedIdentity) bool {
	return slices.ContainsFunc(t.list, func(trust plannedTrust) bool { return trust.Identity.Name == p.Role && trust.Identity.Reads })
}

// describeAttempts sums up how often refusals were seen, for people.
func describeAttempts(all []suites.Attempts) string {
	sum := suites.Attempts{Codes: map[string]int{}}
	for _, a := range all {
		sum.Count += a.Count
		sum.Seconds = max(sum.Seconds, a.Seconds)
		for code, n := range a.Codes {
			sum.Codes[code] += n
		}
	}
	return strings.TrimSpace(sum.String())
}
