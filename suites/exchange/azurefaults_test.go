package exchange

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// code of a refusal of Entra ID, Key Vault or Resource Manager; "" for none.
func (a *answer) code() string {
	var entra struct {
		Codes []int `json:"error_codes"`
	}
	if json.Unmarshal(a.body, &entra) == nil && len(entra.Codes) > 0 {
		return "AADSTS" + strconv.Itoa(entra.Codes[0])
	}
	var service struct {
		Error struct {
			Code, Message string
			InnerError    struct{ Code string }
		}
	}
	_ = json.Unmarshal(a.body, &service) // what cannot be read has no code
	if akv, _, ok := strings.Cut(service.Error.Message, ":"); ok && strings.HasPrefix(akv, "AKV") {
		return akv
	}
	if service.Error.InnerError.Code != "" {
		return service.Error.InnerError.Code
	}
	return service.Error.Code
}

func (a *answer) set(status int, body any) { a.status, a.body = status, encoded(body) }

// page is what a gateway before Azure says.
func (a *answer) page() {
	a.status, a.body = http.StatusForbidden, []byte("<html>Forbidden</html>")
	a.header.Set("Content-Type", "text/html")
}

// refuse answers as Entra ID, with a code of its.
func (a *answer) refuse(code string) {
	number, err := strconv.Atoi(strings.TrimPrefix(code, "AADSTS"))
	if err != nil {
		panic(err)
	}
	a.set(http.StatusUnauthorized, object{
		"error": "invalid_client", "error_description": code + ": Refused. Trace ID: 1", "error_codes": []int{number},
	})
}

// onAzure changes Azure's answers to the requests for a host of that ending.
func onAzure(host string, change func(w *world, asked *http.Request, a *answer)) func(*world) {
	return func(w *world) {
		w.Azure = func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if !strings.HasSuffix(r.Host, host) {
				next.ServeHTTP(rw, r)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			r.Body = io.NopCloser(bytes.NewReader(body))
			a := &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
			change(w, r, a)
			maps.Copy(rw.Header(), a.header)
			rw.WriteHeader(a.status)
			_, _ = rw.Write(a.body)
		}
	}
}

// exchange is a request for a token.
type exchange struct {
	clientID string
	claims   jwt.Claims // none of an assertion that is no token
}

// onExchanges changes Entra ID's answers to requests for tokens.
func onExchanges(change func(w *world, e exchange, a *answer)) func(*world) {
	return onAzure(simulated.LoginHost, func(w *world, asked *http.Request, a *answer) {
		if asked.Method != http.MethodPost {
			return
		}
		if err := asked.ParseForm(); err != nil {
			panic(err)
		}
		e := exchange{clientID: asked.PostForm.Get("client_id")}
		if token, err := jwt.ParseSigned(asked.PostForm.Get("client_assertion"), []jose.SignatureAlgorithm{jose.RS256}); err == nil {
			_ = token.UnsafeClaimsWithoutVerification(&e.claims)
		}
		change(w, e, a)
	})
}

// accepting has Entra ID not mind what it refuses with the code: who asks gets the token of an identity that may read.
func accepting(code string) func(*world) {
	return onAzure(simulated.LoginHost, func(w *world, asked *http.Request, a *answer) {
		if a.code() != code {
			return
		}
		if asked.Method == http.MethodGet { // of a tenant that is not there: the home tenant answers in its name
			tenant, _, _ := strings.Cut(asked.URL.Path[1:], "/")
			*a = *w.ask(asked.Context(), http.MethodGet, strings.Replace(asked.URL.String(), tenant, simulated.TenantID, 1), nil)
			a.body = bytes.ReplaceAll(a.body, []byte(simulated.TenantID), []byte(tenant))
			return
		}
		*a = *w.ask(asked.Context(), http.MethodPost, simulated.Authority+simulated.TenantID+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "scope": {simulated.Scope}, "client_id": {w.reader.ClientID},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {w.API.Token(w.reader.Namespace, w.reader.Account, subject.DefaultAudience)},
		})
	})
}

// recoding has Entra ID give another code than it should.
func recoding(code, other string) func(*world) {
	return onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) {
		if a.code() == code {
			a.refuse(other)
		}
	})
}

// refusing has Entra ID refuse what it should not.
func refusing(code string, these func(w *world, e exchange) bool) func(*world) {
	return onExchanges(func(w *world, e exchange, a *answer) {
		if these(w, e) {
			a.refuse(code)
		}
	})
}

// onSecrets changes a vault's answers to requests for a secret that have that code; "" for those that get it.
func onSecrets(code string, change func(a *answer)) func(*world) {
	return onAzure(simulated.VaultSuffix, func(_ *world, asked *http.Request, a *answer) {
		if asked.Method == http.MethodGet && a.code() == code {
			change(a)
		}
	})
}

// give answers with a secret.
func give(value string) func(*answer) {
	return func(a *answer) {
		a.set(http.StatusOK, object{"value": value, "id": "https://vault.vault.azure.net/secrets/canary/1"})
	}
}

// onCredential changes the answers to writes of a federated credential of that name.
func onCredential(name string, change func(a *answer)) func(*world) {
	return onCredentials(func(written string, a *answer) {
		if written == name {
			change(a)
		}
	})
}

func onCredentials(change func(name string, a *answer)) func(*world) {
	return onAzure(simulated.ManagementHost, func(_ *world, asked *http.Request, a *answer) {
		if asked.Method == http.MethodPut && strings.Contains(asked.URL.Path, "/federatedIdentityCredentials/") {
			change(path.Base(asked.URL.Path), a)
		}
	})
}

func managementRefusal(status int, code string) func(*answer) {
	return func(a *answer) { a.set(status, object{"error": object{"code": code, "message": "Refused."}}) }
}

// onEvidence changes what Azure tells of its refusals.
func onEvidence(change func(e *evidence.Entry)) func(*world) {
	return func(w *world) {
		w.Evidence = func(entries []evidence.Entry) []evidence.Entry {
			for i := range entries {
				change(&entries[i])
			}
			return entries
		}
	}
}

// onGrants changes what Azure tells of the tokens that it gave: the nth to a client for an account, from 0.
func onGrants(change func(nth int, e *evidence.Entry)) func(*world) {
	return func(w *world) {
		w.Evidence = func(entries []evidence.Entry) []evidence.Entry {
			given := map[string]int{}
			for i := range entries {
				if e := &entries[i]; e.Service == "entra" && e.Status == http.StatusOK {
					grant := e.Subject + " " + e.ClientID
					change(given[grant], e)
					given[grant]++
				}
			}
			return entries
		}
	}
}
