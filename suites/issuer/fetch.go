package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/suites"
)

// relyingParty fetches the issuer's documents as Entra ID does: by their URLs and without credentials.
type relyingParty struct {
	// anonymous is the run's relying party on the internet, if the issuer is public; else one that is beside the cluster, and
	// trusts its authority.
	anonymous policy.Transporter
	// inside is for issuers whose name exists in the cluster only (https://kubernetes.default.svc): it
	// asks the API server, with the harness' credentials, for the very path.
	inside *http.Client
	server *url.URL
}

func newRelyingParty(t *suites.T) *relyingParty {
	config := t.REST()
	server, _, err := rest.DefaultServerUrlFor(config)
	t.Must(err, "read the API server's URL")
	roots, err := x509.SystemCertPool()
	t.Must(err, "load the system's certificate authorities")
	t.Must(rest.LoadTLSFiles(config), "load the cluster's certificate authority")
	roots.AppendCertsFromPEM(config.CAData)
	proxy := config.Proxy // a local cluster is reached without one
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	inside, err := rest.HTTPClientFor(config)
	t.Must(err, "make a client for the API server")
	party := &relyingParty{
		anonymous: &http.Client{
			Timeout: 10 * time.Second,
			Transport: &http.Transport{
				Proxy:           proxy,
				TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			},
		},
		inside: inside,
		server: server,
	}
	if public := t.Env().RelyingParty; public != nil {
		party.anonymous = public
	}
	return party
}

// inCluster says whether the host's name means nothing outside the cluster.
func inCluster(host string) bool {
	name := strings.TrimSuffix(host, ".")
	return net.ParseIP(name) == nil && (strings.HasSuffix(name, ".svc") || strings.HasSuffix(name, ".cluster.local"))
}

// get fetches a document. If its issuer exists in the cluster only, an address is the API server's as well: jwks_uri has the
// one that it advertises, unless it is told otherwise.
func (r *relyingParty) get(ctx context.Context, t *suites.T, document string, issuerInCluster bool) (status int, contentType string, body []byte) {
	u, err := url.Parse(document)
	t.Require(err == nil && u.Scheme == "https" && u.Host != "", "%q is not an https URL", document)
	client := r.anonymous
	if inCluster(u.Hostname()) || issuerInCluster && (net.ParseIP(u.Hostname()) != nil || u.Host == r.server.Host) {
		client = r.inside
		u = r.server.JoinPath(u.Path) // which has a path of its own behind a proxy for many clusters
		t.Note("%s exists in the cluster only: fetched from the API server", document)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	t.Must(err, "make a request for %s", document)
	request.Header.Set("User-Agent", t.REST().UserAgent)
	response, err := client.Do(request)
	if ctx.Err() != nil {
		t.Broken("fetch %s: %v", document, context.Cause(ctx)) // interrupted, which is not the issuer's fault
	}
	t.Require(err == nil, "%s is not served: %v", document, err)
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	t.Require(err == nil, "%s: the answer breaks off: %v", document, err)
	return response.StatusCode, response.Header.Get("Content-Type"), body
}

// metadata is the discovery document, as far as the rules speak of it.
type metadata struct {
	Issuer                string   `json:"issuer"`
	JWKSURI               string   `json:"jwks_uri"`
	ResponseTypes         []string `json:"response_types_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	IDTokenSigningAlgs    []string `json:"id_token_signing_alg_values_supported"`
	documentURL, mimeType string
	inCluster             bool // whether the issuer exists in the cluster only
}

// discover fetches the discovery document of an issuer. The URL is joined as OpenID Connect Discovery 1.0, section 4
// says: a terminating "/" of the issuer is removed first.
func (r *relyingParty) discover(ctx context.Context, t *suites.T, issuer string) metadata {
	document := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	status, mimeType, body := r.get(ctx, t, document, false)
	t.Require(status == http.StatusOK, "%s is answered with HTTP %d", document, status)
	u, err := url.Parse(document)
	t.Must(err, "read %s again", document)
	m := metadata{documentURL: document, mimeType: mimeType, inCluster: inCluster(u.Hostname())}
	err = json.Unmarshal(body, &m)
	t.Require(err == nil, "%s is no JSON document: %v", document, err)
	return m
}

// keySet is a JWK set, as parsed keys and as raw members.
type keySet struct {
	keys jose.JSONWebKeySet
	raw  []map[string]any
}

// keys fetches the key set that a discovery document names.
func (r *relyingParty) keys(ctx context.Context, t *suites.T, m metadata) keySet {
	uri := m.JWKSURI
	status, _, body := r.get(ctx, t, uri, m.inCluster)
	t.Require(status == http.StatusOK, "%s is answered with HTTP %d", uri, status)
	var set keySet
	err := json.Unmarshal(body, &set.keys)
	t.Require(err == nil, "%s is no JWK set: %v", uri, err)
	var raw struct {
		Keys []map[string]any `json:"keys"`
	}
	t.Must(json.Unmarshal(body, &raw), "read %s again", uri)
	set.raw = raw.Keys
	return set
}

func (s keySet) ids() []string {
	var ids []string
	for _, k := range s.keys.Keys {
		ids = append(ids, k.KeyID)
	}
	return ids
}
