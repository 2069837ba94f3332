// Package waivers holds a run to the known deviations of its subject, and the deviations to the run.
//
// A waived failure is told as such, and is a warning; never a pass, and never what broke in the harness. A waiver that is
// not needed is itself a failure: one that expired, one whose tests pass, one that matches nothing although its tests ran.
// The package decides from file, record and date alone. It runs no test and selects none.
package waivers
