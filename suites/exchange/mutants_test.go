package exchange

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads/goworkload"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// mutant is a world with one fault. The tests of its requirement must fail, and find each of these.
type mutant struct {
	name        string
	requirement string
	fault       func(w *world)
	findings    []string
}

var mutants = slices.Concat([]mutant{
	{"the client ID is not injected", "EXC-01", onContainers(without(suites.ClientIDVariable)), finds(noneInjected)},
	{"the tenant ID is not injected", "EXC-01", onContainers(without(suites.TenantIDVariable)), finds(noneInjected)},
	{"the token file is not injected", "EXC-01", onContainers(without(suites.TokenFileVariable)), finds(noneInjected)},
	{"the token is not mounted", "EXC-01",
		onContainers(func(c *corev1.Container) { c.VolumeMounts = nil }),
		finds("does not get the secret")},
	{"the authority is another cloud's", "EXC-01", func(w *world) {
		w.API.Mutation.AuthorityHost = "https://login.microsoftonline.us/"
	}, finds("does not get the secret: token: no answer of Azure")},
	{"the token is for another audience", "EXC-01",
		func(w *world) { w.API.Mutation.Audience = "api://azureadtokenexchange" },
		finds("AADSTS7002137")},
	{"Azure refuses the workload", "EXC-01", refusing("AADSTS700213", anyone), finds("does not get the secret: token: AADSTS700213")},
	{"the vault forbids to read", "EXC-01",
		onSecrets("", managementRefusal(http.StatusForbidden, "Forbidden")),
		finds("does not get the secret: secret: Forbidden")},
	{"the vault has another secret", "EXC-01", onSecrets("", give("another")), finds("SHA-256 of the secret")},
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
		func(w *world) { w.API.Node.Shown = "another" },
		finds("what dotnet-azure-mcp shows is not the secret")},
	{"a program of somebody else shows no secret", "EXC-01",
		onEnvironment(func(c corev1.Container, env map[string]string) {
			if strings.Contains(c.Image, "/dotnet-azure-mcp:") {
				delete(env, suites.TokenFileVariable)
			}
		}),
		finds("dotnet-azure-mcp does not show the secret")},
	{"pods of controllers are not mutated", "EXC-01",
		func(w *world) {
			selects := w.API.Selects
			w.API.Selects = func(pod *corev1.Pod) bool { return selects(pod) && pod.OwnerReferences == nil }
		},
		finds("a Job: container app does not get the secret", "a Job of a CronJob: container app does not get the secret",
			"a Deployment, whose containers read again and again: container app does not get the secret")},
	{"only the first container of a pod is mutated", "EXC-01", onPods(func(pod *corev1.Pod) {
		for i := range pod.Spec.Containers[1:] {
			without(suites.TokenFileVariable)(&pod.Spec.Containers[i+1])
		}
	}), finds("a Job: container neighbour does not get the secret",
		"a Deployment, whose containers read again and again: container neighbour does not get the secret")},

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

	{"a changed annotation is never seen", "EXC-03",
		onAccounts(func() accountReader { return frozen(func(bool) bool { return true }) }),
		finds("after its annotation changed, a pod of account many still gets client ID")},
	{"a changed annotation is seen by dry runs only", "EXC-03",
		onAccounts(func() accountReader { return frozen(func(dryRun bool) bool { return !dryRun }) }),
		finds("client ID of the token that a pod after the annotation changed got")},
	{"the annotation is another account's", "EXC-03", onAccounts(func() accountReader {
		return func(pod *corev1.Pod, _ bool, account map[string]string) map[string]string {
			if pod.Spec.ServiceAccountName == second {
				return map[string]string{suites.ClientIDAnnotation: unknown}
			}
			return account
		}
	}), finds("account second is the identity that both accounts share: account second does not get the secret")},
	{"one of two accounts is refused", "EXC-03",
		refusing("AADSTS700213", ofAccount(first)),
		finds("account first is the identity that both accounts share: account first does not get the secret")},
	{"the second identity of an account is refused", "EXC-03",
		refusing("AADSTS700213", others),
		finds("an identity that the code names does not get the secret")},
	{"a client ID in code is ignored", "EXC-03",
		ignoringTheCode,
		finds("client ID of the token that an identity that the code names got")},
	{"a client ID in code is ignored, and not told", "EXC-03", func(w *world) {
		ignoringTheCode(w)
		onResults(func(a workloads.Attempt, r *workloads.Result) {
			if a.ClientID != "" {
				r.ClientID = a.ClientID
			}
		})(w)
	}, finds("an identity that the code names: Azure never decided on client", "Azure gave client")},
	{"two identities are one", "EXC-03", func(w *world) {
		for key := range w.Env.Azure.Trusted {
			one := w.Env.Azure.Trusted[suites.TrustKey{Test: key.Test, Account: many, Identity: reader.Name}]
			w.Env.Azure.Trusted[suites.TrustKey{Test: key.Test, Account: many, Identity: otherReader.Name}] = one
		}
	}, finds("the two identities are one")},
	{"both identities read another secret", "EXC-03",
		onSecrets("", give("another")),
		finds("SHA-256 of the secret that an identity that the code names got")},

	{"the trusted identity is refused beside the others", "EXC-04", refusing("AADSTS700213", theReader), finds(
		"control: an identity that trusts the account: an identity that trusts the account does not get the secret",
		"control: a token of the cluster for the audience, from another file: ",
		"control: a token that the cluster's key signed now is accepted: ")},
	{"a refusal comes when the secret is asked for", "EXC-04", onResults(func(_ workloads.Attempt, r *workloads.Result) {
		if r.Error != nil {
			r.Error.Stage = goworkload.StageSecret
		}
	}), finds(
		"an identity without federated credentials should be refused at stage token",
		"a token that has expired should be refused at stage token")},
	{"a refused workload succeeds at last", "EXC-04", exiting(0), finds("exit code of container app")},
	{"the network fails", "EXC-04", onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) {
		if a.code() != "" {
			panic(http.ErrAbortHandler)
		}
	}), everyRefusal("no answer of Azure")},
	{"a gateway refuses in Azure's place", "EXC-04", onAzure(simulated.LoginHost, func(_ *world, _ *http.Request, a *answer) {
		if a.code() != "" {
			a.page()
		}
	}), everyRefusal("no answer of Azure")},
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

	{"pods without the label are mutated", "EXC-05",
		func(w *world) { w.API.Selects = func(*corev1.Pod) bool { return true } },
		finds("a pod without the label gets the secret")},
	{"no container is skipped", "EXC-05", onAnnotation(func(map[string]string) {}), finds("the skipped container gets the secret")},
	{"every container is skipped", "EXC-05",
		onAnnotation(func(a map[string]string) { a[suites.SkipAnnotation] = "app;skipped" }),
		finds("the container that is not skipped does not get the secret")},
	{"the other container is skipped", "EXC-05",
		onAnnotation(func(a map[string]string) { a[suites.SkipAnnotation] = "app" }),
		finds("the container that is not skipped does not get the secret", "the skipped container gets the secret")},
	{"a skipped container has the variables", "EXC-05", func(w *world) {
		w.API.Mutated = func(pod *corev1.Pod) {
			for i := range pod.Spec.Containers {
				if pod.Spec.Containers[i].VolumeMounts == nil {
					pod.Spec.Containers[i].Env = pod.Spec.Containers[0].Env
				}
			}
		}
	}, finds("the skipped container should be refused at stage token with CredentialUnavailable: token: no answer of Azure")},
	{"pods without the label are refused by Azure", "EXC-05", func(w *world) {
		w.API.Selects = func(*corev1.Pod) bool { return true }
		refusing("AADSTS700213", anyone)(w)
	}, finds("a pod without the label should be refused at stage token with CredentialUnavailable: token: AADSTS700213")},
	{"what has no credential succeeds at last", "EXC-05",
		exiting(0),
		finds("exit code of container app", "exit code of container skipped")},

	{"the vault asks for no role", "EXC-06",
		onSecrets("ForbiddenByRbac", give(simulated.SecretValue)),
		finds("an identity without a role gets the secret")},
	{"the vault gives nobody the secret", "EXC-06",
		onSecrets("", managementRefusal(http.StatusForbidden, "ForbiddenByRbac")),
		finds("control: an identity that trusts the account: an identity that trusts the account does not get the secret")},
	{"a missing role is a missing authentication", "EXC-06",
		onSecrets("ForbiddenByRbac", func(a *answer) { a.status = http.StatusUnauthorized }),
		finds("an identity without a role: HTTP status 401, want 403")},
	{"a missing role is a policy's", "EXC-06",
		onSecrets("ForbiddenByRbac", managementRefusal(http.StatusForbidden, "ForbiddenByPolicy")),
		finds("an identity without a role should be refused at stage secret with ForbiddenByRbac: secret: ForbiddenByPolicy")},
	{"who has no role gets no token", "EXC-06",
		refusing("AADSTS700213", others),
		finds("an identity without a role should be refused at stage secret")},
	{"no token is needed", "EXC-06",
		onSecrets("AKV10000", give(simulated.SecretValue)),
		finds("a request without a token is challenged: HTTP status")},
	{"a missing token is forbidden", "EXC-06",
		onSecrets("AKV10000", func(a *answer) { a.status = http.StatusForbidden }),
		finds("a request without a token is challenged: HTTP status")},
	{"there is no challenge", "EXC-06",
		onSecrets("AKV10000", func(a *answer) { a.header.Del("WWW-Authenticate") }),
		finds("the challenge lacks Bearer", "the challenge lacks authorization=", "the challenge lacks resource=")},
	{"the challenge is for another tenant", "EXC-06", onSecrets("AKV10000", func(a *answer) {
		a.header.Set("WWW-Authenticate", strings.ReplaceAll(a.header.Get("WWW-Authenticate"), simulated.TenantID, unknown))
	}), finds("the challenge lacks authorization=")},
	{"the challenge is for another resource", "EXC-06", onSecrets("AKV10000", func(a *answer) {
		a.header.Set("WWW-Authenticate", strings.ReplaceAll(a.header.Get("WWW-Authenticate"), "https://vault.", "https://managedhsm."))
	}), finds("the challenge lacks resource=")},
	{"a token for another audience is good enough", "EXC-06",
		onSecrets("AKV10022", give(simulated.SecretValue)),
		finds("a token for another audience is refused: HTTP status")},
	{"a token for another audience is forbidden", "EXC-06",
		onSecrets("AKV10022", func(a *answer) { a.status = http.StatusForbidden }),
		finds("a token for another audience is refused: HTTP status")},
	{"a token for another audience is of another issuer", "EXC-06", onSecrets("AKV10022", func(a *answer) {
		a.body = []byte(strings.Replace(string(a.body), "AKV10022", "AKV10032", 1))
	}), finds("a token for another audience is refused: code")},

	{"the 21st federated credential is accepted", "EXC-07", onCredential("credential-21", func(a *answer) {
		a.set(http.StatusCreated, object{"id": "21", "name": "credential-21"})
	}), finds("federated credential 21 is accepted")},
	{"the 20th federated credential is refused", "EXC-07",
		onCredential("credential-20", managementRefusal(http.StatusBadRequest, "BadRequest")),
		finds("federated credential 20 of 20 is refused")},
	{"the first federated credential is refused", "EXC-07",
		onCredential("credential-01", managementRefusal(http.StatusBadRequest, "BadRequest")),
		finds("federated credential 1 of 20 is refused")},
	{"the 21st is refused by a gateway", "EXC-07",
		onCredential("credential-21", (*answer).page),
		finds("the refusal is no answer of Azure")},
	{"the 21st is refused as if it would pass", "EXC-07",
		onCredential("credential-21", managementRefusal(http.StatusBadRequest, "AADSTS70021")),
		finds("the refusal looks like one that passes")},
	{"the 21st is refused for want of a permission", "EXC-07",
		onCredential("credential-21", managementRefusal(http.StatusForbidden, "AuthorizationFailed")),
		finds("the refusal is not about the number")},
	{"the 21st is refused as one write of many at a time", "EXC-07",
		onCredential("credential-21", managementRefusal(http.StatusConflict, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity")),
		finds("the refusal is not about the number")},
	{"from the 21st on nothing can be written", "EXC-07", func(w *world) {
		closed := false
		onCredentials(func(name string, a *answer) {
			if closed = closed || name == "credential-21"; closed {
				a.set(http.StatusBadRequest, object{"error": object{"code": "BadRequest", "message": "Refused."}})
			}
		})(w)
	}, finds("after the refusal, federated credential 20 cannot be written again")},

	{"a new federated credential is never known", "EXC-08",
		impatient(refusing("AADSTS70025", ofAccount("late"))),
		finds("does not work within 500ms")},
	{"a new federated credential is known now and then", "EXC-08", impatient(func(w *world) {
		asked := 0
		refusing("AADSTS700213", func(w *world, e exchange) bool {
			asked++
			return ofAccount("late")(w, e) && asked%2 == 0
		})(w)
	}), finds("does not work within 500ms")},
	{"a new federated credential is refused for good", "EXC-08",
		refusing("AADSTS7000272", ofAccount("late")),
		finds("does not work within 20s: ", "AADSTS7000272")},
	{"what is no token is accepted", "EXC-08", recodingGarbage(func(a *answer) {
		a.set(http.StatusOK, object{"token_type": "Bearer", "expires_in": 3599, "access_token": "opaque"})
	}), finds("an assertion that is no token is accepted")},
	{"what is no token is refused as if that would pass", "EXC-08", onExchanges(func(w *world, _ exchange, a *answer) {
		switch a.code() {
		case "": // the federated credential is known, and need not be waited for any more
			w.Env.Azure.Propagation.Budget = 2 * time.Second
		case "AADSTS50027":
			a.refuse("AADSTS700213")
		}
	}), finds("attempts with an assertion that is no token")},
	{"what is no token is refused by a gateway", "EXC-08",
		recodingGarbage((*answer).page),
		finds("an assertion that is no token is not refused by Azure")},

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
	{"the mount can be written", "VOL-06",
		onContainers(func(c *corev1.Container) { c.VolumeMounts[0].ReadOnly = false }),
		finds("user 0 can open the token for writing")},
	{"the token is opaque", "VOL-06", onTokens(func(string) string { return "opaque" }), finds("what user 1000 reads is no JWT")},
	{"the token is empty", "VOL-06", onTokens(func(string) string { return "" }), finds("what user 1000 reads is no JWT")},
	{"the token is not signed", "VOL-06",
		onTokens(func(token string) string { return token[:strings.LastIndex(token, ".")+1] }),
		finds("what user 1000 reads is no JWT")},
	{"the token file is elsewhere", "VOL-06",
		onContainers(setting(suites.TokenFileVariable, "/var/run/secrets/azure/tokens/azure-identity-token")),
		finds("user 1000 cannot read")},
	{"the token file is not named", "VOL-06", onContainers(without(suites.TokenFileVariable)), finds(`cannot read ""`)},
	{"the webhook sets an fsGroup", "VOL-06", onPods(func(pod *corev1.Pod) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To[int64](1000)}
	}), finds("the pod has an fsGroup")},
	{"the webhook changes the user", "VOL-06",
		onContainers(func(c *corev1.Container) { c.SecurityContext.RunAsUser = ptr.To[int64](0) }),
		finds("user of the probe")},

	{"the token is for the API server too", "VOL-07",
		onClaims(func(c object) { c["aud"] = append(c["aud"].([]string), "https://kubernetes.default.svc") }),
		finds("aud is not as expected")},
	{"the token is for another audience", "VOL-07",
		onClaims(func(c object) { c["aud"] = []string{"api://azureadtokenexchange"} }),
		finds("aud is not as expected")},
	{"the webhook asks for another audience", "VOL-07",
		func(w *world) { w.API.Mutation.Audience = "api://AzureADTokenExchange/" },
		finds("aud is not as expected")},
	{"the issuer has a slash more", "VOL-07",
		onClaims(func(c object) { c["iss"] = c["iss"].(string) + "/" }),
		finds("iss is not as expected")},
	{"the subject is the default account", "VOL-07", onClaims(func(c object) {
		c["sub"] = strings.Replace(c["sub"].(string), ":probed", ":default", 1)
	}), finds("sub is not as expected")},
	{"the subject is in capitals", "VOL-07",
		onClaims(func(c object) { c["sub"] = strings.ToUpper(c["sub"].(string)) }),
		finds("sub is not as expected")},
	{"the kubelet extends the token", "VOL-07",
		onClaims(func(c object) { c["exp"] = c["exp"].(int64) + 7 }),
		finds("with the default expiration: exp - iat", "with an annotated expiration: exp - iat is not as expected")},
	{"the token was issued before", "VOL-07",
		onClaims(func(c object) { c["iat"] = c["iat"].(int64) - 60 }),
		finds("exp - iat is not as expected")},
	{"an annotated expiration is ignored", "VOL-07",
		onTokenSource(func(s *corev1.ServiceAccountTokenProjection) { s.ExpirationSeconds = ptr.To[int64](3600) }),
		finds("with an annotated expiration: exp - iat as annotated")},
	{"the token names another pod", "VOL-07", onBinding("pod", "name", "other"), finds("pod is not as expected")},
	{"the token names an earlier pod of the name", "VOL-07", onBinding("pod", "uid", unknown), finds("pod is not as expected")},
	{"the token is bound to no pod", "VOL-07",
		onClaims(func(c object) { delete(c["kubernetes.io"].(object), "pod") }),
		finds("pod is not as expected")},
	{"the token names another namespace", "VOL-07",
		onClaims(func(c object) { c["kubernetes.io"].(object)["namespace"] = "default" }),
		finds("namespace is not as expected")},
	{"the token names another account", "VOL-07",
		onBinding("serviceaccount", "name", "default"),
		finds("service account is not as expected")},
	{"the token is signed with HS256", "VOL-07", onHeader("alg", "HS256"), finds(`alg is "HS256"`)},
	{"the token says that it is not signed", "VOL-07", onHeader("alg", "none"), finds(`alg is "none"`)},
	{"the token's key is unknown", "VOL-07", onHeader("kid", "unknown"), finds(`kid "unknown" is not in the JWKS`)},
	{"the token names no key", "VOL-07", onHeader("kid", ""), finds(`kid "" is not in the JWKS`)},
	{"the audience is no list", "VOL-07",
		onClaims(func(c object) { c["aud"] = c["aud"].([]string)[0] }),
		finds("the token cannot be read")},
	{"the token is not the projected one", "VOL-07",
		onTokenSource(func(s *corev1.ServiceAccountTokenProjection) { s.ExpirationSeconds = nil }),
		finds("is not the file of a projected token")},

	{"no token of the cluster is accepted", "ISS-05",
		listing(func(simulated.Keyring) []simulated.SigningKey { return nil }),
		finds("a token is refused before any rotation: AADSTS7000272")},
	{"tokens of the new key are refused", "ISS-05",
		listing(func(k simulated.Keyring) []simulated.SigningKey { return k.Ever[:1] }),
		finds("refusal of a token of the new key")},
	{"tokens of the old key are refused at once", "ISS-05",
		listing(func(k simulated.Keyring) []simulated.SigningKey { return k.Current[:1] }),
		finds("refusal of a token of the old key after the rotation")},
	{"a withdrawn key goes on", "ISS-05",
		listing(func(k simulated.Keyring) []simulated.SigningKey { return k.Ever }),
		finds("refusal of a token of the withdrawn key")},
	{"the old key signs on", "ISS-05",
		func(w *world) { w.API.Signs = func(k simulated.Keyring) simulated.SigningKey { return k.Ever[0] } },
		finds("refusal of a token of the withdrawn key")},
	{"once a key is withdrawn, all are", "ISS-05", listing(func(k simulated.Keyring) []simulated.SigningKey {
		if len(k.Ever) > 1 && len(k.Current) == 1 {
			return nil
		}
		return k.Current
	}), finds("refusal of a token of the key that signs now")},
	{"a key that nobody knows is accepted", "ISS-05",
		accepting("AADSTS7000272"),
		finds("refusal of a key that nobody knows", "refusal of a token of the withdrawn key")},
}, refusalMutants())

