package reports

import (
	"fmt"
	"strings"
)

// Judge is the verdict on the record. interrupted says that the user ended the run, leaked what the clean-up left behind.
func (r *Record) Judge(interrupted bool, leaked []string) Verdict {
	status := Skip
	for _, p := range r.Phases {
		status = Worst(status, p.Status)
	}
	executed, cases, failed := 0, 0, 0
	byStatus := map[Status]int{}
	for _, t := range r.Tests {
		status = Worst(status, t.Status)
		byStatus[t.Status]++
		if len(t.Cases) > 0 {
			executed++
			cases += len(t.Cases)
		}
		if t.SubjectFailed() {
			failed++
		}
	}
	for _, q := range r.Requirements {
		status = Worst(status, q.Status)
	}
	v := Verdict{Status: status}
	switch {
	case interrupted:
		v.Status, v.ExitCode, v.Reason = Error, ExitInterrupted, fmt.Sprintf("interrupted after %d tests", executed)
	case len(leaked) > 0:
		v.Status, v.ExitCode = Error, ExitLeaked
		v.Reason = "the clean-up left behind: " + strings.Join(leaked, ", ")
	case status == Error:
		v.ExitCode, v.Reason = ExitEnvironment, r.errorReason(byStatus)
	case executed == 0 && r.Run.Shard != nil && byStatus[Skip] > 0:
		v.ExitCode, v.Reason = ExitPass, "every test of this shard was skipped: what the run proves is in the others"
	case executed == 0:
		v.Status, v.ExitCode, v.Reason = Error, ExitEnvironment, "no test was executed"
	case failed > 0:
		v.ExitCode, v.Reason = ExitFailed, fmt.Sprintf("%d of %d tests failed: the subject does not conform", failed, executed)
		if n := byStatus[Flake]; n > 0 {
			v.Reason += fmt.Sprintf(" (%d flaky: not in every attempt)", n)
		}
	case status == Fail:
		v.ExitCode, v.Reason = ExitFailed, "the subject conforms, but the waivers do not hold"
	default:
		v.ExitCode = ExitPass
		v.Reason = fmt.Sprintf("%d tests with %d cases, %d requirements", executed, cases, r.decidedRules())
		if n := byStatus[Warn]; n > 0 {
			v.Reason += fmt.Sprintf(", %d with warnings", n)
		}
		if waived := r.waivedFindings(); waived > 0 {
			v.Reason += fmt.Sprintf(", %d findings waived", waived)
		}
		if n := byStatus[Flake]; n > 0 {
			v.Reason += fmt.Sprintf(", %d flaky", n)
		}
	}
	return v
}

// errorReason names what broke first.
func (r *Record) errorReason(byStatus map[Status]int) string {
	for _, p := range r.Phases {
		if p.Status == Error {
			return fmt.Sprintf("phase %q broke, so the subject is not judged", p.Name)
		}
	}
	reason := fmt.Sprintf("%d tests broke, so they say nothing about the subject", byStatus[Error])
	if n := byStatus[Fail]; n > 0 {
		reason += fmt.Sprintf("; %d tests failed", n)
	}
	return reason
}

// decidedRules are those that something was executed for.
func (r *Record) decidedRules() int {
	n := 0
	for _, q := range r.Requirements {
		if Worst(q.Status) != Skip {
			n++
		}
	}
	return n
}

func (r *Record) waivedFindings() int {
	n := 0
	for _, w := range r.Waivers {
		n += w.Findings
	}
	return n
}
