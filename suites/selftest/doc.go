// Package selftest proves the suites: it runs them against every mutant of the reference (fixtures/reference/mutants), and
// tells which test notices which fault.
//
// A mutant has to be killed by a test of the requirement that it breaks: the test fails, and that is held against the
// requirement. An error kills nothing. The conformant reference must pass all tests, and each test must kill a mutant.
//
// It covers the tier admission, whose webhooks are registered side by side in one cluster, and answer from this process.
// The tiers exchange, proxy and issuer are proved by their own teeth tests, in simulated worlds.
package selftest
