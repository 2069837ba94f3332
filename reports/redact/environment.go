package redact

import "os"

// variables of this process' environment that are secrets: what Azure's SDKs and command line log in with, and the tokens of a pipeline's job.
var variables = []string{
	"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD",
	"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN", "GITHUB_TOKEN", "SYSTEM_ACCESSTOKEN",
}

// FromEnvironment withholds, beside what looks like a secret, those that this process was given by its environment.
func FromEnvironment() *Redactor {
	r := &Redactor{}
	for _, name := range variables {
		r.Add(os.Getenv(name))
	}
	return r
}
