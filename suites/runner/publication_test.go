package runner

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// unknownCluster is one of somebody else.
type unknownCluster struct{ cluster.Cluster }

func (unknownCluster) Issuer() string { return "" }

func TestAnIssuerIsPublicWhereTheRealAzureLooksForIt(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   bool
	}{
		"by default":                               {Config{}, false},
		"in the emulator":                          {Config{Azure: AzureConfig{Mode: emulatedAzure}}, false},
		"where it is published":                    {Config{Cluster: ClusterConfig{PublishIssuer: true}}, true},
		"in the real Azure":                        {Config{Azure: AzureConfig{Mode: realAzure}}, true},
		"in the real Azure, of somebody's cluster": {Config{Cluster: ClusterConfig{Kubeconfig: "x"}, Azure: AzureConfig{Mode: realAzure}}, true},
	} {
		config, want := c.config, c.want
		expected := config.ExpectedFacts().Capabilities
		found := factsOf(config, unknownCluster{}, &subject.Installed{Profile: subject.Latest}, reports.Cluster{}).Capabilities
		for when, capabilities := range map[string][]suites.Capability{"expected": expected, "found": found} {
			if got := slices.Contains(capabilities, suites.PublicIssuer); got != want {
				t.Errorf("%s the %s facts have a public issuer: %t, want %t", name, when, got, want)
			}
		}
	}
}

func TestAClusterIsMadeWithTheIssuerThatIsGoingToBePublished(t *testing.T) {
	for environment, want := range map[string]string{
		"":                       "https://wie2e0badcafe.z13.web.core.windows.net",
		"AzureUSGovernmentCloud": "https://wie2e0badcafe.z13.web.core.usgovcloudapi.net",
	} {
		r := &run{
			config: Config{Cluster: ClusterConfig{PublishIssuer: true}, Subject: SubjectConfig{Environment: environment}}, observer: silent{},
			record: &reports.Record{Run: reports.Run{ID: "0badcafe"}}, current: &reports.Phase{},
		}
		s := &stage{run: r}
		if err := s.chooseIssuer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if wanted := (cluster.Issuer{URL: want, KeysURL: want + "/openid/v1/jwks"}); s.azure.issuer != wanted {
			t.Errorf("in the cloud %q: %+v, want %+v", environment, s.azure.issuer, wanted)
		}
	}
}

func TestTheRealAzureNeedsAClusterWhoseIssuerItFinds(t *testing.T) {
	needsAzure := []suites.Test{{ID: "x", Needs: []suites.Capability{suites.AzureAvailable}}}
	for name, c := range map[string]ClusterConfig{
		"a cluster that was made before": {Name: "dev"},
		"a cluster that is used again":   {Provider: "kind", Reuse: true},
	} {
		s := &stage{run: &run{config: Config{Cluster: c, Azure: AzureConfig{Mode: realAzure}}}}
		if err := s.checkAzure(t.Context(), needsAzure); err == nil || !strings.Contains(err.Error(), "let the run make one") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTheInternetTrustsPublicAuthoritiesOnly(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that goes away
	server.StartTLS()
	defer server.Close()
	_, err := onTheInternet().Get(server.URL)
	if untrusted := (*tls.CertificateVerificationError)(nil); !errors.As(err, &untrusted) {
		t.Errorf("error %v", err)
	}
}

func TestTheInternetTakesNoRedirectForAnAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	defer server.Close()
	response, err := onTheInternet().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusFound {
		t.Errorf("HTTP %d", response.StatusCode)
	}
}
