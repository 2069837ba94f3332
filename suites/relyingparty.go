package suites

import "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

// RelyingParty fetches the documents of the cluster's issuer as one on the internet does: it trusts what the public trusts, or
// the emulator's authority, has no credentials, and is where the API server is not reached.
func (t *T) RelyingParty() policy.Transporter {
	if t.run.env.RelyingParty == nil {
		t.Broken("test %s needs a public issuer without saying so (Needs)", t.run.test.ID)
	}
	return t.run.env.RelyingParty
}
