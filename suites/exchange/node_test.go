package exchange

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads/goworkload"
	"github.com/wi-e2e/wi-e2e/suites"
)

// node runs pods: it projects their tokens into files, and does in this process what their programs do. Its functions are
// for faults to replace, before any test runs.
type node struct {
	// claims and token change what is projected into a pod.
	claims func(c object)
	token  func(token string) string
	// report changes what a probe says.
	report func(r *probe.Report)
	// environment changes a workload's variables, attempt what it attempts, result and exitCode what it came to.
	environment func(c corev1.Container, env map[string]string)
	attempt     func(a *workloads.Attempt)
	result      func(a workloads.Attempt, r *workloads.Result)
	exitCode    func(results []workloads.Result) int32
	// shown is the secret as programs of somebody else show it.
	shown string

	api   *apiServer
	azure http.RoundTripper // under Azure's names
	dir   string
}

func newNode(t *testing.T, api *apiServer) *node {
	return &node{
		claims:      func(object) {},
		token:       func(token string) string { return token },
		report:      func(*probe.Report) {},
		environment: func(corev1.Container, map[string]string) {},
		attempt:     func(*workloads.Attempt) {},
		result:      func(workloads.Attempt, *workloads.Result) {},
		exitCode: func(results []workloads.Result) int32 {
			if slices.ContainsFunc(results, func(r workloads.Result) bool { return !r.OK }) {
				return 1
			}
			return 0
		},
		shown: secretValue,
		api:   api, dir: t.TempDir(),
	}
}

// imageOf is the reference of an image in the world.
func imageOf(name string) string { return "teeth.wi-e2e.dev/" + name + ":1" }

// run runs a pod's containers, one after the other.
func (n *node) run(ctx context.Context, pod *corev1.Pod) *ranPod {
	ran := &ranPod{pod: pod.DeepCopy(), logs: map[string][]byte{}}
	ran.pod.Status.Phase = corev1.PodSucceeded
	loops := func(c corev1.Container) bool {
		i := slices.IndexFunc(workloads.Catalogue(), func(w workloads.Workload) bool { return imageOf(w.Name) == c.Image })
		return i >= 0 && workloads.Catalogue()[i].Sample != nil && workloads.Catalogue()[i].Sample.Loops
	}
	if pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || slices.ContainsFunc(pod.Spec.Containers, loops) {
		ran.pod.Status.Phase = corev1.PodRunning
		ran.pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	for _, c := range pod.Spec.Containers {
		env := map[string]string{}
		for _, v := range c.Env {
			env[v.Name] = v.Value
		}
		exit := int32(0)
		files := n.mount(pod, c)
		if c.Image == imageOf(selfImage) && slices.Equal(c.Args, []string{probe.Verb}) {
			ran.logs[c.Name] = append(encoded(n.probe(c, env[probe.TokenFileVariable], files)), '\n')
		} else {
			n.environment(c, env)
			ran.logs[c.Name], exit = n.program(ctx, pod, c, env, files)
		}
		if exit != 0 {
			ran.pod.Status.Phase = corev1.PodFailed
		}
		ran.pod.Status.ContainerStatuses = append(ran.pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit, Reason: "Completed"}},
		})
	}
	return ran
}

// file is one in a container.
type file struct {
	at       string // on the node
	readOnly bool
}

// mount makes the files of a container's projected volumes, by their path in it.
func (n *node) mount(pod *corev1.Pod, c corev1.Container) map[string]file {
	files := map[string]file{}
	for _, mount := range c.VolumeMounts {
		add := func(name, content string) {
			at := filepath.Join(n.dir, uuid.NewString())
			if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
				panic(err)
			}
			files[path.Join(mount.MountPath, name)] = file{at, mount.ReadOnly}
		}
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		for _, source := range pod.Spec.Volumes[i].Projected.Sources {
			if token := source.ServiceAccountToken; token != nil {
				add(token.Path, n.token(n.api.sign(n.podClaims(pod, token))))
			}
			if secret := source.Secret; secret != nil {
				n.api.mu.Lock()
				for name, content := range n.api.secrets[pod.Namespace+"/"+secret.Name] {
					add(name, content)
				}
				n.api.mu.Unlock()
			}
		}
	}
	return files
}

func (n *node) podClaims(pod *corev1.Pod, token *corev1.ServiceAccountTokenProjection) object {
	claims := n.api.claims(pod.Namespace, pod.Spec.ServiceAccountName, token.Audience, ptr.Deref(token.ExpirationSeconds, 3600))
	claims["kubernetes.io"].(object)["pod"] = object{"name": pod.Name, "uid": string(pod.UID)}
	n.claims(claims)
	return claims
}

// probe examines the token as the verb of the wi-e2e image does, as the container's user.
func (n *node) probe(c corev1.Container, name string, files map[string]file) probe.Report {
	found := files[name]
	report := probe.Examine(found.at)
	report.File, report.UID, report.Mode = name, int(*c.SecurityContext.RunAsUser), "0644"
	switch {
	case found.readOnly:
		report.WriteError = "read-only file system"
	case report.UID != 0:
		report.WriteError = "permission denied"
	}
	n.report(&report)
	return report
}

