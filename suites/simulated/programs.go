package simulated

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads/goworkload"
	"github.com/wi-e2e/wi-e2e/suites"
)

// probe examines the token as the verb of the wi-e2e image does, as the container's user.
func (n *Node) probe(_ context.Context, c *Container) int32 {
	name := c.Env[probe.TokenFileVariable]
	report := probe.Examine(c.File(name))
	report.File, report.UID, report.Mode, report.WriteError = name, int(c.UID), "0644", ""
	switch {
	case c.ReadOnly(name):
		report.WriteError = "read-only file system"
	case report.UID != 0:
		report.WriteError = "permission denied"
	}
	n.Report(&report)
	_, _ = fmt.Fprintf(c.Log, "%s\n", encoded(report))
	return 0
}

// terminated is the exit code of who ends on SIGTERM.
const terminated = 143

// workload does what the program of an image does.
func (n *Node) workload(ctx context.Context, c *Container, w workloads.Workload) (exitCode int32) {
	n.Environment(c.Container, c.Env)
	attempts := []workloads.Attempt{{}}
	if text, ok := c.Env["WORKLOAD_ATTEMPTS"]; ok {
		if err := json.Unmarshal([]byte(text), &attempts); err != nil {
			panic(err)
		}
	}
	if w.Sample != nil {
		return n.sample(ctx, c, w)
	}
	times := 1
	if c.Env["WORKLOAD_INTERVAL"] != "" {
		times = 2 // as long as anybody looks
	}
	var results []workloads.Result
	for range times {
		for _, a := range attempts {
			asked := a
			n.Attempt(&a)
			r := n.try(ctx, c, w, a)
			n.Result(asked, &r)
			results = append(results, r)
			_, _ = fmt.Fprintf(c.Log, "%s\n", encoded(r))
		}
	}
	if times > 1 {
		<-ctx.Done()
		return terminated
	}
	return n.ExitCode(results)
}

// sample is a program of somebody else.
func (n *Node) sample(ctx context.Context, c *Container, w workloads.Workload) (exitCode int32) {
	a := workloads.Attempt{}
	n.Attempt(&a)
	r := n.try(ctx, c, w, a)
	n.Result(workloads.Attempt{}, &r)
	if !r.OK {
		_, _ = fmt.Fprintln(c.Log, "failed")
		return 1
	}
	_, _ = fmt.Fprintln(c.Log, strings.ReplaceAll(sampleLine[w.Name], SecretValue, n.Shown))
	if w.Sample.Loops {
		<-ctx.Done()
		return terminated
	}
	return 0
}

// credentialTypes are those of Azure Identity by an attempt's credential.
var credentialTypes = map[string]string{
	"": "WorkloadIdentityCredential", "workload": "WorkloadIdentityCredential",
	"default": "DefaultAzureCredential", "chained": "ChainedTokenCredential", managed: "ManagedIdentityCredential",
}

// managed is the way of a managed identity.
const managed = "managed"

// sdkVersion is that of every SDK.
const sdkVersion = "99.0.0"

// try makes an attempt as a workload does, with one credential for all ways but that of a managed identity.
func (n *Node) try(ctx context.Context, c *Container, w workloads.Workload, a workloads.Attempt) workloads.Result {
	if w.Migrates && a.Credential == "" {
		a.Credential = managed
	}
	asks := w.Migrates || a.Credential == managed
	if w.Of != "" {
		a.TokenFile = posixPath(cmp.Or(a.TokenFile, c.Env[suites.TokenFileVariable]))
	}
	r := workloads.Result{
		Language: w.Language, Library: w.Library, Version: sdkVersion, Credential: credentialTypes[a.Credential],
		ClientID: cmp.Or(a.ClientID, c.Env[suites.ClientIDVariable]),
	}
	if !asks && (c.Env[suites.TenantIDVariable] == "" || c.Env[suites.TokenFileVariable] == "" || r.ClientID == "") {
		r.Error = &goworkload.Failure{Stage: goworkload.StageToken, Code: workloads.CredentialUnavailable, Message: "nothing was injected"}
		return r
	}
	stage, value, err := n.readSecret(ctx, c, a, asks)
	if err != nil {
		r.Error = &goworkload.Failure{Stage: stage, Code: azure.Code(err), Status: statusOf(err), Message: firstLine(err)}
		if asks && stage == goworkload.StageToken && r.Error.Status == 0 { // nobody answers
			r.Error.Code = workloads.CredentialUnavailable
		}
		return r
	}
	sum := sha256.Sum256([]byte(value))
	r.OK, r.SecretSHA256 = true, hex.EncodeToString(sum[:])
	return r
}

