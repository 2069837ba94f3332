package selftest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/webhook"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// How much goes on at a time. To be registered a webhook waits, to be tested it computes.
const (
	parallelInstalls = 32
	parallelMutants  = 12
	parallelCases    = 32
)

// Options of a self-test.
type Options struct {
	// Tests of the tier admission, Catalogue the requirements that they name.
	Tests     []suites.Test
	Catalogue []suites.Requirement
	// Mutants to run. Tests are called unproved only if they are all that there are.
	Mutants []mutants.Mutant
	// EveryTest runs all tests against each mutant, and not only those of the rule that it breaks. That takes minutes.
	EveryTest bool
	// Progress receives one-line notes; never nil.
	Progress func(note string)
}

// Run runs the tests against the mutants and the conformant reference, side by side. An error means that there is no result.
func Run(ctx context.Context, lab *Lab, options Options) (*Matrix, error) {
	started, cpu := time.Now(), reports.CPUSeconds()
	trials := conformant(options)
	for i, m := range options.Mutants {
		trials = append(trials, &trial{run: fmt.Sprintf("m%d", i), mutant: &m, Row: Row{
			ID: m.ID, Fault: m.Fault, Requirement: m.Requirement, Part: m.Part(),
		}})
	}
	options.Progress(fmt.Sprintf("registering %d webhooks", len(trials)))
	if err := install(ctx, lab, trials); err != nil {
		return nil, err
	}
	slots := make(chan struct{}, parallelCases)
	var mu sync.Mutex
	finished := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelMutants)
	for _, t := range trials {
		group.Go(func() error {
			t.judge(ctx, options, slots)
			mu.Lock()
			defer mu.Unlock()
			finished++
			options.Progress(fmt.Sprintf("%d of %d webhooks tested", finished, len(trials)))
			return context.Cause(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("test the mutants: %w", err)
	}
	matrix := newMatrix(options, trials)
	matrix.Started, matrix.Seconds, matrix.CPUSeconds = started.UTC(), time.Since(started).Seconds(), reports.CPUSeconds()-cpu
	return matrix, nil
}

// trial is one webhook in the lab: a mutant, or the conformant reference if mutant is nil.
type trial struct {
	Row
	run      string
	mutant   *mutants.Mutant
	endpoint bool // section 8 is configured
	env      *suites.Env
	alarms   []Alarm
}

// conformant is the reference, without a custom token endpoint and with one. The tests that have nothing to do with it run once.
func conformant(options Options) []*trial {
	trials := []*trial{{run: "conformant", Row: Row{ID: "reference"}}}
	if slices.ContainsFunc(options.Mutants, func(m mutants.Mutant) bool { return m.CustomTokenEndpoint }) {
		trials = append(trials, &trial{run: "conformant-e", Row: Row{ID: "reference with a custom token endpoint"}, endpoint: true})
	}
	return trials
}

func install(ctx context.Context, lab *Lab, trials []*trial) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelInstalls)
	for _, t := range trials {
		group.Go(func() error {
			var err error
			t.env, err = t.install(ctx, lab)
			return err
		})
	}
	return group.Wait()
}

