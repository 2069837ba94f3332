package runner

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/suites"
)

func trust(test, account, identity string) plannedTrust {
	return plannedTrust{
		Trust: suites.Trust{Account: account, Identity: suites.Identity{Name: identity, Reads: identity == "reader"}}, test: test, namespace: test,
		credential: azure.FederatedCredential{Name: test + "-" + account, Issuer: "https://i", Subject: test + ":" + account, Audience: "a"},
	}
}

func TestTrustsShareIdentitiesUpToAzuresLimit(t *testing.T) {
	var list []plannedTrust
	for i := range 2*azure.MaxFederatedCredentials + 1 {
		list = append(list, trust(fmt.Sprintf("test-%d", i), "app", "reader"))
	}
	list = append(list, trust("test-0", "app", "other"))
	none := trust("test-1", "app", "none")
	none.NoCredential = true
	list = append(list, none)

	planned := planTrusts(list)
	credentials := map[string]int{}
	for _, p := range planned.plan {
		credentials[p.Name] = len(p.Credentials)
		if reads := planned.reads(p); reads != (p.Role == "reader") {
			t.Errorf("identity %s reads: %v", p.Name, reads)
		}
	}
	want := map[string]int{"reader": 20, "reader-2": 20, "reader-3": 1, "other": 1, "none": 0}
	if fmt.Sprint(credentials) != fmt.Sprint(want) {
		t.Errorf("identities with credentials: %v, want %v", credentials, want)
	}
	for _, trust := range list {
		name := planned.identityOf(trust)
		i := slices.IndexFunc(planned.plan, func(p azure.PlannedIdentity) bool { return p.Name == name })
		if p := planned.plan[i]; p.Role != trust.Identity.Name || !trust.NoCredential && !slices.Contains(p.Credentials, trust.credential) {
			t.Errorf("account %s of %s is given identity %s", trust.Account, trust.test, name)
		}
	}
}

func TestValidateAzure(t *testing.T) {
	for _, c := range []struct {
		name   string
		config AzureConfig
		err    string
	}{
		{"nothing said", AzureConfig{}, ""},
		{"the real one", AzureConfig{Mode: "real", Cloud: "AzureChinaCloud", SubscriptionID: "s", Location: "l", Tags: map[string]string{"a": "b"}}, ""},
		{"a custom one", AzureConfig{Mode: "real", Custom: &CustomCloud{"https://login.example/", "https://arm.example", "https://arm.example/", "vault.example"}}, ""},
		{"an unknown mode", AzureConfig{Mode: "fake"}, `unknown azure "fake" (there are: emulated, real)`},
		{"an unknown cloud", AzureConfig{Mode: "real", Cloud: "Sky"}, `unknown Azure cloud "Sky"`},
		{"two clouds", AzureConfig{Mode: "real", Cloud: "AzureChinaCloud", Custom: &CustomCloud{}}, "leave one of them out"},
		{"half a custom cloud", AzureConfig{Mode: "real", Custom: &CustomCloud{Authority: "https://login.example"}}, "is not an https URL"},
		{"a subscription of the emulator", AzureConfig{SubscriptionID: "s"}, "go with the real Azure"},
	} {
		t.Run(c.name, func(t *testing.T) { expectUsage(t, c.config.validate(), c.err) })
	}
}
