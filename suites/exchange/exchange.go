// Package exchange is the tier that exchanges tokens: pods get a Key Vault secret with nothing but what the webhook
// injected, and do not get it where they must not. Its rules are those of section 11, and those of sections 5 and 10 that
// need a running pod or a relying party.
//
// Its programs are in fixtures/workloads, its Azure, emulated or real, was set up by the runner (suites.Azure). The tests
// know no difference between the two, except that an emulator can be asked what it decided.
package exchange

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Identities that more than one test uses.
var (
	// reader may read the vault's secrets.
	reader = suites.Identity{Name: "reader", Reads: true}
	// otherReader may as well; a pod that is meant to be one of them must not be the other.
	otherReader = suites.Identity{Name: "other-reader", Reads: true}
	// unprivileged gets tokens, and has no role.
	unprivileged = suites.Identity{Name: "unprivileged"}
)

// app is the service account of tests that need just one.
const app = "app"

// sample is the workload of tests that are not about the SDKs.
const sample = "go-azidentity"

// Tests of the tier.
func Tests() []suites.Test {
	return slices.Concat(
		rowTests(), sampleTests(), expiredTests(), mappingTests(), selectionTests(), shapeTests(), vaultTests(),
		federationTests(), tokenTests(), rotationTests(), virtualNodeTests(),
	)
}

// trusted is the trust of an identity in the account "app".
func trusted(identity suites.Identity) []suites.Trust {
	return []suites.Trust{{Account: app, Identity: identity}}
}

// needs are the capabilities of a test whose pods run these workloads.
func needs(workloads ...string) []suites.Capability {
	all := []suites.Capability{suites.Nodes, suites.AzureAvailable}
	for _, w := range workloads {
		all = append(all, suites.WorkloadImage(w))
	}
	return all
}
