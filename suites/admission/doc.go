// Package admission decides sections 1 to 9 of the specification as far as an API server can: pods
// are created with a server-side dry run, so nothing is scheduled and almost nothing is stored. What is
// stored: a namespace and service accounts for each test and, where a rule speaks of existing pods, a
// pod with a scheduling gate that nobody opens.
//
// Each file holds the tests of one section, as literals that name their requirements; dryrun.go sends
// pods, injection.go says what a webhook added to them. What happens inside a running container is the business of later tiers.
package admission