// refusalCases are the codes of EXC-04, and the cases that must see them.
var refusalCases = map[string][]string{
	"AADSTS70025":   {"an identity without federated credentials"},
	"AADSTS700211":  {"a credential of another issuer", "a token of another cluster"},
	"AADSTS700212":  {"a credential for another audience", "a token for another audience"},
	"AADSTS700213":  {"a credential of another account"},
	"AADSTS7002138": {"a credential whose subject differs in case only"},
	"AADSTS700016":  {"a client that Azure does not know"},
	"AADSTS90002":   {"a tenant that Azure does not know"},
	"AADSTS7000272": {"a token that another cluster's key signed in this one's name"},
	"AADSTS50027":   {"a token that another key signed under the ID of the cluster's own"},
	"AADSTS700024":  {"a token that has expired", "a token that is not valid yet"},
}

// refusalMutants replace each refusal, by a token and by another refusal.
func refusalMutants() []mutant {
	var all []mutant
	for _, code := range slices.Sorted(maps.Keys(refusalCases)) {
		accepted := mutant{code + " is never given", "EXC-04", accepting(code), nil}
		recoded := mutant{code + " is called AADSTS70021", "EXC-04", recoding(code, "AADSTS70021"), nil}
		for _, title := range refusalCases[code] {
			accepted.findings = append(accepted.findings, title+": ", "gets the secret, and should be refused with "+code)
			if code == "AADSTS90002" { // the SDK takes the token, and not the vault's word that it is for another tenant
				accepted.findings = finds(title+": ", "should be refused at stage token with AADSTS90002: secret: ")
			}
			recoded.findings = append(recoded.findings, title+": ", "with "+code+": token: AADSTS70021 ")
		}
		all = append(all, accepted, recoded)
	}
	return all
}

// everyRefusal expects the text in each of the cases of EXC-04.
func everyRefusal(text string) []string {
	all := []string{text}
	for _, titles := range refusalCases {
		for _, title := range titles {
			all = append(all, title+": ")
		}
	}
	return all
}

// noneInjected is what the reading comes to without one of the variables.
const noneInjected = "go-azidentity: go-azidentity with credential workload does not get the secret: token: CredentialUnavailable"

func finds(texts ...string) []string { return texts }
