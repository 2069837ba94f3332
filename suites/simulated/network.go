package simulated

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/fixtures/ask"
	"github.com/wi-e2e/wi-e2e/fixtures/imds"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/proxy"
	"github.com/wi-e2e/wi-e2e/fixtures/reference/redirect"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Network is what pods reach beside Azure: each other's containers within a pod, the pod's proxy, which is the reference's, and the
// metadata service of their node.
type Network struct {
	// Init changes what a pod's init container redirects, Proxy is a fault of each pod's proxy.
	Init  func(r *redirect.Redirect)
	Proxy proxy.Fault
	// Hook is the proxy's post-start hook, which waits until it serves.
	Hook func(ctx context.Context, c *Container) error

	service imds.Service

	mu     sync.Mutex
	paused bool
	pods   map[types.UID]*podNetwork
}

// newNetwork gives the node a network that conforms.
func newNetwork(node *Node) *Network {
	n := &Network{Init: func(*redirect.Redirect) {}, pods: map[types.UID]*podNetwork{}}
	n.Hook = n.awaitProxy
	others := node.Programs
	node.Programs = func(c corev1.Container) Program {
		if len(c.Args) > 0 {
			switch c.Args[0] {
			case ask.Verb:
				return n.ask
			case redirect.Verb:
				return n.redirect
			case proxy.Verb:
				return n.proxy
			}
		}
		return others(c)
	}
	node.PostStart = func(ctx context.Context, c *Container) error { return n.Hook(ctx, c) }
	node.IMDS = func(c *Container) http.RoundTripper {
		return &http.Transport{DialContext: (&containerNetwork{n, c}).Dial, DisableKeepAlives: true}
	}
	return n
}

// env is the metadata service as tests have it.
func (n *Network) env() *suites.IMDS {
	return &suites.IMDS{
		Evidence: func(context.Context) ([]imds.Entry, error) { return n.service.Evidence(), nil },
		Pause: func(context.Context) (func(context.Context) error, error) {
			n.Pause(true)
			return func(context.Context) error { n.Pause(false); return nil }, nil
		},
	}
}

// Pause takes the metadata service away, or puts it back.
func (n *Network) Pause(paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = paused
}

// podNetwork is what a pod's containers share.
type podNetwork struct {
	redirect  redirect.Redirect
	listeners map[string]string            // real addresses, by the pod's; datagrams' have a prefix
	metadata  string                       // real address of the node's metadata service for this pod
	listening map[*Container]chan struct{} // of proxies
}

// newServer keeps to itself what a server says of connections: faults break them on purpose.
func newServer(handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	return server
}

// network of a container's pod.
func (n *Network) network(c *Container) *podNetwork {
	n.mu.Lock()
	defer n.mu.Unlock()
	pod := n.pods[c.Pod.UID]
	if pod == nil {
		metadata := newServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = c.Pod.IP + ":40000"
			n.service.ServeHTTP(rw, r)
		}))
		context.AfterFunc(c.Pod.Context(), metadata.Close)
		pod = &podNetwork{listeners: map[string]string{}, metadata: metadata.Listener.Addr().String(), listening: map[*Container]chan struct{}{}}
		n.pods[c.Pod.UID] = pod
	}
	return pod
}

func (n *Network) ask(ctx context.Context, c *Container) int32 {
	var steps []ask.Step
	if err := json.Unmarshal([]byte(c.Env[ask.StepsVariable]), &steps); err != nil {
		panic(err)
	}
	asker := ask.Asker{Network: &containerNetwork{n, c}, File: c.File}
	if err := asker.Take(ctx, steps, c.Log); err != nil {
		return 1
	}
	return 0
}

