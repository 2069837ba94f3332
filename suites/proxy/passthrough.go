package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

func passThroughTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "proxy-passes-through",
			Title: "All that is no token request gets to IMDS, and its answer back, unchanged",
			Tier:  suites.Proxy, Requirements: []string{"PRX-13"},
			Needs: needs(suites.EmulatedIMDS), Body: passesThrough,
		},
		{
			ID:    "proxy-passes-through-as-any-user",
			Title: "The proxy gets through to IMDS whatever user the pod sets",
			Tier:  suites.Proxy, Requirements: []string{"PRX-13"},
			Needs: needs(suites.EmulatedIMDS), Body: passesThroughAsAnyUser,
		},
		{
			ID:    "proxy-without-imds",
			Title: "Where there is no IMDS tokens are still to be had, and nothing is made up",
			Tier:  suites.Proxy, Requirements: []string{"PRX-10", "PRX-13"},
			Needs: needs(suites.EmulatedIMDS), Trust: trusted(reader), Serial: true, Body: withoutIMDS,
		},
	}
}

const (
	echoURL = imdsURL + imds.EchoPath
	// largeAnswer has that many bytes.
	largeAnswer = 3_000_000
)

// passedThrough are requests of every kind. That their answers are what they should be is known from a pod without proxy.
func passedThrough() []ask.Step {
	request := func(name, method, url string, size int, headers http.Header) ask.Step {
		return ask.Step{Name: name, Request: &ask.Request{Method: method, URL: url, Headers: headers, Size: size}}
	}
	var steps []ask.Step
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	} {
		steps = append(steps, request("method "+method, method, echoURL, 0, metadata()))
	}
	for _, name := range []string{"204", "302", "304", "404", "410", "418", "429", "500", "503"} {
		steps = append(steps, request("status "+name, "", echoURL+"?status="+name, 0, metadata()))
	}
	return append(steps,
		request("a query that is kept to the letter", "", echoURL+"?b=2&a=1&a=0&c=%2Fx%20y+z&d&=e&f=;&g=%C3%A9&api-version=2021-02-01", 0, metadata()),
		request("a query that not everybody can read", "", echoURL+"?x=%zz&y=%", 0, metadata()),
		request("a path with escapes", "", echoURL+"/a%2Fb/c%20d/%C3%A9", 0, metadata()),
		request("a path with empty and dotted parts", "", echoURL+"//a/./b/../c/", 0, metadata()),
		request("headers of its own", "", echoURL, 0, http.Header{
			"Metadata": {"True"}, "X-One": {"1"}, "X-Two": {"b", "a"}, "X-Empty": {""}, "User-Agent": {"an application/1.0"}, "Accept": {"text/plain;q=0.5, */*"},
			"Accept-Encoding": {"gzip"}, "Authorization": {"Basic d2ktZTJl"}, "Cookie": {"a=b; c=d"}, "X-Ms-Client-Request-Id": {"42"},
		}),
		request("a header that tells of a proxy, which IMDS refuses for it", "", imdsURL+imds.InstancePath+"?api-version=2021-02-01", 0,
			http.Header{"Metadata": {"true"}, "X-Forwarded-For": {"192.0.2.1"}}),
		request("no header Metadata, which IMDS refuses for that", "", imdsURL+imds.InstancePath+"?api-version=2021-02-01", 0, nil),
		request("no header at all", "", echoURL, 0, http.Header{"User-Agent": nil}),
		request("a body", http.MethodPost, echoURL, 10, metadata()),
		request("a large body", http.MethodPut, echoURL, 3<<20, metadata()),
		request("headers of the answer", "", echoURL+"?header=X-One:1&header=Set-Cookie:a%3Db&header=Set-Cookie:c%3Dd&header=Location:/x&header=Server:IMDS/150.870", 0, metadata()),
		request("an answer of another type", "", echoURL+"?header=Content-Type:text/x-own", 0, metadata()),
		request("a large answer", "", fmt.Sprintf("%s?size=%d", echoURL, largeAnswer), 0, metadata()),
		request("the machine's description", "", imdsURL+imds.InstancePath+"?api-version=2021-02-01", 0, metadata()),
		request("versions", "", imdsURL+imds.VersionsPath, 0, metadata()),
		request("the identity's description", "", imdsURL+imds.InfoPath+"?api-version=2018-02-01", 0, metadata()),
		request("a path that IMDS does not know", "", imdsURL+"/metadata/nothing", 0, metadata()),
		request("the root", "", imdsURL+"/", 0, metadata()),
		ask.Step{Name: "a stream", Stream: imdsURL + imds.StreamPath},
	)
}