// program does what the image's does.
func (n *node) program(
	ctx context.Context, pod *corev1.Pod, c corev1.Container, env map[string]string, files map[string]file,
) (log []byte, exitCode int32) {
	all := workloads.Catalogue()
	w := all[slices.IndexFunc(all, func(w workloads.Workload) bool { return imageOf(w.Name) == c.Image })]
	attempts := []workloads.Attempt{{}}
	if text, ok := env["WORKLOAD_ATTEMPTS"]; ok {
		if err := json.Unmarshal([]byte(text), &attempts); err != nil {
			panic(err)
		}
	}
	times := 1
	if env["WORKLOAD_INTERVAL"] != "" {
		times = 2 // as long as anybody looks
	}
	var results []workloads.Result
	for range times {
		for _, a := range attempts {
			asked := a
			n.attempt(&a)
			r := n.workload(ctx, pod, w, a, env, files)
			n.result(asked, &r)
			results = append(results, r)
			log = append(append(log, encoded(r)...), '\n')
		}
	}
	if w.Sample != nil {
		return n.show(w, results[0])
	}
	return log, n.exitCode(results)
}

// show is the log of a program of somebody else.
func (n *node) show(w workloads.Workload, r workloads.Result) (log []byte, exitCode int32) {
	if !r.OK {
		return []byte("failed\n"), 1
	}
	return []byte(strings.ReplaceAll(sampleLine[w.Name], secretValue, n.shown) + "\n"), 0
}

// credentialTypes are those of Azure Identity by an attempt's credential.
var credentialTypes = map[string]string{
	"": "WorkloadIdentityCredential", "workload": "WorkloadIdentityCredential",
	"default": "DefaultAzureCredential", "chained": "ChainedTokenCredential",
}

// version of every SDK.
const version = "99.0.0"

// workload makes an attempt as a workload does, with one credential for all of its ways.
func (n *node) workload(
	ctx context.Context, pod *corev1.Pod, w workloads.Workload, a workloads.Attempt, env map[string]string, files map[string]file,
) workloads.Result {
	r := workloads.Result{
		Language: w.Language, Library: w.Library, Version: version, Credential: credentialTypes[a.Credential],
		ClientID: cmp.Or(a.ClientID, env[suites.ClientIDVariable]),
	}
	if env[suites.TenantIDVariable] == "" || env[suites.TokenFileVariable] == "" || r.ClientID == "" {
		r.Error = &goworkload.Failure{Stage: goworkload.StageToken, Code: workloads.CredentialUnavailable, Message: "nothing was injected"}
		return r
	}
	stage, value, err := n.readSecret(ctx, pod, a, env, files)
	if err != nil {
		r.Error = &goworkload.Failure{Stage: stage, Code: azure.Code(err), Status: statusOf(err), Message: firstLine(err)}
		return r
	}
	sum := sha256.Sum256([]byte(value))
	r.OK, r.SecretSHA256 = true, hex.EncodeToString(sum[:])
	return r
}

// readSecret goes to Azure with the SDKs, which do not retry here: nothing that they would retry passes by itself.
func (n *node) readSecret(
	ctx context.Context, pod *corev1.Pod, a workloads.Attempt, env map[string]string, files map[string]file,
) (stage goworkload.Stage, value string, err error) {
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: env[suites.AuthorityHostVariable]},
		Transport: &http.Client{Transport: resolving{n.azure, pod.Spec.HostAliases}}, Retry: policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "sdk/" + version},
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, ClientID: cmp.Or(a.ClientID, env[suites.ClientIDVariable]), TenantID: cmp.Or(a.TenantID, env[suites.TenantIDVariable]),
		TokenFilePath: cmp.Or(files[cmp.Or(a.TokenFile, env[suites.TokenFileVariable])].at, filepath.Join(n.dir, "no-such-file")),
	})
	if err != nil {
		return goworkload.StageToken, "", err
	}
	if _, err = credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{vaultScope}, EnableCAE: true}); err != nil {
		return goworkload.StageToken, "", err
	}
	client, err := azsecrets.NewClient(env["KEYVAULT_URL"], credential, &azsecrets.ClientOptions{ClientOptions: options})
	if err != nil {
		return goworkload.StageSecret, "", err
	}
	secret, err := client.GetSecret(ctx, env["SECRET_NAME"], "", nil)
	if err != nil {
		return goworkload.StageSecret, "", err
	}
	return "", *secret.Value, nil
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
	"dotnet-azure-mcp":     "info: x\n{\n  \"results\": {\n    \"value\": \"" + secretValue + "\",\n  }\n}",
	"upstream-msal-go":     `I1122 14:00:00.000000       1 main.go:60] "successfully got secret" secret="` + secretValue + `"`,
	"upstream-msal-net":    "\nSTART 11/22/2026 (pod)\nYour secret is " + secretValue + "\r\n",
	"upstream-msal-java":   "Picked up JAVA_TOOL_OPTIONS: -Dx\nsuccessfully got secret, secret=" + secretValue,
	"upstream-msal-node":   "successfully got secret, secret=" + secretValue,
	"upstream-msal-python": "successfully got secret, secret=" + secretValue,
}
