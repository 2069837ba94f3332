package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// fault is one of a world, which a test of the requirement has to find.
type fault struct {
	name        string
	requirement string
	change      func(w *simulated.World)
	finding     string
}

// worldFaults are none of the webhook, the proxy, its init container or Azure, whose are in the registry of mutants: the kubelet, a
// workload and the evidence tell the tests what a subject has come to.
var worldFaults = []fault{
	{"a hook fails", "PRX-14", func(w *simulated.World) {
		var once sync.Once
		hook := w.Network.Hook
		w.Network.Hook = func(ctx context.Context, c *simulated.Container) (err error) {
			if c.Name == suites.ProxyContainer {
				once.Do(func() { c.Pod.Warn(failedHook, "exec failed") })
			}
			return hook(ctx, c)
		}
	}, failedHook},
	{"a proxy restarts", "PRX-14", func(w *simulated.World) {
		w.API.Node.Status = func(pod *corev1.Pod) {
			if pod.Name == "pod-07" {
				for i := range pod.Status.InitContainerStatuses {
					pod.Status.InitContainerStatuses[i].RestartCount = 1
				}
			}
		}
	}, "/pod-07 restarted 1 times"},
	{"without the proxy IMDS is not asked", "PRX-17", func(w *simulated.World) {
		imdsOf := w.API.Node.IMDS
		w.API.Node.IMDS = func(c *simulated.Container) http.RoundTripper {
			if c.Pod.Annotations[suites.ProxyAnnotation] == "" && c.Pod.Name == "without" {
				return refusing{}
			}
			return imdsOf(c)
		}
	}, "it has not asked IMDS for a token"},
	{"Azure never gave the token", "PRX-17", func(w *simulated.World) {
		w.Evidence = func([]evidence.Entry) []evidence.Entry { return nil }
	}, "the secret came another way"},
}

// breakages are faults of the environment: nothing is known about the subject, so a test must not blame it.
var breakages = []fault{
	{"pods cannot be made", "PRX-10", func(w *simulated.World) { w.Forbid("/pods") }, "run pod route"},
	{"pods cannot be read", "PRX-14", func(w *simulated.World) { w.Forbid("/pods") }, "list the pods of other tests"},
	{"logs cannot be read", "PRX-12", func(w *simulated.World) { w.Forbid("/log") }, "read the log of pod"},
	{"jobs cannot be made", "PRX-08", func(w *simulated.World) { w.Forbid("/jobs") }, "create job job"},
	{"events cannot be read", "PRX-14", func(w *simulated.World) { w.Forbid("/events") }, "list the events"},
	{"the emulator is gone", "PRX-16", func(w *simulated.World) {
		w.Env.Azure.Evidence = func(context.Context, uint64) ([]evidence.Entry, error) {
			return nil, errors.New("the emulator is gone")
		}
	}, "the emulator is gone"},
	{"the metadata service is gone", "PRX-09", func(w *simulated.World) {
		w.Env.IMDS.Evidence = func(context.Context) ([]imds.Entry, error) { return nil, errors.New("the metadata service is gone") }
	}, "the metadata service is gone"},
	{"the metadata service cannot be paused", "PRX-10", func(w *simulated.World) {
		w.Env.IMDS.Pause = func(context.Context) (func(context.Context) error, error) { return nil, errors.New("it goes on") }
	}, "take the metadata service from the nodes: it goes on"},
	{"the metadata service cannot be put back", "PRX-10", func(w *simulated.World) {
		w.Env.IMDS.Pause = func(context.Context) (func(context.Context) error, error) {
			w.Network.Pause(true)
			return func(context.Context) error { return errors.New("it stays away") }, nil
		}
	}, "put the metadata service back: it stays away"},
	{"nobody is at IMDS' address", "PRX-13", func(w *simulated.World) { w.Network.Pause(true) }, "without a proxy"},
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}
