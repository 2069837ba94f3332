package admission

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Tests are all tests of the tier, in the order of the specification.
func Tests() []suites.Test {
	return slices.Concat(
		selectionTests(),
		mechanicsTests(),
		mechanicsUnchanged(),
		serviceAccountTests(),
		environmentTests(),
		diagnosisTests(),
		volumeTests(),
		expirationTests(),
		skipTests(),
		proxyTests(),
		windowsTests(),
		endpointTests(),
		profileTests(),
		fuzzTests(),
	)
}
