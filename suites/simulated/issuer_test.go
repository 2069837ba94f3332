package simulated

import (
	"net/http"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
)

func TestOnlyTheIssuersDocumentsNeedNoCredentials(t *testing.T) {
	api, err := newAPIServer(t.Context(), signing())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		private  bool
		path, as string
		want     int
	}{
		{false, issuer.DiscoveryPath, "", http.StatusOK},
		{false, issuer.KeysPath, "", http.StatusOK},
		{false, issuer.KeysPath, administrator, http.StatusOK},
		{false, "/version", "", http.StatusUnauthorized},
		{false, "/version", "somebody", http.StatusUnauthorized},
		{false, "/version", administrator, http.StatusOK},
		{true, issuer.DiscoveryPath, "", http.StatusUnauthorized},
		{true, issuer.KeysPath, "", http.StatusUnauthorized},
		{true, issuer.KeysPath, administrator, http.StatusOK},
	} {
		api.PrivateIssuer = c.private
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.as != "" {
			request.Header.Set("Authorization", "Bearer "+c.as)
		}
		response, err := api.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != c.want {
			t.Errorf("%s with credentials %q is answered with %s, want %d; the issuer is private: %t", c.path, c.as, response.Status, c.want, c.private)
		}
	}
}
