package runner

import (
	"context"

	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/incluster"
)

// standOn connects to what another process has prepared, and takes it for the run's: the emulator with all that was made in it, and
// the metadata service.
func (s *stage) standOn(ctx context.Context, a *incluster.Assignment, config *rest.Config) (err error) {
	if a.IMDS != nil {
		if s.imds, err = imds.Connect(ctx, config, imds.Namespace, a.IMDS); err != nil {
			return err
		}
		s.env.IMDS = &suites.IMDS{Evidence: s.imds.Evidence, Pause: s.imds.Pause}
	}
	of := a.Azure
	if of == nil {
		return nil
	}
	e, err := emulated.Find(ctx, config, of.Emulator)
	if err != nil {
		return err
	}
	s.azure.emulator = e
	nothing := func(string, string) error { return nil } // what is made in an emulator goes with it
	s.azure.options = azure.Options{
		Cloud: e.Cloud, TenantID: e.TenantID, SubscriptionID: e.SubscriptionID(), Credential: e.Credential(), Transport: e.Transport(),
		Run: a.Run.ID, Record: nothing, Removed: nothing,
	}
	if s.azure.made, err = azure.New(s.azure.options); err != nil {
		return err
	}
	s.env.Azure = &suites.Azure{
		Azure: s.azure.made, TenantID: e.TenantID, Scope: e.Cloud.VaultAudience() + "/.default", Authority: e.Cloud.Authority(),
		Vault: of.Vault, Secret: of.Secret, SecretSHA256: of.SecretSHA256, Propagation: suites.Propagation{Budget: of.Budget},
		HostAliases: e.HostAliases(of.Vault.Name), Evidence: e.Evidence, Trusted: map[suites.TrustKey]azure.Identity{},
	}
	for _, t := range of.Trusted {
		s.env.Azure.Trust(t.Trust, t.Identity)
		s.env.Adopt(t.Trust.Test) // which it was made for, with its accounts
	}
	if of.PublishedIssuer {
		s.env.RelyingParty = e.RelyingParty()
	}
	return nil
}
