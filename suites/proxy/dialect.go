package proxy

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/suites"
)

func dialectTests() []suites.Test {
	return []suites.Test{{
		ID:    "proxy-imds-dialect",
		Title: "The proxy speaks as IMDS does: what it requires, how it writes numbers and errors, and whose fault a refusal is",
		Tier:  suites.Proxy, Requirements: []string{"PRX-12"},
		Needs: needs(), Trust: append(trusted(reader), suites.Trust{Account: app, Identity: stranger, NoCredential: true, Refused: "AADSTS70025"}),
		Body: dialect,
	}}
}

func dialect(ctx context.Context, t *suites.T) {
	with := func(name string, headers http.Header) ask.Step {
		step := token(t, name)
		step.Request.Headers = headers
		return step
	}
	refused := []ask.Step{
		with("without the header Metadata", nil),
		with("with Metadata: false", http.Header{"Metadata": {"false"}}),
		with("that was forwarded", http.Header{"Metadata": {"true"}, "X-Forwarded-For": {"192.0.2.1"}}),
		tokenFor("without a resource"),
	}
	// Whom Entra ID refuses, and why.
	byEntra := []struct {
		ask.Step
		code string
	}{
		{token(t, "for a client that Entra ID does not know", "client_id", uuid.NewString()), "AADSTS700016"},
		{token(t, "for a client that does not trust the account", "client_id", t.Identity(app, stranger).ClientID), "AADSTS70025"},
		{tokenFor("for a resource that Entra ID does not know", "resource", "https://unknown.wi-e2e.dev"), "AADSTS500011"},
	}
	steps := append([]ask.Step{token(t, "control")}, refused...)
	for _, e := range byEntra {
		steps = append(steps, e.Step)
	}
	made := call(ctx, t, newPod(ctx, t, "dialect", app, caller(t, "app", steps...)))
	answer := func(step string) ask.Answer { return made.of(t, "app", step) }

	t.Case(ctx, "numbers are strings", func(_ context.Context, t *suites.T) {
		a := answer("control")
		gets(t, "a good request", a, t.Identity(app, reader).ClientID)
		var fields answerFields
		t.Require(json.Unmarshal([]byte(a.Body), &fields) == nil, "the answer is no JSON: %s", say(a))
		for name, value := range map[string]any{"expires_on": fields.ExpiresOn, "expires_in": fields.ExpiresIn, "not_before": fields.NotBefore} {
			_, ok := value.(string)
			t.Check(ok, "%s is no string: %v", name, value)
		}
	})
	for _, step := range refused {
		t.Case(ctx, "a request "+step.Name, func(_ context.Context, t *suites.T) {
			refuses(t, "a request "+step.Name, answer(step.Name), http.StatusBadRequest)
			isError(t, answer(step.Name))
		})
	}
	for _, e := range byEntra {
		t.Case(ctx, "a request "+e.Name, func(ctx context.Context, t *suites.T) {
			faults(t, "a request "+e.Name, answer(e.Name))
			isError(t, answer(e.Name))
			t.Note("%s: %s", e.code, say(answer(e.Name)))
		})
	}
}

// isError expects the form of IMDS' errors.
func isError(t *suites.T, a ask.Answer) {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	err := json.Unmarshal([]byte(a.Body), &body)
	t.Check(err == nil && body.Error != "" && body.Description != "", "the answer is no JSON with error and error_description: %s", say(a))
}
