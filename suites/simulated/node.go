package simulated

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/probe"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
)

// Node runs pods as a kubelet does, and their containers' programs in this process.
type Node struct {
	// Programs finds the program of a container; nil for an image that is not there. At first it knows the workloads that keep
	// their contract, those of somebody else, and the token probe.
	Programs func(c corev1.Container) Program
	// PostStart is a container's post-start hook: the containers after it start when it has returned.
	PostStart func(ctx context.Context, c *Container) error
	// Status changes what is told of a pod.
	Status func(pod *corev1.Pod)
	// Report changes what a token probe says.
	Report func(r *probe.Report)
	// Environment changes a workload's variables, Attempt what it attempts, Result and ExitCode what it came to.
	Environment func(c corev1.Container, env map[string]string)
	Attempt     func(a *workloads.Attempt)
	Result      func(a workloads.Attempt, r *workloads.Result)
	ExitCode    func(results []workloads.Result) int32
	// Shown is the secret as programs of somebody else show it.
	Shown string
	// IMDS is how a workload reaches the metadata service.
	IMDS func(c *Container) http.RoundTripper

	api   *APIServer
	azure http.RoundTripper // under Azure's names
	dir   string            // of the pods' volumes
	pods  atomic.Int64
}

// Program does what a container's does, until it has done it or ctx ends, with which it has to return.
type Program func(ctx context.Context, c *Container) (exitCode int32)

func newNode(api *APIServer, dir string) *Node {
	n := &Node{
		PostStart:   func(context.Context, *Container) error { return nil },
		Status:      func(*corev1.Pod) {},
		Report:      func(*probe.Report) {},
		Environment: func(corev1.Container, map[string]string) {},
		Attempt:     func(*workloads.Attempt) {},
		Result:      func(workloads.Attempt, *workloads.Result) {},
		ExitCode: func(results []workloads.Result) int32 {
			if slices.ContainsFunc(results, func(r workloads.Result) bool { return !r.OK }) {
				return 1
			}
			return 0
		},
		Shown: SecretValue,
		IMDS:  func(*Container) http.RoundTripper { return unreachable{} },
		api:   api, dir: dir,
	}
	n.Programs = n.program
	return n
}

// program is what Programs is at first.
func (n *Node) program(c corev1.Container) Program {
	if c.Image == ImageOf(self) {
		if slices.Equal(c.Args, []string{probe.Verb}) {
			return n.probe
		}
		return nil
	}
	for _, w := range workloads.All() {
		if ImageOf(w.Name) == c.Image {
			return func(ctx context.Context, c *Container) int32 { return n.workload(ctx, c, w) }
		}
	}
	return nil
}

// address of the next pod.
func (n *Node) address() string {
	i := n.pods.Add(1)
	return fmt.Sprintf("10.244.%d.%d", i/250, i%250+2)
}

const nodeAddress = "192.0.2.10"

// unreachable is a node without a metadata service.
type unreachable struct{}

func (unreachable) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial %s: %w", r.URL.Host, errors.New("no route to host"))
}
