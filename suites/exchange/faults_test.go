package exchange

import (
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads/goworkload"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// fault is one of a world that the subject and Azure have no part in: kubelet, workload and evidence. The tests of its requirement must
// find each of these. The faults of the others are in the registry (package mutants).
type fault struct {
	name        string
	requirement string
	fault       func(w *simulated.World)
	findings    []string
}

var faults = []fault{
	{"the workload is another client", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.ClientID = unknown }),
		finds("client ID of the token")},
	{"the workload fails at last", "EXC-01", exiting(1), finds("exit code of container app")},
	{"the image holds another library", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Library = "adal" }),
		finds("language and library")},
	{"the image holds a program in another language", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Language = "rust" }),
		finds("language and library")},
	{"the library is too old", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Version = "v1.2.2" }),
		finds("version v1.2.2 of azidentity is older than 1.3.0")},
	{"the library's version is not known", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Version = "unknown" }),
		finds("version unknown of azidentity is older than 1.3.0, or none")},
	{"another version exchanges than the program says", "EXC-01",
		onResults(func(_ workloads.Attempt, r *workloads.Result) { r.Version = "98.0.0" }),
		finds("go-azidentity as Azure saw it: the program says that its azidentity is 98.0.0; the exchange came from")},
	{"the program has its token from elsewhere", "EXC-01",
		onEvidence(func(e *evidence.Entry) { e.Status = http.StatusForbidden }),
		finds("go-azidentity as Azure saw it: Azure gave 0 tokens for 3 attempts")},
	{"one of the ways took a token that was there", "EXC-01",
		onGrants(func(nth int, e *evidence.Entry) {
			if nth == 0 {
				e.Status = http.StatusForbidden
			}
		}),
		finds("go-azidentity as Azure saw it: Azure gave 2 tokens for 3 attempts")},
	{"the exchange is another client's", "EXC-01",
		onEvidence(func(e *evidence.Entry) { e.ClientID = unknown }),
		finds("go-azidentity as Azure saw it: client ID of the exchange")},
	{"a program of somebody else shows another secret", "EXC-01",
		func(w *simulated.World) { w.API.Node.Shown = "another" },
		finds("what dotnet-azure-mcp shows is not the secret")},
	{"a program of somebody else shows no secret", "EXC-01",
		onEnvironment(func(c corev1.Container, env map[string]string) {
			if strings.Contains(c.Image, "/dotnet-azure-mcp:") {
				delete(env, suites.TokenFileVariable)
			}
		}),
		finds("dotnet-azure-mcp does not show the secret")},

	{"WorkloadIdentityCredential fails", "EXC-02",
		failingWay("workload"),
		finds("go-azidentity with credential workload: go-azidentity does not get the secret")},
	{"DefaultAzureCredential fails", "EXC-02",
		failingWay("default"),
		finds("go-azidentity with credential default: go-azidentity does not get the secret")},
	{"ChainedTokenCredential fails", "EXC-02",
		failingWay("chained"),
		finds("go-azidentity with credential chained: go-azidentity does not get the secret")},
	{"a way leads to another secret", "EXC-02", onResults(func(a workloads.Attempt, r *workloads.Result) {
		if a.Credential == "default" {
			r.SecretSHA256 = strings.Repeat("0", 64)
		}
	}), finds("go-azidentity with credential default: SHA-256 of the secret")},
	{"every way is the same", "EXC-02", onAttempts(func(a *workloads.Attempt) { a.Credential = "" }), finds(
		"with credential default: it is WorkloadIdentityCredential that was exercised",
		"with credential chained: it is WorkloadIdentityCredential that was exercised")},

	{"a client ID in code is ignored", "EXC-03",
		ignoringTheCode,
		finds("client ID of the token that an identity that the code names got")},
	{"a client ID in code is ignored, and not told", "EXC-03", func(w *simulated.World) {
		ignoringTheCode(w)
		onResults(func(a workloads.Attempt, r *workloads.Result) {
			if a.ClientID != "" {
				r.ClientID = a.ClientID
			}
		})(w)
	}, finds("an identity that the code names: Azure never decided on client", "Azure gave client")},
	{"two identities are one", "EXC-03", func(w *simulated.World) {
		for key := range w.Env.Azure.Trusted {
			one := w.Env.Azure.Trusted[suites.TrustKey{Test: key.Test, Account: many, Identity: reader.Name}]
			w.Env.Azure.Trusted[suites.TrustKey{Test: key.Test, Account: many, Identity: otherReader.Name}] = one
		}
	}, finds("the two identities are one")},

	{"a refusal comes when the secret is asked for", "EXC-04", onResults(func(_ workloads.Attempt, r *workloads.Result) {
		if r.Error != nil {
			r.Error.Stage = goworkload.StageSecret
		}
	}), finds(
		"an identity without federated credentials should be refused at stage token",
		"a token that has expired should be refused at stage token")},
	{"a refused workload succeeds at last", "EXC-04", exiting(0), finds("exit code of container app")},
	{"Azure has no record of its refusals", "EXC-04",
		onEvidence(func(e *evidence.Entry) { e.Code = "" }),
		finds("an identity without federated credentials: Azure never decided on client",
			"a client that Azure does not know: Azure never decided on client",
			"a token for another audience: Azure never decided on client",
			"a token that has expired: Azure never decided on client")},
	{"the trusted identity gets no token beside the others but before them", "EXC-04", onGrants(func(nth int, e *evidence.Entry) {
		if nth >= 3 { // after those of the ways
			e.Code = "AADSTS50000"
		}
	}), finds(
		"control: an identity that trusts the account: Azure never decided on client",
		"control: a token of the cluster for the audience, from another file: Azure never decided on client",
		"control: a token that the cluster's key signed now is accepted: Azure never decided on client")},
	{"Azure recorded another reason", "EXC-04", onEvidence(func(e *evidence.Entry) {
		if e.Code == "AADSTS7002138" {
			e.Code = "AADSTS700213"
		}
	}), finds(`a credential whose subject differs in case only: Azure never decided on client`, `(its last answer to it: "AADSTS700213")`)},
	{"Azure refused other clients", "EXC-04",
		onEvidence(func(e *evidence.Entry) { e.ClientID = unknown }),
		finds("a credential of another account: Azure never decided on client")},
	{"a tenant in code is ignored", "EXC-04",
		onAttempts(func(a *workloads.Attempt) { a.TenantID = "" }),
		finds("a tenant that Azure does not know gets the secret")},
	{"a token file in code is ignored", "EXC-04",
		onAttempts(func(a *workloads.Attempt) { a.TokenFile = "" }),
		finds("a token of another cluster gets the secret", "a token that has expired gets the secret")},

	{"pods without the label are refused by Azure", "EXC-05", func(w *simulated.World) {
		w.API.Registration.ObjectSelector = nil
		mutant("entra-refuses-programs")(w)
	}, finds("a pod without the label should be refused at stage token with CredentialUnavailable: token: AADSTS700213")},
	{"what has no credential succeeds at last", "EXC-05",
		exiting(0),
		finds("exit code of container app", "exit code of container skipped")},

	{"the token is root's alone", "VOL-06", onReports(func(r *probe.Report) {
		if r.UID != 0 {
			r.ReadError, r.Mode = "permission denied", "0600"
		}
	}), finds(
		"a non-root container without fsGroup: user 1000 cannot read", "containers of several users, root among them: user 2000 cannot read")},
	{"the token is one user's alone", "VOL-06", onReports(func(r *probe.Report) {
		if r.UID == 2000 {
			r.ReadError, r.Mode = "permission denied", "0600"
		}
	}), finds("user 2000 cannot read")},
	{"the token can be written by its user", "VOL-06", onReports(func(r *probe.Report) {
		if r.UID == 1000 {
			r.WriteError = ""
		}
	}), finds("user 1000 can open the token for writing")},
}

func finds(texts ...string) []string { return texts }
