package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// mutant is a world with one fault, which a test of the requirement has to find.
type mutant struct {
	name        string
	requirement string
	fault       func(w *world)
	finding     string
}

// answer is what a proxy is about to say, for a fault to say otherwise.
type answer struct {
	world   *world
	options proxy.Options // of the proxy
	request *http.Request
	w       http.ResponseWriter
	next    http.Handler
}

// serve has the proxy answer.
func (a *answer) serve() { a.next.ServeHTTP(a.w, a.request) }

// record is what the proxy would answer.
func (a *answer) record() *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	a.next.ServeHTTP(recorder, a.request)
	return recorder
}

// send answers with what was recorded.
func (a *answer) send(r *httptest.ResponseRecorder, body []byte) {
	maps.Copy(a.w.Header(), r.Header())
	a.w.WriteHeader(r.Code)
	_, _ = a.w.Write(body)
}

// on stands before the proxies' answers of some requests.
func on(which func(r *http.Request) bool, do func(a *answer)) func(*world) {
	return func(w *world) {
		before := w.handler
		w.handler = func(o proxy.Options, next http.Handler) http.Handler {
			next = before(o, next)
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if which(r) {
					do(&answer{w, o, r, rw, next})
					return
				}
				next.ServeHTTP(rw, r)
			})
		}
	}
}

func isToken(r *http.Request) bool { return r.URL.Path == imds.TokenPath }

func onToken(do func(a *answer)) func(*world) { return on(isToken, do) }

// onQuery changes what the proxy is asked for.
func onQuery(change func(q url.Values)) func(*world) {
	return onToken(func(a *answer) {
		query := a.request.URL.Query()
		change(query)
		a.request.URL.RawQuery = query.Encode()
		a.serve()
	})
}

// onAnswer changes the fields of tokens.
func onAnswer(change func(fields map[string]any)) func(*world) {
	return onToken(func(a *answer) {
		recorded := a.record()
		var fields map[string]any
		if recorded.Code != http.StatusOK || json.Unmarshal(recorded.Body.Bytes(), &fields) != nil {
			a.send(recorded, recorded.Body.Bytes())
			return
		}
		change(fields)
		body, err := json.Marshal(fields)
		if err != nil {
			panic(err)
		}
		a.send(recorded, body)
	})
}

// onRefusal changes the refusals of tokens.
func onRefusal(change func(r *httptest.ResponseRecorder) (status int, body string)) func(*world) {
	return onToken(func(a *answer) {
		recorded := a.record()
		body := recorded.Body.String()
		if recorded.Code != http.StatusOK {
			recorded.Code, body = change(recorded)
		}
		a.send(recorded, []byte(body))
	})
}

func isOther(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/") && !isToken(r) && r.URL.Path != readyPath
}

// onRequest changes what is passed through, onResponse what comes back.
func onRequest(change func(r *http.Request)) func(*world) {
	return on(isOther, func(a *answer) { change(a.request); a.serve() })
}

func onResponse(change func(r *httptest.ResponseRecorder) []byte) func(*world) {
	return on(func(r *http.Request) bool { return isOther(r) && r.URL.Path != imds.StreamPath }, func(a *answer) {
		recorded := a.record()
		body := change(recorded)
		a.send(recorded, body)
	})
}

func redirecting(redirects func(r redirection, c *simulated.Container, network, host, port string) bool) func(*world) {
	return func(w *world) { w.redirects = redirects }
}

// onContainer changes an injected container.
func onContainer(name string, change func(c *corev1.Container)) func(*world) {
	return func(w *world) {
		w.API.Mutated = func(pod *corev1.Pod) {
			for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
				for i := range list {
					if list[i].Name == name {
						change(&list[i])
					}
				}
			}
		}
	}
}

// onPod changes pods that the webhook has mutated.
func onPod(change func(pod *corev1.Pod)) func(*world) {
	return func(w *world) { w.API.Mutated = change }
}

