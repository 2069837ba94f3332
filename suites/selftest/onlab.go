package selftest

import (
	"context"
	"fmt"
	"slices"

	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// labRun is a webhook on the lab: the conformant reference, or a mutant of it.
type labRun struct {
	run      string
	mutant   mutants.Mutant // the zero value is the conformant reference
	endpoint bool           // section 8 is configured
	env      *suites.Env
	slots    chan struct{} // of cases side by side
}

// namespaces is the rule of the namespaceSelector, which the other mutants have to keep apart.
const namespaces = "SEL-06"

// install registers the webhooks of the trials that go there.
func install(ctx context.Context, lab *Lab, options Options, trials []*trial) error {
	var runs []*labRun
	var webhooks []Webhook
	for _, t := range trials {
		if t.lab != nil {
			runs, webhooks = append(runs, t.lab), append(webhooks, t.lab.webhook(lab))
		}
	}
	if len(webhooks) == 0 {
		return nil
	}
	options.Progress(fmt.Sprintf("registering %d webhooks", len(webhooks)))
	envs, err := lab.Install(ctx, webhooks...)
	for i, env := range envs {
		runs[i].env, runs[i].slots = env, make(chan struct{}, parallelCases)
	}
	return err
}

// webhook is the reference as it would be on a cluster of Azure's government: its authority host is nobody's default.
func (r *labRun) webhook(lab *Lab) Webhook {
	mutation := &webhook.Mutation{
		TenantID: "tenant-of-the-installation", AuthorityHost: "https://login.microsoftonline.us/", Audience: webhook.DefaultAudience,
		ProxyImage: "wi-e2e.invalid/proxy:1", NativeSidecar: true,
	}
	w := Webhook{Run: r.run, Register: r.mutant.Register, AnyNamespace: r.looksAtNamespaces(), Subject: subject.Installed{
		Profile: subject.Latest, TenantID: mutation.TenantID, Environment: "AzureUSGovernment",
		AuthorityHost: mutation.AuthorityHost, Audience: mutation.Audience,
	}}
	if r.hasEndpoint() {
		mutation.CustomTokenEndpoint = &webhook.CustomTokenEndpoint{
			AnnotationSuffix: "identity-binding", Audience: "api://AKSIdentityBinding", URL: "https://kubernetes.default.svc",
			SNIName: "identity-binding.wi-e2e.dev", CAConfigMap: "kube-root-ca.crt",
		}
		w.Subject.CustomTokenEndpoint = &subject.CustomTokenEndpoint{
			AnnotationSuffix: mutation.CustomTokenEndpoint.AnnotationSuffix, Audience: mutation.CustomTokenEndpoint.Audience,
		}
	}
	w.Handler = reference.NewHandler(mutation, lab.kube.CoreV1(), r.mutant.Webhook)
	return w
}

func (r *labRun) execute(ctx context.Context, options Options, test suites.Test) (reports.Test, error) {
	return suites.Execute(ctx, r.env, test, suites.ViolationStatus(test, options.Catalogue, true), r.slots), nil
}

func (r *labRun) conformant() bool { return r.mutant.ID == "" }

func (r *labRun) hasEndpoint() bool { return r.endpoint || r.mutant.CustomTokenEndpoint }

// looksAtNamespaces says whether the run is about which namespaces the webhook selects.
func (r *labRun) looksAtNamespaces() bool {
	return r.conformant() && !r.endpoint || r.mutant.Requirement == namespaces
}

// suits says whether the test can be run on the webhook.
func (r *labRun) suits(test suites.Test) bool {
	if !isAdmission(test) || slices.Contains(test.Requirements, namespaces) && !r.looksAtNamespaces() {
		return false
	}
	needs := func(c suites.Capability) bool { return slices.Contains(test.Needs, c) }
	if r.conformant() && r.endpoint { // the other tests run on the reference without one
		return needs(suites.CustomTokenEndpoint)
	}
	return !needs(suites.CustomTokenEndpoint) && !r.hasEndpoint() || r.hasEndpoint() && !needs(suites.NoCustomTokenEndpoint)
}

func admissionTestsOf(r *labRun, tests []suites.Test) []suites.Test {
	return slices.DeleteFunc(slices.Clone(tests), func(t suites.Test) bool { return !r.suits(t) })
}

// admissionTests are those that can be run on the mutant; none if the fault is not the webhook's, or no rule of theirs is broken.
func admissionTests(m mutants.Mutant, tests []suites.Test) []suites.Test {
	if part := m.Part(); part != mutants.Webhook && part != mutants.Registration {
		return nil
	}
	suiting := admissionTestsOf(&labRun{mutant: m}, tests)
	if len(suites.TestsOf(m.Requirement, suiting)) == 0 {
		return nil
	}
	return suiting
}