// install registers the trial's webhook, as the reference would be on a cluster of Azure's government: its authority host is
// nobody's default.
func (t *trial) install(ctx context.Context, lab *Lab) (*suites.Env, error) {
	mutation := &webhook.Mutation{
		TenantID: "tenant-of-the-installation", AuthorityHost: "https://login.microsoftonline.us/", Audience: webhook.DefaultAudience,
		ProxyImage: "wi-e2e.invalid/proxy:1", NativeSidecar: true,
	}
	w := Webhook{Run: t.run, AnyNamespace: t.looksAtNamespaces(), Subject: subject.Installed{
		Profile: subject.Latest, TenantID: mutation.TenantID, Environment: "AzureUSGovernment",
		AuthorityHost: mutation.AuthorityHost, Audience: mutation.Audience,
	}}
	var fault reference.Fault
	if t.mutant != nil {
		fault, w.Register, t.endpoint = t.mutant.Webhook, t.mutant.Register, t.mutant.CustomTokenEndpoint
	}
	if t.endpoint {
		mutation.CustomTokenEndpoint = &webhook.CustomTokenEndpoint{
			AnnotationSuffix: "identity-binding", Audience: "api://AKSIdentityBinding", URL: "https://kubernetes.default.svc",
			SNIName: "identity-binding.wi-e2e.dev", CAConfigMap: "kube-root-ca.crt",
		}
		w.Subject.CustomTokenEndpoint = &subject.CustomTokenEndpoint{
			AnnotationSuffix: mutation.CustomTokenEndpoint.AnnotationSuffix, Audience: mutation.CustomTokenEndpoint.Audience,
		}
	}
	w.Handler = reference.NewHandler(mutation, lab.kube.CoreV1(), fault)
	return lab.Install(ctx, w)
}

// judge runs the tests: on a mutant those of the rule that it breaks, cheap ones first, and the others only if these do not kill it.
func (t *trial) judge(ctx context.Context, options Options, slots chan struct{}) {
	started := time.Now()
	defer func() { t.Seconds = time.Since(started).Seconds() }()
	var own, others []suites.Test
	for _, test := range options.Tests {
		switch {
		case !t.suits(test):
		case t.mutant != nil && slices.Contains(test.Requirements, t.Requirement):
			own = append(own, test)
		default:
			others = append(others, test)
		}
	}
	execute := func(test suites.Test) reports.Test {
		return suites.Execute(ctx, t.env, test, suites.ViolationStatus(test, options.Catalogue, true), slots)
	}
	if t.mutant == nil {
		for _, test := range others {
			if result := execute(test); result.Status != reports.Pass {
				t.alarms = append(t.alarms, Alarm{Webhook: t.ID, Test: test.ID, Status: result.Status, Finding: finding(result, result.Status)})
			}
		}
		return
	}
	slices.SortStableFunc(own, func(a, b suites.Test) int { return cmp.Compare(a.Timeout, b.Timeout) })
	for _, test := range own {
		if !costly(test) || t.isFirstFor(test, options) || options.EveryTest || len(t.KilledBy) == 0 {
			t.add(execute(test), true)
		} else {
			t.NotRun = append(t.NotRun, test.ID)
		}
	}
	if options.EveryTest || len(t.KilledBy) == 0 {
		for _, test := range others {
			t.add(execute(test), false)
		}
	}
	t.Outcome = t.outcome()
}

// costly tests send hundreds of pods. Each runs on the first mutant of its rules, to be proved, and on mutants that no other
// test kills.
func costly(test suites.Test) bool { return test.Timeout > suites.DefaultTimeout }

// isFirstFor says whether no mutant before this one breaks a rule of the test.
func (t *trial) isFirstFor(test suites.Test, options Options) bool {
	i := slices.IndexFunc(options.Mutants, func(m mutants.Mutant) bool { return slices.Contains(test.Requirements, m.Requirement) })
	return i >= 0 && options.Mutants[i].ID == t.ID
}

// looksAtNamespaces says whether the trial is about which namespaces the webhook selects.
func (t *trial) looksAtNamespaces() bool {
	return t.mutant == nil && !t.endpoint || t.Requirement == namespaces
}

// namespaces is the rule of the namespaceSelector, which the other mutants have to keep apart.
const namespaces = "SEL-06"

// suits says whether the test can be run on the trial's webhook.
func (t *trial) suits(test suites.Test) bool {
	if slices.Contains(test.Requirements, namespaces) && !t.looksAtNamespaces() {
		return false
	}
	needs := func(c suites.Capability) bool { return slices.Contains(test.Needs, c) }
	if t.mutant == nil && t.endpoint { // the other tests run on the reference without one
		return needs(suites.CustomTokenEndpoint)
	}
	return !needs(suites.CustomTokenEndpoint) && !t.endpoint || t.endpoint && !needs(suites.NoCustomTokenEndpoint)
}
