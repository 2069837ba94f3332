package exchange

import (
	"slices"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
)

// rows are the workloads that keep the contract of package workloads: every SDK × library that supports workload identity and
// can be asked for more than to read a secret.
func rows() []workloads.Workload {
	return slices.DeleteFunc(workloads.Catalogue(), func(w workloads.Workload) bool { return w.Sample != nil || w.Migrates })
}

// forEveryRow is one test for each row: in one language something may work that does not in another, and none hides another.
func forEveryRow(test func(w workloads.Workload) suites.Test) []suites.Test {
	var tests []suites.Test
	for _, w := range rows() {
		tests = append(tests, test(w))
	}
	return tests
}
