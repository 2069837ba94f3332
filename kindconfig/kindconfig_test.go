package kindconfig

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

var inCluster = Issuer{URL: "https://kubernetes.default.svc", JWKSURI: "https://kubernetes.default.svc/openid/v1/jwks"}

func TestConfig(t *testing.T) {
	for name, o := range map[string]Options{
		"one-node-with-flags-as-a-list": {Topology: Single, KubernetesVersion: "v1.36.3", Issuer: inCluster},
		"one-node-with-flags-as-a-map":  {Topology: Single, KubernetesVersion: "v1.35.9", Issuer: inCluster},
		"workers":                       {Topology: Workers, KubernetesVersion: "v1.37.0", Issuer: inCluster},
		"two-control-planes-with-keys-of-a-published-issuer": {
			Topology: TwoControlPlanes, KubernetesVersion: "v1.36.3",
			Issuer: Issuer{URL: "https://issuer.example.com/", Keys: &Keys{Private: "/keys/sa.key", Public: "/keys/sa.pub"}},
		},
		"issuer-of-kubeadm": {Topology: Single, KubernetesVersion: "v1.36.3"},
		"dual-stack-with-feature-gates-and-a-port": {
			Topology: Workers, KubernetesVersion: "v1.34.4", Issuer: inCluster, IPFamily: v1alpha4.DualStackFamily,
			FeatureGates: map[string]bool{"ClusterTrustBundle": true, "AnyVolumeDataSource": false},
			PortMappings: []v1alpha4.PortMapping{{ContainerPort: 30443, HostPort: 8443, ListenAddress: "127.0.0.1"}},
		},
		"ipv6": {Topology: Single, KubernetesVersion: "v1.36.3", Issuer: inCluster, IPFamily: v1alpha4.IPv6Family},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Config(o)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			var strict v1alpha4.Cluster
			if err := yaml.UnmarshalStrict(got, &strict); err != nil {
				t.Errorf("kind does not understand it: %v", err)
			}
		})
	}
}

// The versions are those at which kind itself changes the API (pkg/cluster/internal/kubeadm of kind).
func TestKubeadmAPIIsTheOneThatKindWrites(t *testing.T) {
	for kubernetes, want := range map[string]string{
		"v1.23.0": "v1beta3", "v1.34.4": "v1beta3", "v1.35.99": "v1beta3", "v1.36.0-rc.1": "v1beta3",
		"v1.36.0": "v1beta4", "v1.36.3": "v1beta4", "v1.37.0": "v1beta4", "v2.0.0": "v1beta4",
	} {
		if got, err := kubeadmAPI(kubernetes); err != nil || got != want {
			t.Errorf("Kubernetes %s: %q, error %v; want %q", kubernetes, got, err, want)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	good := Options{Topology: Single, KubernetesVersion: "v1.36.3"}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"an unknown topology":              {func(o *Options) { o.Topology = "ring" }, `unknown topology "ring" (there are: single, workers, two-control-planes)`},
		"a version that is none":           {func(o *Options) { o.KubernetesVersion = "1.36" }, `"1.36" is no Kubernetes version`},
		"a version whose API is not known": {func(o *Options) { o.KubernetesVersion = "v1.22.17" }, "not known"},
		"half a pair of keys":              {func(o *Options) { o.Issuer.Keys = &Keys{Private: "/keys/sa.key"} }, "both files"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			if got, err := Config(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q; configuration:\n%s", err, c.want, got)
			}
		})
	}
}