const anywhere = imds.Address

var mutants = []mutant{
	{"the proxy goes on when the Job has ended", "PRX-08", func(w *world) { w.API.Mutation.NativeSidecar = false }, "the proxy goes on"},
	{"the Job's pod is not redirected", "PRX-08", redirecting(func(redirection, *simulated.Container, string, string, string) bool { return false }), "does not reach the proxy"},

	{"nothing is redirected", "PRX-09", redirecting(func(redirection, *simulated.Container, string, string, string) bool { return false }), "does not reach the proxy"},
	{"root is exempt", "PRX-09", func(w *world) { w.program = func(r *redirection) { r.exempt = 0 } }, "container user-0 to IMDS does not reach the proxy"},
	{"the user of the open-source proxy is exempt", "PRX-09", func(w *world) { w.program = func(r *redirection) { r.exempt = 1501 } }, "container user-1501 to IMDS does not reach the proxy"},
	{"ordinary users are exempt", "PRX-09", redirecting(func(r redirection, c *simulated.Container, _, host, port string) bool {
		return r.there && c.UID == 0 && host == anywhere && port == "80"
	}), "container user-1000 to IMDS does not reach the proxy"},
	{"the port is always the default one", "PRX-09", func(w *world) { w.program = func(r *redirection) { r.port = "8000" } }, "a proxy on another port"},
	{"the proxy comes after the user's init containers", "PRX-09", onPod(func(pod *corev1.Pod) {
		ours := func(c corev1.Container) bool { return strings.HasPrefix(c.Name, suites.ProxyContainer) }
		all := pod.Spec.InitContainers
		users := slices.DeleteFunc(slices.Clone(all), ours)
		pod.Spec.InitContainers = append(users, slices.DeleteFunc(all, func(c corev1.Container) bool { return !ours(c) })...)
	}), "init container init-"},
	{"tokens are asked of IMDS as well", "PRX-09", onToken(func(a *answer) {
		direct := &http.Client{Transport: &http.Transport{DialContext: a.options.Dial, DisableKeepAlives: true}}
		if response, err := direct.Get(imdsURL + imds.TokenPath); err == nil {
			response.Body.Close()
		}
		a.serve()
	}), "the proxy was bypassed"},
	{"a skipped container is not redirected", "PRX-09", redirecting(func(r redirection, c *simulated.Container, network, host, port string) bool {
		return r.there && c.UID != r.exempt && host == anywhere && port == "80" && c.Pod.Annotations[suites.SkipAnnotation] != "app"
	}), "the application is skipped"},

	{"it is never ready", "PRX-10", on(func(r *http.Request) bool { return r.URL.Path == readyPath }, func(a *answer) { a.w.WriteHeader(http.StatusServiceUnavailable) }), "HTTP 503"},
	{"a client that is named is not heard", "PRX-10", onQuery(func(q url.Values) { q.Del("client_id") }), "client of the token that another client that is named"},
	{"it remembers the client that was named last", "PRX-10", func(w *world) {
		var last sync.Map
		onQuery(func(q url.Values) {
			if named := q.Get("client_id"); named != "" {
				last.Store("", named)
			} else if remembered, ok := last.Load(""); ok && q.Get("resource") != "" {
				q.Set("client_id", remembered.(string))
			}
		})(w)
	}, "without a client it is the pod's own, also after another was named"},
	{"without a resource it is the vault's", "PRX-10", onQuery(func(q url.Values) {
		if q.Get("resource") == "" {
			q.Set("resource", "https://vault.azure.net")
		}
	}), "no resource"},
	{"an empty resource is one", "PRX-10", onQuery(func(q url.Values) {
		if q.Has("resource") && q.Get("resource") == "" {
			q.Set("resource", "https://vault.azure.net")
		}
	}), "empty resource"},
	{"the resource is another one", "PRX-10", onQuery(func(q url.Values) {
		if q.Get("resource") != "" {
			q.Set("resource", "https://management.azure.com")
		}
	}), "audience of the token"},
	{"a missing client is an error of its own", "PRX-10", onRefusal(func(r *httptest.ResponseRecorder) (int, string) {
		if strings.Contains(r.Body.String(), "client_id") {
			return http.StatusInternalServerError, r.Body.String()
		}
		return r.Code, r.Body.String()
	}), "neither client"},
	{"a missing client is somebody", "PRX-10", func(w *world) {
		w.options = func(o *proxy.Options) {
			if o.ClientID == "" {
				o.ClientID = w.Trusts[0].ClientID
			}
		}
	}, "neither client"},
	{"a refusal is a success", "PRX-10", onRefusal(func(r *httptest.ResponseRecorder) (int, string) { return http.StatusOK, r.Body.String() }), "should be refused with 400"},
	{"no token_type", "PRX-10", onAnswer(func(f map[string]any) { delete(f, "token_type") }), "token_type"},
	{"another token_type", "PRX-10", onAnswer(func(f map[string]any) { f["token_type"] = "bearer-token" }), "token_type"},
	{"no resource in the answer", "PRX-10", onAnswer(func(f map[string]any) { delete(f, "resource") }), "resource is not as expected"},
	{"no expires_on", "PRX-10", onAnswer(func(f map[string]any) { delete(f, "expires_on") }), "are not whole numbers"},
	{"expires_on is a date", "PRX-10", onAnswer(func(f map[string]any) { f["expires_on"] = "12/31/2026 11:00:00 PM +00:00" }), "are not whole numbers"},
	{"expires_on is in milliseconds", "PRX-10", onAnswer(func(f map[string]any) { f["expires_on"] = f["expires_on"].(string) + "000" }), "expires_on is"},
	{"expires_in is when it expires", "PRX-10", onAnswer(func(f map[string]any) { f["expires_in"] = f["expires_on"] }), "expires_in is"},
	{"no expires_in", "PRX-10", onAnswer(func(f map[string]any) { delete(f, "expires_in") }), "are not whole numbers"},
	{"no not_before", "PRX-10", onAnswer(func(f map[string]any) { delete(f, "not_before") }), "are not whole numbers"},
	{"not_before is when it expires", "PRX-10", onAnswer(func(f map[string]any) { f["not_before"] = f["expires_on"] }), "not_before is"},
	{"the answer is text", "PRX-10", onToken(func(a *answer) {
		recorded := a.record()
		recorded.Header().Set("Content-Type", "text/plain")
		a.send(recorded, recorded.Body.Bytes())
	}), "Content-Type"},
	{"without IMDS there are no tokens", "PRX-10", onToken(func(a *answer) {
		recorder := httptest.NewRecorder()
		a.next.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, imds.VersionsPath, nil))
		if recorder.Code >= http.StatusInternalServerError {
			a.w.WriteHeader(recorder.Code)
			return
		}
		a.serve()
	}), "where there is no IMDS gets no token"},

	{"object_id is not heard", "PRX-11", onQuery(func(q url.Values) { q.Del("object_id") }), "by object_id="},
	{"mi_res_id is not heard", "PRX-11", onQuery(func(q url.Values) { q.Del("mi_res_id") }), "by mi_res_id="},
	{"msi_res_id is not heard", "PRX-11", onQuery(func(q url.Values) { q.Del("msi_res_id") }), "by msi_res_id="},
	{"who is unknown is the pod's own identity", "PRX-11", onQuery(func(q url.Values) {
		if strings.HasPrefix(q.Get("object_id"), "00000000-") {
			q.Del("object_id")
		}
	}), "the object ID of nobody"},
	{"who is unknown is an error of the proxy's", "PRX-11", onRefusal(func(r *httptest.ResponseRecorder) (int, string) { return http.StatusBadGateway, r.Body.String() }), "should be refused with 4xx"},

	{"the header Metadata is not required", "PRX-12", onToken(func(a *answer) { a.request.Header.Set("Metadata", "true"); a.serve() }), "without the header Metadata"},
	{"any value of Metadata will do", "PRX-12", onToken(func(a *answer) {
		if a.request.Header.Get("Metadata") != "" {
			a.request.Header.Set("Metadata", "true")
		}
		a.serve()
	}), "with Metadata: false"},
	{"what was forwarded is served", "PRX-12", onToken(func(a *answer) { a.request.Header.Del("X-Forwarded-For"); a.serve() }), "that was forwarded"},
	{"expires_on is a number", "PRX-12", onAnswer(func(f map[string]any) { f["expires_on"], _ = seconds(f["expires_on"]) }), "expires_on is no string"},
	{"expires_in is a number", "PRX-12", onAnswer(func(f map[string]any) { f["expires_in"], _ = seconds(f["expires_in"]) }), "expires_in is no string"},
	{"not_before is a number", "PRX-12", onAnswer(func(f map[string]any) { f["not_before"], _ = seconds(f["not_before"]) }), "not_before is no string"},
	{"errors are text", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) { return r.Code, "bad request" }), "no JSON with error"},
	{"errors have no description", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) { return r.Code, `{"error":"invalid_request"}` }), "no JSON with error"},
	{"errors have no code", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) { return r.Code, `{"error_description":"x"}` }), "no JSON with error"},
	{"what Entra ID refuses is an error of the proxy's", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) {
		if strings.Contains(r.Body.String(), "AADSTS") {
			return http.StatusInternalServerError, r.Body.String()
		}
		return r.Code, r.Body.String()
	}), "Entra ID does not know"},
	{"another client's refusal is an error of the proxy's", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) {
		if strings.Contains(r.Body.String(), "AADSTS70025") {
			return http.StatusBadGateway, r.Body.String()
		}
		return r.Code, r.Body.String()
	}), "does not trust the account"},
	{"a request without a resource is not found", "PRX-12", onRefusal(func(r *httptest.ResponseRecorder) (int, string) {
		if strings.Contains(r.Body.String(), "resource is missing") {
			return http.StatusNotFound, r.Body.String()
		}
		return r.Code, r.Body.String()
	}), "without a resource"},

	{"every method is GET", "PRX-13", onRequest(func(r *http.Request) { r.Method = http.MethodGet }), "method POST"},
	{"only GET is passed through", "PRX-13", on(func(r *http.Request) bool { return isOther(r) && r.Method == http.MethodPatch }, func(a *answer) {
		a.w.WriteHeader(http.StatusMethodNotAllowed)
	}), "method PATCH"},
	{"the query is dropped", "PRX-13", onRequest(func(r *http.Request) { r.URL.RawQuery = "" }), "a query that is kept"},
	{"the query is sorted", "PRX-13", onRequest(func(r *http.Request) { r.URL.RawQuery = r.URL.Query().Encode() }), "a query that is kept"},
	{"what cannot be read of a query is left out", "PRX-13", onRequest(func(r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "%zz") {
			r.URL.RawQuery = ""
		}
	}), "a query that not everybody can read"},
	{"the path is unescaped", "PRX-13", onRequest(func(r *http.Request) { r.URL.RawPath = "" }), "a path with escapes"},
	{"the path is cleaned", "PRX-13", onRequest(func(r *http.Request) {
		r.URL.Path, r.URL.RawPath = strings.ReplaceAll(r.URL.Path, "//", "/"), ""
	}), "a path with empty and dotted parts"},
	{"a header is lost", "PRX-13", onRequest(func(r *http.Request) { r.Header.Del("X-One") }), "headers of its own"},
	{"of two values of a header one is lost", "PRX-13", onRequest(func(r *http.Request) { r.Header.Set("X-Two", r.Header.Get("X-Two")) }), "headers of its own"},
	{"the application's name is lost", "PRX-13", onRequest(func(r *http.Request) { r.Header.Set("User-Agent", "proxy") }), "headers of its own"},
	{"the header Metadata is added", "PRX-13", onRequest(func(r *http.Request) { r.Header.Set("Metadata", "true") }), "no header Metadata"},
	{"a header tells that there is a proxy", "PRX-13", onRequest(func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") }), "method GET"},
	{"a header that tells of a proxy is removed", "PRX-13", onRequest(func(r *http.Request) { r.Header.Del("X-Forwarded-For") }), "a header that tells of a proxy"},
	{"a compressed answer is asked for", "PRX-13", onRequest(func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }), "no header at all"},
	{"a User-Agent is added", "PRX-13", onRequest(func(r *http.Request) {
		if r.Header.Get("User-Agent") == "" {
			r.Header.Set("User-Agent", "Go-http-client/1.1")
		}
	}), "no header at all"},
	{"the body is lost", "PRX-13", onRequest(func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0; r.Header.Del("Content-Length") }), "a body"},
	{"a large body is cut", "PRX-13", onRequest(func(r *http.Request) {
		if r.ContentLength > 1<<20 {
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(r.Body, 1<<20)), 1<<20
		}
	}), "a large body"},
	{"the status is always 200", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte {
		if r.Code != http.StatusNoContent && r.Code != http.StatusNotModified {
			r.Code = http.StatusOK
		}
		return r.Body.Bytes()
	}), "status is not as expected"},
	{"errors of IMDS are the proxy's", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte {
		if r.Code >= http.StatusInternalServerError {
			r.Code = http.StatusBadGateway
		}
		return r.Body.Bytes()
	}), "status 503"},
	{"a header of the answer is lost", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte { r.Header().Del("X-One"); return r.Body.Bytes() }), "headers of the answer"},
	{"a cookie of the answer is lost", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte {
		if cookies := r.Header().Values("Set-Cookie"); len(cookies) > 1 {
			r.Header().Set("Set-Cookie", cookies[0])
		}
		return r.Body.Bytes()
	}), "headers of the answer"},
	{"a header of the answer is added", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte { r.Header().Set("Via", "1.1 proxy"); return r.Body.Bytes() }), "headers of the answer"},
	{"the answer is always JSON", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte {
		r.Header().Set("Content-Type", "application/json; charset=utf-8")
		return r.Body.Bytes()
	}), "an answer of another type"},
	{"a large answer is cut", "PRX-13", onResponse(func(r *httptest.ResponseRecorder) []byte {
		r.Header().Del("Content-Length")
		return r.Body.Bytes()[:min(r.Body.Len(), 1<<20)]
	}), "a large answer"},
	{"answers are held back until they are whole", "PRX-13", on(func(r *http.Request) bool { return r.URL.Path == imds.StreamPath && r.URL.Query().Has("id") }, func(a *answer) {
		// Whoever waits for the whole waits in vain: it breaks off, as the service does in the end.
		panic(http.ErrAbortHandler)
	}), "a stream"},
	{"only paths below /metadata are passed through", "PRX-13", on(func(r *http.Request) bool { return isOther(r) && !strings.HasPrefix(r.URL.Path, "/metadata") }, func(a *answer) {
		http.NotFound(a.w, a.request)
	}), "the root"},
	{"what describes the identity is the proxy's own", "PRX-13", on(func(r *http.Request) bool { return r.URL.Path == imds.InfoPath }, func(a *answer) {
		_, _ = io.WriteString(a.w, "{}")
	}), "the identity's description"},
	{"the proxy runs as the pod's user", "PRX-13", onContainer(suites.ProxyContainer, func(c *corev1.Container) { c.SecurityContext.RunAsUser = nil }), "does not get through to IMDS"},
	{"the proxy runs as root's user when the pod says so", "PRX-13", onPod(func(pod *corev1.Pod) {
		if s := pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil && *s.RunAsUser == 0 {
			for i := range pod.Spec.InitContainers {
				if pod.Spec.InitContainers[i].Name == suites.ProxyContainer {
					pod.Spec.InitContainers[i].SecurityContext.RunAsUser = nil
				}
			}
		}
	}), "root: the proxy does not get through"},
	{"without IMDS a description is made up", "PRX-13", on(func(r *http.Request) bool { return r.URL.Path == imds.InstancePath }, func(a *answer) {
		recorded := a.record()
		if a.world.isPaused() {
			recorded.Code = http.StatusOK
		}
		a.send(recorded, recorded.Body.Bytes())
	}), "should be answered with 5xx"},
	{"without IMDS the connection breaks", "PRX-13", on(isOther, func(a *answer) {
		if a.world.isPaused() {
			panic(http.ErrAbortHandler)
		}
		a.serve()
	}), "should be answered with 5xx"},

	{"a hook fails", "PRX-14", func(w *world) {
		var once sync.Once
		hook := w.hook
		w.hook = func(ctx context.Context, c *simulated.Container) (err error) {
			if c.Name == suites.ProxyContainer {
				once.Do(func() { c.Pod.Warn(failedHook, "exec failed") })
			}
			return hook(ctx, c)
		}
	}, failedHook},
	{"a proxy restarts", "PRX-14", func(w *world) {
		w.API.Node.Status = func(pod *corev1.Pod) {
			if pod.Name == "pod-07" {
				for i := range pod.Status.InitContainerStatuses {
					pod.Status.InitContainerStatuses[i].RestartCount = 1
				}
			}
		}
	}, "/pod-07 restarted 1 times"},
	{"a proxy is said to serve before it does", "PRX-14", on(func(r *http.Request) bool { return r.URL.Path == readyPath }, func(a *answer) {
		a.w.WriteHeader(http.StatusServiceUnavailable)
	}), "does not reach the proxy"},

	{"all ports of IMDS' address are redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, host, _ string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && host == anywhere
	}), "another port of IMDS' address"},
	{"HTTPS to IMDS' address is redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, host, port string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && host == anywhere && (port == "80" || port == "443")
	}), "the port of HTTPS"},
	{"the proxy's port is redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, host, port string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && host == anywhere && (port == "80" || port == r.port)
	}), "the proxy's port of IMDS' address"},
	{"port 80 of every address is redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, _, port string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && port == "80"
	}), "what the pod serves at its own port 80 is out of reach"},
	{"all link-local addresses are redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, host, port string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && strings.HasPrefix(host, "169.254.") && port == "80"
	}), "another link-local address"},
	{"the addresses beside IMDS' are redirected", "PRX-15", redirecting(func(r redirection, c *simulated.Container, network, host, port string) bool {
		return r.there && c.UID != r.exempt && network == "tcp" && strings.HasPrefix(host, "169.254.169.") && port == "80"
	}), "an address beside IMDS'"},
	{"UDP is redirected, too", "PRX-15", redirecting(func(r redirection, c *simulated.Container, _, host, port string) bool {
		return r.there && c.UID != r.exempt && host == anywhere && port == "80"
	}), "a datagram to port 80"},

	{"nothing is cached", "PRX-16", fresh(func() bool { return true }), "exchanges for the identity that was asked for again and again"},
	{"a token is kept for one more request only", "PRX-16", func(w *world) {
		var asked atomic.Int32
		fresh(func() bool { return asked.Add(1) == 4 })(w)
	}, "is answered with another token"},
	{"the cache knows no clients", "PRX-16", func(w *world) {
		var mu sync.Mutex
		var kept *httptest.ResponseRecorder
		onToken(func(a *answer) {
			mu.Lock()
			defer mu.Unlock()
			if kept == nil {
				kept = a.record()
			}
			a.send(kept, kept.Body.Bytes())
		})(w)
	}, "a request for another identity"},
	{"the token file is read once", "PRX-16", func(w *world) {
		dir := w.t.TempDir()
		once := onlyOnce()
		onToken(func(a *answer) {
			kept := filepath.Join(dir, filepath.Base(filepath.Dir(a.options.TokenFile)))
			if once(kept) {
				must(0, os.WriteFile(kept, must(os.ReadFile(a.options.TokenFile)), 0o600))
			}
			a.options.TokenFile = kept
			must(proxy.New(a.options)).ServeHTTP(a.w, a.request)
		})(w)
	}, "once the token file is renewed"},

	{"requests of managed identities are not understood", "PRX-17", onToken(func(a *answer) { a.w.WriteHeader(http.StatusNotFound) }), "does not get the secret"},
	{"applications that name their client are refused", "PRX-17", onToken(func(a *answer) {
		if a.request.URL.Query().Has("client_id") {
			a.w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.serve()
	}), "an identity that the code names"},
	{"the proxy does not know the pod's client", "PRX-17", func(w *world) {
		w.options = func(o *proxy.Options) { o.ClientID = "" }
	}, "does not get the secret"},
	{"pods with an old label get no proxy", "PRX-17", func(w *world) {
		selects := w.API.Selects
		w.API.Selects = func(pod *corev1.Pod) bool { return selects(pod) && pod.Labels[podIdentityLabel] == "" }
	}, "does not get the secret"},
	{"an old label changes what is injected", "PRX-17", onPod(func(pod *corev1.Pod) {
		if pod.Labels[podIdentityLabel] != "" && pod.Name == "admitted" {
			pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "AZURE_POD_IDENTITY", Value: "1"})
		}
	}), "pod with the label is not as expected"},
	{"without the proxy IMDS is not asked", "PRX-17", func(w *world) {
		imdsOf := w.API.Node.IMDS
		w.API.Node.IMDS = func(c *simulated.Container) http.RoundTripper {
			if c.Pod.Annotations[suites.ProxyAnnotation] == "" && c.Pod.Name == "without" {
				return refusing{}
			}
			return imdsOf(c)
		}
	}, "it has not asked IMDS for a token"},
	{"Azure never gave the token", "PRX-17", func(w *world) {
		w.Evidence = func([]evidence.Entry) []evidence.Entry { return nil }
	}, "the secret came another way"},
	{"a proxy that a manifest has is told nothing", "PRX-17", func(w *world) {
		w.API.Mutated = func(pod *corev1.Pod) {
			for i := range pod.Spec.Containers {
				if c := &pod.Spec.Containers[i]; c.Name == byHandProxy {
					c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool { return strings.HasPrefix(v.Name, "AZURE_") })
				}
			}
		}
	}, "the application gets no token"},
	{"a proxy that a manifest has is not ready when its hook says so", "PRX-17", func(w *world) {
		w.hook = func(context.Context, *simulated.Container) error { return nil }
		once := onlyOnce()
		on(func(r *http.Request) bool { return r.URL.Path == readyPath }, func(a *answer) {
			if once(a.options.TokenFile) {
				a.w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			a.serve()
		})(w)
	}, "the proxy stands before the application"},

	{"a proxy that is skipped has what is injected", "SKP-04", func(w *world) {
		before := w.API.Before
		w.API.Before = func(pod *corev1.Pod) {
			before(pod)
			if pod.Annotations[suites.SkipAnnotation] == suites.ProxyContainer {
				delete(pod.Annotations, suites.SkipAnnotation)
			}
		}
	}, "a proxy that is skipped gives a token"},
}

// fresh has a new proxy answer token requests: one that has cached nothing.
func fresh(when func() bool) func(*world) {
	return onToken(func(a *answer) {
		if when() {
			must(proxy.New(a.options)).ServeHTTP(a.w, a.request)
			return
		}
		a.serve()
	})
}

// onlyOnce tells of each name the first time.
func onlyOnce() func(name string) bool {
	var seen sync.Map
	return func(name string) bool {
		_, before := seen.LoadOrStore(name, true)
		return !before
	}
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
