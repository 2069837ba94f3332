// Package runner walks the road of a run: configuration, cluster, subject, plan, tests, waivers, clean-up, record.
//
// Every step is a phase of the record. What is made outside the process is in the ledger first. The package decides no rule
// (see the tiers) and renders no report (see reports); it does hold the vacuity guards: a run that did not do what
// its plan said, or proved nothing, is an error.
package runner
