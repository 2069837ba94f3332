package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/redirect"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// world is a cluster whose pods have the reference proxy, and a metadata service on its node. It conforms; faults replace its
// functions before any test runs.
type world struct {
	*simulated.World
	t *testing.T
	// redirects says whether a call of a container is led to the pod's proxy.
	redirects func(r redirection, c *simulated.Container, network, host, port string) bool
	// program changes what the init container is told to do, options what the proxy is.
	program func(r *redirection)
	options func(o *proxy.Options)
	// handler stands before each pod's proxy, which has these options.
	handler func(o proxy.Options, next http.Handler) http.Handler
	// hook is the proxy's post-start hook, which waits until it serves.
	hook func(ctx context.Context, c *simulated.Container) error

	service imds.Service

	mu       sync.Mutex
	paused   bool
	networks map[types.UID]*podNetwork
}

// redirection is what an init container has set up.
type redirection struct {
	there  bool
	port   string
	exempt int64
}

// podNetwork is what a pod's containers share.
type podNetwork struct {
	redirection redirection
	listeners   map[string]string // real addresses, by the pod's; datagrams' have a prefix
	metadata    string            // real address of the node's metadata service for this pod
	serving     chan struct{}     // closed when the proxy serves
}

func newWorld(t *testing.T, l *simulated.Lab, tests ...suites.Test) *world {
	t.Helper()
	w := &world{
		World: simulated.NewWorld(t, l, tests...), t: t, networks: map[types.UID]*podNetwork{},
		redirects: func(r redirection, c *simulated.Container, network, host, port string) bool {
			return r.there && c.UID != r.exempt && network == "tcp" && host == imds.Address && port == "80"
		},
		program: func(*redirection) {},
		options: func(*proxy.Options) {},
		handler: func(_ proxy.Options, next http.Handler) http.Handler { return next },
	}
	w.hook = w.awaitProxy
	w.Env.IMDS = &suites.IMDS{
		Evidence: func(context.Context) ([]imds.Entry, error) { return w.service.Evidence(), nil },
		Pause: func(context.Context) (func(context.Context) error, error) {
			w.pause(true)
			return func(context.Context) error { w.pause(false); return nil }, nil
		},
	}
	node := w.API.Node
	others := node.Programs
	node.Programs = func(c corev1.Container) simulated.Program {
		if len(c.Args) > 0 {
			switch c.Args[0] {
			case ask.Verb:
				return w.ask
			case redirect.Verb:
				return w.redirect
			case "proxy":
				return w.proxy
			}
		}
		return others(c)
	}
	node.PostStart = func(ctx context.Context, c *simulated.Container) error { return w.hook(ctx, c) }
	node.IMDS = func(c *simulated.Container) http.RoundTripper {
		return &http.Transport{DialContext: (&containerNetwork{w, c}).Dial, DisableKeepAlives: true}
	}
	return w
}

func (w *world) pause(paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = paused
}

func (w *world) isPaused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused
}

// network of a container's pod.
func (w *world) network(c *simulated.Container) *podNetwork {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.networks[c.Pod.UID]
	if n == nil {
		metadata := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = c.Pod.IP + ":40000"
			w.service.ServeHTTP(rw, r)
		}))
		context.AfterFunc(c.Pod.Context(), metadata.Close)
		n = &podNetwork{listeners: map[string]string{}, metadata: metadata.Listener.Addr().String(), serving: make(chan struct{})}
		w.networks[c.Pod.UID] = n
	}
	return n
}

func (w *world) ask(ctx context.Context, c *simulated.Container) int32 {
	var steps []ask.Step
	if err := json.Unmarshal([]byte(c.Env[ask.StepsVariable]), &steps); err != nil {
		panic(err)
	}
	asker := ask.Asker{Network: &containerNetwork{w, c}, File: c.File}
	if err := asker.Take(ctx, steps, c.Log); err != nil {
		return 1
	}
	return 0
}

// redirect is the reference's init container.
func (w *world) redirect(_ context.Context, c *simulated.Container) int32 {
	r := redirection{there: true, port: c.Env[redirect.PortVariable]}
	for _, arg := range c.Args {
		if user, ok := strings.CutPrefix(arg, "--"+redirect.UserFlag+"="); ok {
			r.exempt, _ = strconv.ParseInt(user, 10, 64)
		}
	}
	w.program(&r)
	n := w.network(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	n.redirection = r
	return 0
}

// proxy is the reference's.
func (w *world) proxy(ctx context.Context, c *simulated.Container) int32 {
	port := ""
	for _, arg := range c.Args {
		if given, ok := strings.CutPrefix(arg, "--proxy-port="); ok {
			port = given
		}
	}
	options := proxy.Options{
		ClientID: c.Env[suites.ClientIDVariable], TenantID: c.Env[suites.TenantIDVariable], AuthorityHost: c.Env[suites.AuthorityHostVariable],
		IMDS: imdsURL, Log: slog.New(slog.DiscardHandler), Transport: &http.Client{Transport: c.Pod.Azure()},
		Dial: (&containerNetwork{w, c}).Dial,
	}
	if file := c.Env[suites.TokenFileVariable]; file != "" {
		options.TokenFile = c.File(file)
	}
	w.options(&options)
	reference, err := proxy.New(options)
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(w.handler(options, reference))
	defer server.Close()
	n := w.network(c)
	w.mu.Lock()
	n.listeners["127.0.0.1:"+port] = server.Listener.Addr().String()
	w.mu.Unlock()
	close(n.serving)
	<-ctx.Done()
	server.CloseClientConnections()
	return 0
}

// awaitProxy is the hook of the reference's proxy.
func (w *world) awaitProxy(ctx context.Context, c *simulated.Container) error {
	if len(c.Args) == 0 || c.Args[0] != "proxy" || c.Lifecycle == nil {
		return nil
	}
	select {
	case <-w.network(c).serving:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// containerNetwork is the network as a container has it.
type containerNetwork struct {
	w *world
	c *simulated.Container
}

const datagrams = "udp "

func (n *containerNetwork) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	network = strings.TrimSuffix(network, "4")
	pod := n.w.network(n.c)
	n.w.mu.Lock()
	redirected := n.w.redirects(pod.redirection, n.c, network, host, port)
	if redirected {
		address = "127.0.0.1:" + pod.redirection.port
	}
	if network == "udp" {
		address = datagrams + address
	}
	real, ours := pod.listeners[address]
	if !ours && address == imds.Address+":80" && !n.w.paused {
		real, ours = pod.metadata, true
	}
	n.w.mu.Unlock()
	switch {
	case redirected && len(n.c.Args) > 0 && n.c.Args[0] == "proxy":
		return nil, errors.New("the proxy calls itself without end")
	case network == "udp" && !ours:
		real = strings.TrimPrefix(address, datagrams)
		if host == imds.Address {
			real = "127.0.0.1:9" // where nobody is
		}
	case !ours:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

func (n *containerNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, network, "127.0.0.1:0")
	if err == nil {
		n.listens(address, listener.Addr())
	}
	return listener, err
}

func (n *containerNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	listener, err := (&net.ListenConfig{}).ListenPacket(ctx, network, "127.0.0.1:0")
	if err == nil {
		n.listens(datagrams+address, listener.LocalAddr())
	}
	return listener, err
}

func (n *containerNetwork) listens(address string, real net.Addr) {
	pod := n.w.network(n.c)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	pod.listeners[address] = real.String()
}
