package incluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Assignment is what the shards of a run are told: their tests, and what these stand on. It holds nothing that opens the real Azure.
type Assignment struct {
	// Version of wi-e2e that wrote it; another one may have other tests.
	Version string
	Run     reports.Run
	// Tests are the ids of each shard's, in the order of the plan.
	Tests [][]string
	// Parallel is how many tests a shard runs at a time, by tier.
	Parallel map[suites.Tier]int
	// ParallelCases is how many cases a shard runs at a time.
	ParallelCases int
	Repeat        int
	Strict        bool
	Fuzz          suites.Fuzz
	// MinimumSDKs is that of suites.Env.
	MinimumSDKs bool
	Images      map[string]string

	Cluster Cluster
	Subject subject.Installed
	// Reported is the subject as the record has it, by which waivers tell whether they are about it.
	Reported reports.Subject
	Waivers  *Waivers `json:",omitempty"`
	Azure    *Azure   `json:",omitempty"`
	// IMDS are the nodes with our metadata service, in the order of its Services; nil without it.
	IMDS []string `json:",omitempty"`
	// Namespace is the run's, where results go; Owner is it as the owner of the namespaces that tests make. Start fills it in.
	Namespace string
	Owner     metav1.OwnerReference
	// Limit is longer than any shard takes.
	Limit time.Duration
}

// Cluster is what the API server does not tell of the cluster.
type Cluster struct {
	Name, Provider, Issuer string
	// SigningKey is the key that signs service account tokens (PEM), of a cluster whose control plane is the run's own: tests forge
	// tokens with it. It is in a Secret of that very cluster, which is there for tests only.
	SigningKey []byte `json:",omitempty"`
}

// Waivers is a file of them.
type Waivers struct {
	Path    string
	Content string
}

// Azure is what was made in the emulated one.
type Azure struct {
	// Emulator is the namespace that it runs in.
	Emulator             string
	Vault                azure.Vault
	Secret, SecretSHA256 string
	Budget               time.Duration
	Trusted              []Trusted
	// PublishedIssuer says that the cluster's issuer is published there.
	PublishedIssuer bool
}

// Trusted is an identity and the trust it was made for.
type Trusted struct {
	Trust    suites.TrustKey
	Identity azure.Identity
}

// assignmentFile is the key of the Secret, and the name of the file that it is mounted as.
const assignmentFile = "assignment.json"

// LoadAssignment reads the assignment from the directory that the Secret is mounted at.
func LoadAssignment(dir string) (*Assignment, error) {
	data, err := os.ReadFile(filepath.Join(dir, assignmentFile))
	if err != nil {
		return nil, fmt.Errorf("read the assignment of the shards: %w", err)
	}
	a := &Assignment{}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, fmt.Errorf("read the assignment of the shards: %w", err)
	}
	return a, nil
}

// Divide divides the tests of a plan that will run: into those of each shard, and the rest, which is the controller's. Together they are
// all of them, each once.
func Divide(plan *suites.Plan, shards int, durations map[string]time.Duration) (divided [][]suites.Test, rest []suites.Test, err error) {
	var parallel []suites.Test
	for _, p := range plan.Tests {
		switch {
		case p.Skip != nil:
		case p.Test.Serial || slices.Contains(p.Test.Needs, suites.ControlPlaneAccess):
			rest = append(rest, p.Test)
		default:
			parallel = append(parallel, p.Test)
		}
	}
	if shards > len(parallel) {
		return nil, nil, fmt.Errorf("there are more shards (%d) than tests that can run beside others (%d): ask for fewer (--shards)", shards, len(parallel))
	}
	for i := range shards {
		part, err := suites.Shard{Index: i + 1, Total: shards}.Of(parallel, durations)
		if err != nil {
			return nil, nil, err
		}
		divided = append(divided, part)
	}
	return divided, rest, nil
}
