// Package proxy is the tier of the proxy sidecar: applications that only know IMDS run in pods beside it, and get tokens of the identity
// that the pod's service account names. Its rules are those of section 7 that need a running pod.
//
// What a pod sees is told by the program of fixtures/ask, which calls IMDS as applications do; migration is shown with the SDKs
// of fixtures/workloads. A proxy is known by its own answers, and by what the nodes' metadata service was not asked.
package proxy

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Identities of the tests.
var (
	// reader may read the vault's secrets.
	reader = suites.Identity{Name: "reader", Reads: true}
	// otherReader trusts the same accounts. Who is meant to be the one must not be the other.
	otherReader = suites.Identity{Name: "other-reader", Reads: true}
	// stranger trusts nobody.
	stranger = suites.Identity{Name: "no-credential"}
)

// app is the service account of tests that need just one.
const app = "app"

// Tests of the tier.
func Tests() []suites.Test {
	return slices.Concat(
		redirectTests(), tokenTests(), dialectTests(), cacheTests(), passThroughTests(), startTests(), skipTests(), migrationTests(),
	)
}

// needs are the capabilities of all tests, and others.
func needs(others ...suites.Capability) []suites.Capability {
	return append([]suites.Capability{suites.Nodes, suites.AzureAvailable, suites.SelfImage, suites.ProxyImage}, others...)
}

// trusted are the trusts of identities in the account "app", the first of which it names.
func trusted(identities ...suites.Identity) []suites.Trust {
	var all []suites.Trust
	for _, identity := range identities {
		all = append(all, suites.Trust{Account: app, Identity: identity})
	}
	return all
}
