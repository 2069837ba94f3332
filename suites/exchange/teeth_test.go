package exchange

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// propagationTime is that of the Azure in which the propagation of federated credentials is tested. In the other, which has
// no need to wait, they hold at once.
const propagationTime = 300 * time.Millisecond

// newLabs makes an Azure for tests of a requirement.
func newLabs(t *testing.T) func(requirement string) *lab {
	t.Helper()
	slow, instant := newLab(t, propagationTime), newLab(t, 0)
	return func(requirement string) *lab {
		if requirement == "EXC-08" {
			return slow
		}
		return instant
	}
}

func TestTheConformantWorldPasses(t *testing.T) {
	labOf := newLabs(t)
	for _, test := range Tests() {
		t.Run(test.ID, func(t *testing.T) {
			t.Parallel()
			result := newWorld(t, labOf(test.Requirements[0]), test).run(t, test)
			if result.Status != reports.Pass {
				t.Errorf("it is %s:\n%s", result.Status, findings(result, ""))
			}
		})
	}
}

func findings(result reports.Test, status reports.Status) string {
	var text []string
	all := slices.Clone(result.Findings)
	for _, c := range result.Cases {
		for _, f := range c.Findings {
			f.Message = c.Name + ": " + f.Message
			all = append(all, f)
		}
	}
	for _, f := range all {
		if status == "" || f.Status == status {
			text = append(text, strings.TrimSpace(f.Message+"\n"+f.Diff))
		}
	}
	return strings.Join(text, "\n")
}

func testsOf(requirement string) []suites.Test {
	return slices.DeleteFunc(Tests(), func(test suites.Test) bool { return !slices.Contains(test.Requirements, requirement) })
}
