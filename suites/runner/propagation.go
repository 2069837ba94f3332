package runner

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/suites"
)

// awaitPropagation sets the secret, and returns when Azure knows every federated credential of the tier's tests, and every
// grant to their identities. What it has to wait for is not the subject's doing, so it is a phase of its own (EXC-08).
func (s *stage) awaitPropagation(ctx context.Context, planned []suites.Planned) error {
	a := s.env.Azure
	if err := a.SetSecret(ctx, a.Vault, a.Secret, s.azure.secret); err != nil {
		return err
	}
	attempts, err := s.awaitTrusts(ctx, planned)
	if err != nil {
		return err
	}
	s.run.note(fmt.Sprintf("%d federated credentials and grants are known: %s; the budget is %s for each", len(attempts), describeAttempts(attempts), a.Propagation.Budget))
	return nil
}

// awaitTrusts returns when Azure knows the federated credentials of the tests and the grants to their identities, and how that went.
func (s *stage) awaitTrusts(ctx context.Context, planned []suites.Planned) ([]suites.Attempts, error) {
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("propagation"))
	if err != nil {
		return nil, err
	}
	probes := s.probes(kube, planned)
	attempts := make([]suites.Attempts, len(probes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32) // they pause most of their time
	for i, p := range probes {
		group.Go(func() (err error) {
			if attempts[i], err = s.env.Azure.Propagation.Await(ctx, p.wanted, p.passing, p.attempt); err != nil {
				return fmt.Errorf("%s: %w", p.what, err)
			}
			return nil
		})
	}
	return attempts, group.Wait()
}

// propagationProbe is one thing that Azure has to know.
type propagationProbe struct {
	what    string
	wanted  string // code of the refusal; "" for none
	passing func(code string) bool
	attempt func(context.Context) error
}

func (s *stage) probes(kube kubernetes.Interface, planned []suites.Planned) []propagationProbe {
	a := s.env.Azure
	var probes []propagationProbe
	readable := map[string]bool{}
	for _, p := range planned {
		if p.Skip != nil {
			continue
		}
		for _, trust := range p.Test.Trust {
			identity, _ := a.TrustedBy(suites.TrustKey{Test: p.Test.ID, Account: trust.Account, Identity: trust.Identity.Name})
			token := s.tokenOf(kube, p.Test.ID, trust.Account)
			probes = append(probes, propagationProbe{
				what:   fmt.Sprintf("trust of identity %s in service account %s of test %s", identity.Name, trust.Account, p.Test.ID),
				wanted: trust.Refused, passing: azure.IsPropagation,
				attempt: func(ctx context.Context) error {
					assertion, err := token(ctx)
					if err != nil {
						return err
					}
					return a.Exchange(ctx, identity.ClientID, assertion, a.Scope)
				},
			})
			if !trust.Identity.Reads || trust.Refused != "" || readable[identity.ClientID] {
				continue
			}
			readable[identity.ClientID] = true
			probes = append(probes, propagationProbe{
				what:    fmt.Sprintf("role of identity %s on vault %s", identity.Name, a.Vault.Name),
				passing: func(code string) bool { return code == "ForbiddenByRbac" || azure.IsPropagation(code) },
				attempt: func(ctx context.Context) error {
					assertion, err := token(ctx)
					if err != nil {
						return err
					}
					return a.ReadSecret(ctx, identity.ClientID, assertion, a.Vault, a.Secret)
				},
			})
		}
	}
	return probes
}

// tokenOf requests tokens of a test's service account, as the kubelet does for its pods.
func (s *stage) tokenOf(kube kubernetes.Interface, test, account string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ns, err := s.env.Namespace(ctx, kube, test)
		if err != nil {
			return "", err
		}
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{s.installed.Audience}}}
		answer, err := kube.CoreV1().ServiceAccounts(ns).CreateToken(ctx, account, request, metav1.CreateOptions{})
		if err != nil {
			return "", fmt.Errorf("request a token of service account %s/%s: %w", ns, account, err)
		}
		return answer.Status.Token, nil
	}
}
