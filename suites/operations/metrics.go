package operations

import "github.com/wi-e2e/wi-e2e/suites"

func metricsTests() []suites.Test {
	return nil
}
