package runner

import (
	"fmt"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/aks"
)

// runPlaceholder stands for the ID that a run draws.
const runPlaceholder = "<run>"

// Resources are all that a run on AKS would make in Azure, and what it may cost. It asks nobody. An error is a UsageError.
func Resources(config Config) (list []aks.Resource, cost string, err error) {
	if !config.usesAKS() {
		return nil, "", usage("a dry run shows what would be made in Azure for --provider aks; `wi-e2e plan` shows the tests")
	}
	if err := config.Validate(); err != nil {
		return nil, "", err
	}
	plan, err := Plan(config)
	if err != nil {
		return nil, "", &UsageError{err}
	}
	options := config.Cluster.AKS.options(config.Subject.kind(&config))
	options.Azure.Location = config.Azure.Location
	list = options.Resources("run-"+runPlaceholder, config.Cluster.KubernetesVersion)

	var trusted []plannedTrust
	for _, p := range plan.Tests {
		if p.Skip != nil {
			continue
		}
		for _, trust := range p.Test.Trust {
			credential := azure.FederatedCredential{Name: p.Test.ID + "-" + trust.Account, Subject: p.Test.ID + ":" + trust.Account}
			if trust.Altered != nil {
				credential = trust.Altered(credential)
			}
			trusted = append(trusted, plannedTrust{trust, p.Test.ID, p.Test.ID, credential})
		}
	}
	if len(trusted) == 0 {
		return list, options.Cost(config.Cluster.AKS.budget()), nil
	}
	group := azure.Options{Run: runPlaceholder}.GroupName()
	trusts := planTrusts(trusted)
	list = append(list, aks.Resource{Kind: "resource group", Name: group, Details: "for what follows"})
	for _, identity := range trusts.plan {
		role := ""
		if trusts.reads(identity) {
			role = "; a role assignment, to read the vault's secrets"
		}
		list = append(list, aks.Resource{
			Kind: "managed identity", Name: group + "-" + identity.Name, Details: fmt.Sprintf("federated credentials: %d%s", len(identity.Credentials), role),
		})
	}
	list = append(list, aks.Resource{Kind: "key vault", Name: azure.VaultName(runPlaceholder), Details: "with a secret, and a role assignment for the harness; purged in the end"})
	return list, options.Cost(config.Cluster.AKS.budget()), nil
}
