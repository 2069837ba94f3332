package proxy

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/suites"
)

func tokenTests() []suites.Test {
	return []suites.Test{
		{
			ID:    "proxy-token-route",
			Title: "The token route answers with a token of the client that is named, or of the pod's own, and refuses what names too little",
			Tier:  suites.Proxy, Requirements: []string{"PRX-10"},
			Needs: needs(), Trust: trusted(reader, otherReader), Body: tokenRoute,
		},
		{
			ID:    "proxy-other-identity",
			Title: "Who selects another identity is never given the token of a different one",
			Tier:  suites.Proxy, Requirements: []string{"PRX-11"},
			Needs: needs(), Trust: trusted(reader, otherReader), Body: otherIdentity,
		},
	}
}

func tokenRoute(ctx context.Context, t *suites.T) {
	own, other := t.Identity(app, reader).ClientID, t.Identity(app, otherReader).ClientID
	t.Require(own != other, "the two identities are one")
	made := call(ctx, t, newPod(ctx, t, "route", app, caller(t, "app",
		ready(),
		token(t, "own"),
		token(t, "named own", "client_id", own),
		token(t, "other", "client_id", other),
		token(t, "own again"),
		tokenFor("no resource"),
		tokenFor("no resource but a client", "client_id", own),
		tokenFor("empty resource", "resource", ""),
	)))
	answer := func(step string) ask.Answer { return made.of(t, "app", step) }
	isProxy(t, "the pod", answer("ready"))
	for _, c := range []struct{ step, title, client string }{
		{"own", "without a client it is the pod's own", own},
		{"named own", "a client that is named", own},
		{"other", "another client that is named", other},
		{"own again", "without a client it is the pod's own, also after another was named", own},
	} {
		t.Case(ctx, c.title, func(_ context.Context, t *suites.T) {
			a := answer(c.step)
			gets(t, c.title, a, c.client)
			isComplete(t, a)
		})
	}
	for _, step := range []string{"no resource", "no resource but a client", "empty resource"} {
		t.Case(ctx, step, func(_ context.Context, t *suites.T) {
			refuses(t, "a request with "+step, answer(step), http.StatusBadRequest)
		})
	}
	t.Case(ctx, "neither client", func(ctx context.Context, t *suites.T) {
		account := t.ServiceAccount(ctx, "without-client", nil)
		made := call(ctx, t, newPod(ctx, t, "without-client", account, caller(t, "app", ready(), token(t, "token"), token(t, "empty", "client_id", ""))))
		isProxy(t, "the pod", made.of(t, "app", "ready"))
		refuses(t, "a request without client, in a pod without one", made.of(t, "app", "token"), http.StatusBadRequest)
		refuses(t, "a request with an empty client, in a pod without one", made.of(t, "app", "empty"), http.StatusBadRequest)
		bypassed(ctx, t, made, imds.TokenPath) // which could have given a token of the machine's
	})
}

// answerFields are those of a token. IMDS writes numbers as strings; that is another rule (PRX-12).
type answerFields struct {
	Type      string `json:"token_type"`
	Resource  string `json:"resource"`
	ExpiresOn any    `json:"expires_on"`
	ExpiresIn any    `json:"expires_in"`
	NotBefore any    `json:"not_before"`
}

// isComplete expects all that IMDS tells of a token, and that it is true of this one.
func isComplete(t *suites.T, a ask.Answer) {
	var fields answerFields
	t.Require(json.Unmarshal([]byte(a.Body), &fields) == nil, "the answer is no JSON of a token: %s", say(a))
	t.Check(strings.HasPrefix(a.Headers.Get("Content-Type"), "application/json"), "Content-Type is %q", a.Headers.Get("Content-Type"))
	t.Equal("token_type", "Bearer", fields.Type)
	t.Equal("resource", vaultResource(t), fields.Resource)
	on, okOn := seconds(fields.ExpiresOn)
	in, okIn := seconds(fields.ExpiresIn)
	before, okBefore := seconds(fields.NotBefore)
	t.Require(okOn && okIn && okBefore, "expires_on, expires_in and not_before are not whole numbers of seconds: %v, %v, %v", fields.ExpiresOn, fields.ExpiresIn, fields.NotBefore)
	now := time.Now().Unix()
	const tolerance = 120 // seconds: of clocks, and of a pod's way to its end
	t.Check(within(on, a.Token.Expires, 5), "expires_on is %d; the token expires at %d", on, a.Token.Expires)
	t.Check(within(now+in, on, tolerance), "expires_in is %d; until expires_on there are %d s", in, on-now)
	t.Check(before <= now+tolerance && before < on, "not_before is %d, expires_on %d, and now it is %d", before, on, now)
}

func within(a, b, tolerance int64) bool { return a-b <= tolerance && b-a <= tolerance }

// seconds reads a number that may be a string.
func seconds(value any) (int64, bool) {
	switch v := value.(type) {
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	case float64:
		return int64(v), v == float64(int64(v))
	default:
		return 0, false
	}
}

func otherIdentity(ctx context.Context, t *suites.T) {
	other := t.Identity(app, otherReader)
	type selection struct{ parameter, value, title string }
	selections := []selection{
		{"object_id", other.PrincipalID, "the object ID of another identity"},
		{"mi_res_id", other.ResourceID, "the resource ID of another identity"},
		{"msi_res_id", other.ResourceID, "the resource ID of another identity, in the old parameter"},
		{"object_id", "00000000-0000-4000-8000-000000000000", "the object ID of nobody"},
		{"mi_res_id", other.ResourceID + "-2", "the resource ID of nobody"},
	}
	steps := []ask.Step{token(t, "control")}
	for _, s := range selections {
		steps = append(steps, token(t, s.title, s.parameter, s.value))
	}
	made := call(ctx, t, newPod(ctx, t, "selects", app, caller(t, "app", steps...)))
	gets(t, "a request that selects nobody, as a control,", made.of(t, "app", "control"), t.Identity(app, reader).ClientID)
	for _, s := range selections {
		t.Case(ctx, s.parameter+": "+s.title, func(_ context.Context, t *suites.T) {
			a := made.of(t, "app", s.title)
			if a.Token == nil {
				faults(t, "a request that selects "+s.title, a)
				return
			}
			honoured := s.value == other.PrincipalID || s.value == other.ResourceID
			t.Check(honoured && a.Token.Object == other.PrincipalID,
				"who selects %s by %s=%s is given a token of object %s, client %s", s.title, s.parameter, s.value, a.Token.Object, a.Token.Application)
		})
	}
}