// readSecret goes to Azure with the SDKs, which do not retry here: nothing that they would retry passes by itself.
func (n *Node) readSecret(ctx context.Context, c *Container, a workloads.Attempt, asksIMDS bool) (stage goworkload.Stage, value string, err error) {
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: c.Env[suites.AuthorityHostVariable]},
		Transport: &http.Client{Transport: c.Pod.Azure()}, Retry: policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "sdk/" + sdkVersion},
	}
	var credential azcore.TokenCredential
	if asksIMDS {
		of := azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		of.Transport = &http.Client{Transport: n.IMDS(c)}
		if a.ClientID != "" {
			of.ID = azidentity.ClientID(a.ClientID)
		}
		credential, err = azidentity.NewManagedIdentityCredential(&of)
		credential = uncached{credential}
	} else {
		credential, err = azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, ClientID: cmp.Or(a.ClientID, c.Env[suites.ClientIDVariable]), TenantID: cmp.Or(a.TenantID, c.Env[suites.TenantIDVariable]),
			TokenFilePath: c.File(cmp.Or(a.TokenFile, c.Env[suites.TokenFileVariable])),
		})
	}
	if err != nil {
		return goworkload.StageToken, "", err
	}
	if _, err = credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{Scope}, EnableCAE: !asksIMDS}); err != nil {
		return goworkload.StageToken, "", err
	}
	client, err := azsecrets.NewClient(c.Env["KEYVAULT_URL"], credential, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		return goworkload.StageSecret, "", err
	}
	secret, err := client.GetSecret(ctx, c.Env["SECRET_NAME"], "", nil)
	if err != nil {
		return goworkload.StageSecret, "", err
	}
	return "", *secret.Value, nil
}

// posixPath is where a program for Windows finds a path in its container, which is the drive C:.
func posixPath(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "C:"), `\`, "/")
}

// uncached has Azure Identity not look into its cache of managed identities' tokens, which all workloads of this process share.
type uncached struct{ azcore.TokenCredential }

func (u uncached) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	options.Claims = cmp.Or(options.Claims, "{}")
	return u.TokenCredential.GetToken(ctx, options)
}

// resolving finds the hosts that a pod has aliases for, and no others.
type resolving struct {
	next    http.RoundTripper
	aliases []corev1.HostAlias
}

func (r resolving) RoundTrip(request *http.Request) (*http.Response, error) {
	for _, alias := range r.aliases {
		if slices.Contains(alias.Hostnames, request.URL.Hostname()) {
			return r.next.RoundTrip(request)
		}
	}
	return nil, fmt.Errorf("lookup %s: no such host", request.URL.Hostname())
}

func statusOf(err error) int {
	var response *azcore.ResponseError
	var failed *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &response):
		return response.StatusCode
	case errors.As(err, &failed) && failed.RawResponse != nil:
		return failed.RawResponse.StatusCode
	}
	return 0
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// sampleLine is how programs of somebody else show the secret.
var sampleLine = map[string]string{
	"dotnet-azure-mcp":     "info: x\n{\n  \"results\": {\n    \"value\": \"" + SecretValue + "\",\n  }\n}",
	"upstream-msal-go":     `I1122 14:00:00.000000       1 main.go:60] "successfully got secret" secret="` + SecretValue + `"`,
	"upstream-msal-net":    "\nSTART 11/22/2026 (pod)\nYour secret is " + SecretValue + "\r\n",
	"upstream-msal-java":   "Picked up JAVA_TOOL_OPTIONS: -Dx\nsuccessfully got secret, secret=" + SecretValue,
	"upstream-msal-node":   "successfully got secret, secret=" + SecretValue,
	"upstream-msal-python": "successfully got secret, secret=" + SecretValue,
}
