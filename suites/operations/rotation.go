package operations

import "github.com/wi-e2e/wi-e2e/suites"

func rotationTests() []suites.Test {
	return nil
}
