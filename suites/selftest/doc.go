// Package selftest proves the suites: it runs them against every mutant of the reference (fixtures/reference/mutants), and
// tells which test notices which fault.
//
// A mutant has to be killed by a test of the requirement that it breaks: the test fails, and that is held against the
// requirement, in the words that the mutant wants. An error kills nothing. The conformant reference must pass all tests, and
// each test must kill a mutant.
//
// The tier admission is run on a real API server, on which the mutants are registered side by side and answer from this process.
// The other tiers are run in simulated worlds (suites/simulated): there, a mutant takes a fraction of a second and no cluster.
package selftest
