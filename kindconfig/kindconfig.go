package kindconfig

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

// Topology is which nodes a cluster has.
type Topology string

// Topologies. With two control planes kind puts a load balancer before them, whose image (Envoy's) the container engine needs.
const (
	Single           Topology = "single"             // one node, which is the control plane and runs pods
	Workers          Topology = "workers"            // a control plane and a worker
	TwoControlPlanes Topology = "two-control-planes" // two control planes and a worker
)

// Topologies are all of them.
var Topologies = []Topology{Single, Workers, TwoControlPlanes}

// Options say what cluster to configure.
type Options struct {
	Topology Topology
	// KubernetesVersion is that of the node image, such as v1.36.3.
	KubernetesVersion string
	Issuer            Issuer
	FeatureGates      map[string]bool
	// IPFamily is v1alpha4.IPv4Family if it is empty.
	IPFamily v1alpha4.ClusterIPFamily
	// PortMappings are the first control plane's.
	PortMappings []v1alpha4.PortMapping
}

// Issuer is that of service account tokens.
type Issuer struct {
	URL string
	// JWKSURI is what the discovery document names; the API server makes it of its own address if it is empty.
	JWKSURI string
	// Keys are mounted into the control plane, for an issuer whose documents are published elsewhere; without, kubeadm makes a pair.
	Keys *Keys
}

// Keys are PEM files of this machine.
type Keys struct{ Private, Public string }

// Where kubeadm keeps the keys of service account tokens, and takes those that are there.
const (
	privateKeyFile = "/etc/kubernetes/pki/sa.key"
	publicKeyFile  = "/etc/kubernetes/pki/sa.pub"
)

// Config is the configuration of a cluster, as YAML.
func Config(o Options) ([]byte, error) {
	nodes, err := o.nodes()
	if err != nil {
		return nil, fmt.Errorf("configure a kind cluster: %w", err)
	}
	kubeadm, err := o.clusterConfiguration()
	if err != nil {
		return nil, fmt.Errorf("configure a kind cluster: %w", err)
	}
	kubelet, err := o.kubeletConfiguration()
	if err != nil {
		return nil, fmt.Errorf("configure a kind cluster: %w", err)
	}
	return yaml.Marshal(v1alpha4.Cluster{
		TypeMeta:             v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Nodes:                nodes,
		Networking:           v1alpha4.Networking{IPFamily: o.IPFamily},
		FeatureGates:         o.FeatureGates,
		KubeadmConfigPatches: []string{kubelet, kubeadm},
	})
}

func (o Options) nodes() ([]v1alpha4.Node, error) {
	first := v1alpha4.Node{Role: v1alpha4.ControlPlaneRole, ExtraPortMappings: o.PortMappings}
	if keys := o.Issuer.Keys; keys != nil {
		if keys.Private == "" || keys.Public == "" {
			return nil, errors.New("of the issuer's keys both files are needed, the private and the public one")
		}
		// kind copies them from this node to other control planes.
		first.ExtraMounts = []v1alpha4.Mount{
			{HostPath: keys.Private, ContainerPath: privateKeyFile, Readonly: true},
			{HostPath: keys.Public, ContainerPath: publicKeyFile, Readonly: true},
		}
	}
	worker := v1alpha4.Node{Role: v1alpha4.WorkerRole}
	switch o.Topology {
	case Single:
		return []v1alpha4.Node{first}, nil
	case Workers:
		return []v1alpha4.Node{first, worker}, nil
	case TwoControlPlanes:
		return []v1alpha4.Node{first, {Role: v1alpha4.ControlPlaneRole}, worker}, nil
	}
	return nil, fmt.Errorf("unknown topology %q (there are: %s)", o.Topology, JoinTopologies())
}

// JoinTopologies is all of them, for messages.
func JoinTopologies() string {
	var all []string
	for _, t := range Topologies {
		all = append(all, string(t))
	}
	return strings.Join(all, ", ")
}

// kubeletConfiguration is the patch of the kubelet's. It starts on machines with cgroup v1 too, which it refuses since Kubernetes
// 1.35: CI machines have it. And an API server that ended, to start with other keys, is started again within a second, and not
// later each time.
func (o Options) kubeletConfiguration() (string, error) {
	config := map[string]any{
		"apiVersion":       "kubelet.config.k8s.io/v1beta1",
		"kind":             "KubeletConfiguration",
		"failCgroupV1":     false,
		"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "1s"},
		// The defaults are for thousands of nodes; tests wait for these.
		"syncFrequency": "10s",
		"kubeAPIQPS":    500,
		"kubeAPIBurst":  1000,
	}
	if semver.Compare(o.KubernetesVersion, "v1.35.0") < 0 {
		config["featureGates"] = map[string]any{"KubeletCrashLoopBackOffMax": true}
	}
	text, err := yaml.Marshal(config)
	return string(text), err
}

// clusterConfiguration is the patch of kubeadm's for the flags of the control plane.
func (o Options) clusterConfiguration() (string, error) {
	api, err := kubeadmAPI(o.KubernetesVersion)
	if err != nil {
		return "", err
	}
	patch := map[string]any{"apiVersion": "kubeadm.k8s.io/" + api, "kind": "ClusterConfiguration"}
	var issuer []argument
	if o.Issuer.URL != "" {
		issuer = append(issuer, argument{"service-account-issuer", o.Issuer.URL})
	}
	if o.Issuer.JWKSURI != "" {
		issuer = append(issuer, argument{"service-account-jwks-uri", o.Issuer.JWKSURI})
	}
	if len(issuer) > 0 {
		patch["apiServer"] = map[string]any{"extraArgs": extraArgs(api, issuer)}
	}
	// Their limits are for thousands of nodes, too.
	clients := []argument{{"kube-api-qps", "1000"}, {"kube-api-burst", "1000"}}
	if o.Topology != TwoControlPlanes {
		// Who has nobody to lead would end when the API server is away for a while.
		clients = append(clients, argument{"leader-elect", "false"})
	}
	patch["controllerManager"] = map[string]any{"extraArgs": extraArgs(api, clients)}
	patch["scheduler"] = map[string]any{"extraArgs": extraArgs(api, clients)}
	text, err := yaml.Marshal(patch)
	return string(text), err
}

// argument is a flag of a control plane component.
type argument struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Versions of kubeadm's configuration.
const (
	mapAPI  = "v1beta3" // flags are a map
	listAPI = "v1beta4" // flags are a list, as one may be given several times
)

// kubeadmAPI is the version of kubeadm's configuration that kind writes for nodes of a Kubernetes version.
func kubeadmAPI(kubernetes string) (string, error) {
	switch {
	case !semver.IsValid(kubernetes):
		return "", fmt.Errorf("%q is no Kubernetes version", kubernetes)
	case semver.Compare(kubernetes, "v1.23.0") < 0:
		return "", fmt.Errorf("kind configures Kubernetes %s by an API of kubeadm that is not known here", kubernetes)
	// As kind compares: a pre-release of 1.36 is before it.
	case semver.Compare(kubernetes, "v1.36.0") < 0:
		return mapAPI, nil
	}
	return listAPI, nil
}

func extraArgs(api string, flags []argument) any {
	if api == listAPI {
		return flags
	}
	byName := map[string]string{}
	for _, f := range flags {
		byName[f.Name] = f.Value
	}
	return byName
}
