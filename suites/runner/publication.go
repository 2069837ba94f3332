package runner

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/published"
)

// chooseIssuer finds the URL that the cluster is to have for its issuer. In the real Azure the website has to be made for that;
// the emulator's is known before there is a cluster for the emulator to run on.
func (s *stage) chooseIssuer(ctx context.Context) error {
	if s.mode() == realAzure {
		if _, err := s.openAzure(ctx); err != nil {
			return err
		}
		var err error
		if s.azure.site, err = s.azure.made.CreateSite(ctx); err != nil {
			return err
		}
	} else {
		_, environment := s.tenancy()
		cloud, err := s.run.config.Azure.cloud(environment)
		if err != nil {
			return err
		}
		s.azure.site.Issuer = emulated.WebsiteURL(cloud, azure.SiteAccount(s.run.record.Run.ID))
	}
	s.azure.issuer = cluster.Issuer{URL: s.azure.site.Issuer, KeysURL: s.azure.site.KeysURL()}
	s.run.note("issuer: " + s.azure.issuer.URL)
	return nil
}

// publishIssuer publishes the issuer's documents, now and at each change of the cluster's keys.
func (s *stage) publishIssuer(ctx context.Context) error {
	if s.mode() == emulatedAzure {
		site, err := s.azure.made.CreateSite(ctx)
		if err != nil {
			return err
		}
		if site.Issuer != s.azure.issuer.URL {
			return fmt.Errorf("the website of the storage account %s is %s, but the cluster was made with the issuer %s", site.Account, site.Issuer, s.azure.issuer.URL)
		}
		s.azure.site = site
		s.env.RelyingParty = s.azure.emulator.RelyingParty()
	}
	c, err := published.New(ctx, s.cluster, func(ctx context.Context, discovery, keys []byte) error {
		return s.azure.made.Publish(ctx, s.azure.site, azure.IssuerDocuments{Discovery: discovery, Keys: keys})
	})
	if err != nil {
		return err
	}
	s.cluster, s.env.Cluster = c, c
	return nil
}

// onTheInternet is a client that sees what Entra ID sees of an issuer: it trusts the public authorities alone, and takes no
// redirect for an answer.
func onTheInternet() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