// redirect is the reference's init container.
func (n *Network) redirect(_ context.Context, c *Container) int32 {
	port, err := strconv.ParseUint(cmp.Or(c.Env[redirect.PortVariable], strconv.Itoa(redirect.DefaultPort)), 10, 16)
	user, notUser := strconv.ParseUint(flag(c.Args, redirect.UserFlag), 10, 32)
	if err := errors.Join(err, notUser); err != nil {
		return fail(c, err)
	}
	r := redirect.New(uint16(port), uint32(user))
	n.Init(&r)
	pod := n.network(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	pod.redirect = r
	return 0
}

// proxy is the reference's.
func (n *Network) proxy(ctx context.Context, c *Container) int32 {
	options := proxy.Options{
		ClientID: c.Env[suites.ClientIDVariable], TenantID: c.Env[suites.TenantIDVariable], AuthorityHost: c.Env[suites.AuthorityHostVariable],
		IMDS: "http://" + imds.Address, Log: slog.New(slog.DiscardHandler), Transport: &http.Client{Transport: c.Pod.Azure()},
		Dial: (&containerNetwork{n, c}).Dial,
	}
	if file := c.Env[suites.TokenFileVariable]; file != "" {
		options.TokenFile = c.File(file)
	}
	handler, err := n.Proxy.New(options)
	if err != nil {
		return fail(c, err)
	}
	server := newServer(handler)
	defer server.Close()
	pod := n.network(c)
	n.mu.Lock()
	pod.listeners[loopback(flag(c.Args, proxy.PortFlag))] = server.Listener.Addr().String()
	n.mu.Unlock()
	close(n.listening(c))
	<-ctx.Done()
	server.CloseClientConnections()
	return 0
}

// awaitProxy is the hook of the reference's proxy.
func (n *Network) awaitProxy(ctx context.Context, c *Container) error {
	if !isProxy(c) {
		return nil
	}
	pod := n.network(c)
	select {
	case <-n.listening(c):
	case <-ctx.Done():
		return ctx.Err()
	}
	address := loopback(flag(c.Lifecycle.PostStart.Exec.Command, proxy.PortFlag))
	n.mu.Lock()
	real, ok := pod.listeners[address]
	n.mu.Unlock()
	if !ok {
		return fmt.Errorf("nobody listens at %s", address)
	}
	return proxy.AwaitReady(ctx, real)
}

// listening is closed when a proxy listens, which it does at most once: one that starts again is another container.
func (n *Network) listening(c *Container) chan struct{} {
	pod := n.network(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	if pod.listening[c] == nil {
		pod.listening[c] = make(chan struct{})
	}
	return pod.listening[c]
}

func isProxy(c *Container) bool { return len(c.Args) > 0 && c.Args[0] == proxy.Verb }

// flag is the value of a flag among arguments.
func flag(args []string, name string) string {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// fail ends a program as the command line does.
func fail(c *Container, err error) (exitCode int32) {
	_, _ = fmt.Fprintln(c.Log, err)
	return 1
}

// containerNetwork is the network as a container has it.
type containerNetwork struct {
	*Network
	c *Container
}

const datagrams = "udp "

func (n *containerNetwork) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: there are no names in this network: %w", address, err)
	}
	protocol, key := redirect.TCP, ""
	if strings.HasPrefix(network, "udp") {
		protocol, key = redirect.UDP, datagrams
	}
	pod := n.network(n.c)
	n.mu.Lock()
	redirected := pod.redirect.Redirects(uint32(n.c.UID), protocol, to)
	if redirected {
		address = loopback(strconv.Itoa(int(pod.redirect.Port)))
	}
	real, ours := pod.listeners[key+address]
	if !ours && protocol == redirect.TCP && address == imds.Address+":80" && !n.paused {
		real, ours = pod.metadata, true
	}
	n.mu.Unlock()
	switch {
	case redirected && isProxy(n.c):
		return nil, errors.New("the proxy calls itself without end")
	case protocol == redirect.UDP && !ours:
		real = address
		if to.Addr().String() == imds.Address {
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
	pod := n.network(n.c)
	n.mu.Lock()
	defer n.mu.Unlock()
	pod.listeners[address] = real.String()
}
