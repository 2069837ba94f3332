package runner

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
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
	for mode, want := range map[string]bool{"": false, emulatedAzure: false, realAzure: true} {
		config := Config{Azure: AzureConfig{Mode: mode}}
		expected := config.ExpectedFacts().Capabilities
		found := factsOf(config, unknownCluster{}, &subject.Installed{Profile: subject.Latest}, reports.Cluster{}).Capabilities
		for when, capabilities := range map[string][]suites.Capability{"expected": expected, "found": found} {
			if got := slices.Contains(capabilities, suites.PublicIssuer); got != want {
				t.Errorf("with Azure %q the %s facts have a public issuer: %t, want %t", mode, when, got, want)
			}
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
