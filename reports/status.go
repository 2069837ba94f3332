package reports

import "slices"

// Status is the outcome of a case, test, requirement, phase or run.
type Status string

// The lattice, from least to most severe. The status of a whole is the most severe of its parts.
const (
	Skip  Status = "skip"  // not executed, for a reason that the plan gave beforehand
	Pass  Status = "pass"  // every expectation held
	Warn  Status = "warn"  // a SHOULD or INFO requirement was not met, or what was not met is waived
	Flake Status = "flake" // passed, but not in every attempt
	Fail  Status = "fail"  // the subject broke a MUST
	Error Status = "error" // the harness or its environment broke: nothing is known about the subject
)

var severity = []Status{Skip, Pass, Warn, Flake, Fail, Error}

// Worst is the most severe of the statuses; Skip when there are none. An unknown status counts as Error.
func Worst(statuses ...Status) Status {
	worst := Skip
	for _, s := range statuses {
		if !slices.Contains(severity, s) {
			return Error
		}
		if slices.Index(severity, s) > slices.Index(severity, worst) {
			worst = s
		}
	}
	return worst
}

// WorstOf is the worst status of findings; Pass without any.
func WorstOf(findings []Finding) Status {
	worst := Pass
	for _, f := range findings {
		worst = Worst(worst, f.Status)
	}
	return worst
}

// Exit codes of the binary (design, section 8).
const (
	ExitPass        = 0
	ExitFailed      = 1 // the subject failed, if only in some attempts, or a waiver does not hold
	ExitUsage       = 2 // flags, arguments or configuration
	ExitEnvironment = 3 // the environment, or setting it up
	ExitRefused     = 4 // the gate does not let the record pass
	ExitLeaked      = 5 // the clean-up left something behind
	ExitInterrupted = 130
)
