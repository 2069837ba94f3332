package operations

import "github.com/wi-e2e/wi-e2e/suites"

func upgradeTests() []suites.Test {
	return nil
}
