// Package suites holds what is asserted and how: the vocabulary of tests (Test, T), the requirement catalogue, the
// plan that decides which tests run, and the execution of one test.
//
// A tier is a folder below this one (admission, issuer); suites/runner walks the whole road of a run.
// A suite never imports another suite. The package brings up no cluster and renders no report.
//
// To find a rule, its test and its evidence: requirements.yaml has the rule under its id (EXP-03);
// the id stands in the Requirements of its tests (grep '"EXP-03"'); the record and the summary
// of a run list the test's cases under that id.
//
// Tests are not bodies of testing.T, on purpose: a test here needs an outcome that testing.T does not have (error: the
// harness broke, as against fail: the subject broke), a time-out of its own, and a panic that
// costs one test instead of the run; and it must count the expectations it evaluated, so that a
// test that checked nothing is never green.
package suites
