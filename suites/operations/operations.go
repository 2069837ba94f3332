// Package operations is the tier of what happens to an installation in the field: outages, rollouts, certificates, load, upgrades
// (behaviour specification, section 12).
//
// Its tests disturb the webhook on purpose, one at a time, and leave it as they found it. So they run only on an installation that the
// run made. What the webhook does to a pod is for the tier admission.
package operations

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Tests are all tests of the tier, in the order of the specification. They share one installation, so that they run one at a time, and
// nobody creates labelled pods beside them.
func Tests() []suites.Test {
	all := slices.Concat(outageTests(), certificateTests(), metricsTests(), loadTests(), doctorTests(), upgradeTests(), rotationTests())
	for i := range all {
		all[i].Tier, all[i].Serial = suites.Operations, true
	}
	return all
}
