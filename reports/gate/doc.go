// Package gate decides whether a release may go out, from records and a policy alone.
//
// It is stricter than a run: what a run was told to accept (a skip, a waiver, an older record) has to be accepted by the policy, too. It
// believes no sum: statuses and verdict are judged again, and what the records leave out is held against the catalogue of requirements.
// It runs nothing and reads no clock or file but those that it is given.
package gate
