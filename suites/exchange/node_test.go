package exchange

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// environment changes a workload's variables, result and exitCode what it came to.
	environment func(c corev1.Container, env map[string]string)
	result      func(c corev1.Container, r *workloads.Result)
	exitCode    func(r workloads.Result) int32

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
		result:      func(corev1.Container, *workloads.Result) {},
		exitCode: func(r workloads.Result) int32 {
			if r.OK {
				return 0
			}
			return 1
		},
		api: api, dir: t.TempDir(),
	}
}

// imageOf is the reference of an image in the world.
func imageOf(name string) string { return "teeth.wi-e2e.dev/" + name + ":1" }

// run runs a pod's containers, one after the other.
func (n *node) run(ctx context.Context, pod *corev1.Pod) *ranPod {
	ran := &ranPod{pod: pod.DeepCopy(), logs: map[string][]byte{}}
	ran.pod.Status.Phase = corev1.PodSucceeded
	for _, c := range pod.Spec.Containers {
		env := map[string]string{}
		for _, v := range c.Env {
			env[v.Name] = v.Value
		}
		var printed any
		exit := int32(0)
		files := n.mount(pod, c)
		if c.Image == imageOf(selfImage) && slices.Equal(c.Args, []string{probe.Verb}) {
			printed = n.probe(c, env[probe.TokenFileVariable], files)
		} else {
			n.environment(c, env)
			result := n.workload(ctx, pod, c, env, files)
			n.result(c, &result)
			printed, exit = result, n.exitCode(result)
		}
		ran.logs[c.Name] = append(encoded(printed), '\n')
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

// credentialTypes are those of Azure Identity by the values of WORKLOAD_CREDENTIAL.
var credentialTypes = map[string]string{
	"": "WorkloadIdentityCredential", "workload": "WorkloadIdentityCredential",
	"default": "DefaultAzureCredential", "chained": "ChainedTokenCredential",
}

// workload does what a Go workload does (package goworkload), with one credential for all of its ways.
func (n *node) workload(
	ctx context.Context, pod *corev1.Pod, c corev1.Container, env map[string]string, files map[string]file,
) workloads.Result {
	all := workloads.Catalogue()
	w := all[slices.IndexFunc(all, func(w workloads.Workload) bool { return imageOf(w.Name) == c.Image })]
	r := workloads.Result{
		Language: w.Language, Library: w.Library, Version: "v1.99.0", Credential: credentialTypes[env["WORKLOAD_CREDENTIAL"]],
		ClientID: cmp.Or(env["WORKLOAD_CLIENT_ID"], env[suites.ClientIDVariable]),
	}
	if env[suites.TenantIDVariable] == "" || env[suites.TokenFileVariable] == "" || r.ClientID == "" {
		r.Error = &goworkload.Failure{Stage: goworkload.StageToken, Code: workloads.CredentialUnavailable, Message: "nothing was injected"}
		return r
	}
	stage, value, err := n.readSecret(ctx, pod, r.ClientID, env, files)
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
	ctx context.Context, pod *corev1.Pod, clientID string, env map[string]string, files map[string]file,
) (stage goworkload.Stage, value string, err error) {
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: env[suites.AuthorityHostVariable]},
		Transport: &http.Client{Transport: resolving{n.azure, pod.Spec.HostAliases}}, Retry: policy.RetryOptions{MaxRetries: -1},
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: options, ClientID: clientID, TenantID: env[suites.TenantIDVariable],
		TokenFilePath: cmp.Or(files[env[suites.TokenFileVariable]].at, filepath.Join(n.dir, "no-such-file")),
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