func passesThrough(ctx context.Context, t *suites.T) {
	account := t.ServiceAccount(ctx, app, nil)
	steps := passedThrough()
	direct := call(ctx, t, programs.Pod(ctx, t, "direct", account, caller(t, "app", steps...)))
	proxied := call(ctx, t, newPod(ctx, t, "proxied", account, caller(t, "app", append([]ask.Step{ready()}, steps...)...)))
	isProxy(t, "the pod", proxied.of(t, "app", "ready"))
	for _, step := range steps {
		t.Case(ctx, step.Name, func(_ context.Context, t *suites.T) {
			want, got := direct.of(t, "app", step.Name), proxied.of(t, "app", step.Name)
			t.Must(failure(want), "ask IMDS without a proxy for %s", step.Name)
			t.Require(got.Error == "", "it does not get through: %s", say(got))
			t.Equal("status", want.Status, got.Status)
			t.Equal("headers of the answer", comparable(want.Headers), comparable(got.Headers))
			t.Equal("chunks that arrived one by one", want.Chunks, got.Chunks)
			sent, arrived := received(want), received(got)
			if sent == nil {
				t.Equal("body of the answer", want.SHA256, got.SHA256)
				return
			}
			t.Require(arrived != nil, "the answer is not that of IMDS: %s", say(got))
			if want.Length >= largeAnswer { // others are as long as the address of who asked
				t.Equal("length of the answer", want.Length, got.Length)
			}
			t.Equal("the request as it gets to IMDS", sent, arrived)
		})
	}
}

// received is a request as IMDS had it, but for who sent it; nil if the answer does not say.
func received(a ask.Answer) *imds.Received {
	var r imds.Received
	if json.Unmarshal([]byte(a.Body), &r) != nil || r.Method == "" {
		return nil
	}
	r.Remote = ""
	return &r
}

// comparable are headers but for the time, and for the length of a body that tells who asked.
func comparable(headers http.Header) http.Header {
	headers = headers.Clone()
	headers.Del("Date")
	headers.Del("Content-Length")
	return headers
}

func passesThroughAsAnyUser(ctx context.Context, t *suites.T) {
	account := t.ServiceAccount(ctx, app, nil)
	for _, c := range []struct {
		name, title string
		security    *corev1.PodSecurityContext
	}{
		{"root", "root", &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0)}},
		{"ordinary", "an ordinary user", &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1000), RunAsGroup: ptr.To[int64](1000)}},
		{"upstream", "the user that the open-source proxy runs as", &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](1501)}},
		{"high", "a user with a high number, and groups", &corev1.PodSecurityContext{
			RunAsUser: ptr.To[int64](1000660000), FSGroup: ptr.To[int64](2000), SupplementalGroups: []int64{3000},
		}},
	} {
		t.Case(ctx, c.title, func(ctx context.Context, t *suites.T) {
			pod := newPod(ctx, t, c.name, account, caller(t, "app", ready(),
				ask.Step{Name: "through", Request: &ask.Request{URL: echoURL + "?user=" + c.name, Headers: metadata()}}))
			pod.Spec.SecurityContext = c.security
			made := call(ctx, t, pod)
			isProxy(t, "the pod", made.of(t, "app", "ready"))
			through := made.of(t, "app", "through")
			r := received(through)
			t.Check(through.Error == "" && r != nil && r.Query == "user="+c.name, "the proxy does not get through to IMDS: %s", say(through))
		})
	}
}

func withoutIMDS(ctx context.Context, t *suites.T) {
	resume, err := t.IMDS().Pause(ctx)
	t.Must(err, "take the metadata service from the nodes")
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		t.Must(resume(ctx), "put the metadata service back")
	}()
	other := ask.Step{Name: "other", Request: &ask.Request{URL: imdsURL + imds.InstancePath + "?api-version=2021-02-01", Headers: metadata()}}
	made := call(ctx, t, newPod(ctx, t, "alone", app, caller(t, "app", ready(), other, token(t, "token"))))
	isProxy(t, "the pod", made.of(t, "app", "ready"))
	t.CaseOf(ctx, "PRX-10", "a token", func(_ context.Context, t *suites.T) {
		gets(t, "an application where there is no IMDS", made.of(t, "app", "token"), t.Identity(app, reader).ClientID)
	})
	t.CaseOf(ctx, "PRX-13", "anything else", func(_ context.Context, t *suites.T) {
		a := made.of(t, "app", "other")
		t.Check(a.Error == "" && a.Status >= http.StatusInternalServerError, "a request that nobody can answer should be answered with 5xx: %s", say(a))
		t.Note("after %.1f s: %s", a.Seconds, say(a))
	})
}
