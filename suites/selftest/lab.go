package selftest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/reference"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Lab is a cluster on which webhooks of this process are registered, each for the namespaces of one run.
type Lab struct {
	cluster cluster.Cluster
	kube    kubernetes.Interface
	server  *http.Server
	address *net.TCPAddr // where the webhooks listen, as the node sees it
	ca      []byte

	mu       sync.Mutex
	webhooks map[string]http.Handler // by run, and by name of a Service that leads to several
}

const (
	labNamespace = "wi-e2e-selftest"
	webhookPath  = "/mutate-v1-pod"
	// sharedService leads to all webhooks that are registered as they should be.
	sharedService = "shared"
	// namespacePrefix stands before the run's ID in the names of its namespaces.
	namespacePrefix = "wi-e2e-"
	// parallelRegistrations wait, and compute little.
	parallelRegistrations = 32
	// fuzzPods are enough for faults that most pods show.
	fuzzPods = 60
	// registeredWithin bounds the time until an API server calls a webhook that was registered.
	registeredWithin = time.Minute
)

// Webhook is one to put into the lab.
type Webhook struct {
	// Run names the webhook, its objects and its namespaces; lower-case letters and digits, as short as that of a run.
	Run     string
	Handler http.Handler
	// Register changes the registration; nil leaves it conformant.
	Register func(*registrationv1.MutatingWebhook)
	// AnyNamespace registers it without a namespaceSelector, for tests that look at that. It is then kept apart by a condition
	// which costs every pod of the cluster some time.
	AnyNamespace bool
	// Subject is what the tests know of it. The lab fills in where it is.
	Subject subject.Installed
}

// NewLab makes a lab of a cluster whose API server can reach this process.
func NewLab(ctx context.Context, c cluster.Cluster) (*Lab, error) {
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "selftest"))
	if err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: labNamespace}}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", labNamespace, err)
	}
	l := &Lab{cluster: c, kube: kube, webhooks: map[string]http.Handler{}}
	return l, l.listen(config.Host)
}

// listen serves the webhooks where the API server finds them: it is in the node's network, and the host's end of the link
// to it is the address.
func (l *Lab) listen(apiServer string) error {
	u, err := url.Parse(apiServer)
	if err != nil {
		return fmt.Errorf("the API server's URL: %w", err)
	}
	route, err := net.Dial("udp", u.Host) // sends nothing
	if err != nil {
		return fmt.Errorf("find the way to the API server: %w", err)
	}
	host := route.LocalAddr().(*net.UDPAddr).IP.String()
	certificate, err := newCertificate("*." + labNamespace + ".svc")
	if err := errors.Join(err, route.Close()); err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(host, "0"), &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return fmt.Errorf("listen for the API server: %w", err)
	}
	l.address = listener.Addr().(*net.TCPAddr)
	l.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	l.server = &http.Server{Handler: l}
	go func() { _ = l.server.Serve(listener) }() // ends with Close
	return nil
}

// Close ends the webhooks. The cluster stays as it is.
func (l *Lab) Close() error { return l.server.Close() }

// ServeHTTP finds the webhook by the Service that was called.
func (l *Lab) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	service, _, _ := strings.Cut(r.Host, ".")
	l.mu.Lock()
	webhook := l.webhooks[service]
	l.mu.Unlock()
	if webhook == nil {
		http.NotFound(rw, r)
		return
	}
	webhook.ServeHTTP(rw, r)
}

// Install registers webhooks and returns what tests of each run stand on, as soon as the API server calls them.
//
// Those that are registered as they should be share one registration, for the namespaces of their runs: the API server
// looks at every registration for every pod, and hundreds cost it more than all the rest.
func (l *Lab) Install(ctx context.Context, webhooks ...Webhook) ([]*suites.Env, error) {
	var registrations []*registration
	shared := &registration{name: sharedService}
	for _, w := range webhooks {
		l.put(w.Run, w.Handler)
		if w.Register != nil || w.AnyNamespace {
			registrations = append(registrations, &registration{name: w.Run, webhooks: []Webhook{w}})
			continue
		}
		shared.webhooks = append(shared.webhooks, w)
	}
	if len(shared.webhooks) > 0 {
		l.put(shared.name, http.HandlerFunc(l.serveByNamespace))
		registrations = append(registrations, shared)
	}
	configurations := map[string]string{} // by run
	group, registering := errgroup.WithContext(ctx)
	group.SetLimit(parallelRegistrations)
	for _, r := range registrations {
		config, err := l.configuration(r)
		if err != nil {
			return nil, err
		}
		for _, w := range r.webhooks {
			configurations[w.Run] = config.Name
		}
		group.Go(func() error { return l.register(registering, r, config) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var envs []*suites.Env
	for _, w := range webhooks {
		env, err := l.env(w, configurations[w.Run])
		if err != nil {
			return nil, err
		}
		envs = append(envs, env)
	}
	return envs, nil
}

func (l *Lab) put(service string, webhook http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.webhooks[service] = webhook
}

// serveByNamespace finds the webhook by the namespace that a request is about.
func (l *Lab) serveByNamespace(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var review struct{ Request struct{ Namespace string } }
	if err := errors.Join(err, json.Unmarshal(body, &review)); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	run, _, _ := strings.Cut(strings.TrimPrefix(review.Request.Namespace, namespacePrefix), "-")
	l.mu.Lock()
	webhook := l.webhooks[run]
	l.mu.Unlock()
	if webhook == nil {
		http.NotFound(rw, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	webhook.ServeHTTP(rw, r)
}

// env is what tests of the webhook's run stand on.
func (l *Lab) env(w Webhook, configuration string) (*suites.Env, error) {
	in := w.Subject
	in.WebhookConfiguration, in.CABundle, in.Path = configuration, l.ca, webhookPath
	in.Service, in.ServicePort, in.Namespace = types.NamespacedName{Namespace: labNamespace, Name: w.Run}, 443, labNamespace
	env := &suites.Env{
		Cluster: l.cluster, Subject: &in, RunID: w.Run, UserAgent: "wi-e2e/selftest", Strict: true, KeepNamespaces: true,
		Record: func(string, string, string) error { return nil }, // the cluster goes as a whole
		Fuzz:   suites.Fuzz{Seed: 1, Pods: fuzzPods},
		DialSubject: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.address.String())
		},
	}
	return env, env.Connect()
}

// registration is one of webhooks, under the name of a Service.
type registration struct {
	name     string
	webhooks []Webhook
}

// configuration is the reference's, for the namespaces of the webhooks' runs.
func (l *Lab) configuration(r *registration) (*registrationv1.MutatingWebhookConfiguration, error) {
	registered, err := reference.Registration()
	if err != nil {
		return nil, err
	}
	registered.ClientConfig = registrationv1.WebhookClientConfig{
		Service: &registrationv1.ServiceReference{Namespace: labNamespace, Name: r.name, Path: ptr.To(webhookPath)}, CABundle: l.ca,
	}
	var runs []string
	anyNamespace := false
	for _, w := range r.webhooks {
		runs = append(runs, w.Run)
		anyNamespace = anyNamespace || w.AnyNamespace
		if w.Register != nil {
			w.Register(&registered)
		}
	}
	if anyNamespace || registered.NamespaceSelector != nil {
		registered.MatchConditions = []registrationv1.MatchCondition{{
			Name: "namespaces-of-its-own-run", Expression: fmt.Sprintf("request.namespace.startsWith('%s%s-')", namespacePrefix, runs[0]),
		}}
	} else {
		registered.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: suites.RunLabel, Operator: metav1.LabelSelectorOpIn, Values: runs},
		}}
	}
	return &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: labNamespace + "-" + r.name}, Webhooks: []registrationv1.MutatingWebhook{registered},
	}, nil
}

// register returns when the API server calls the first of the webhooks.
func (l *Lab) register(ctx context.Context, r *registration, config *registrationv1.MutatingWebhookConfiguration) error {
	w := r.webhooks[0]
	called := make(chan struct{})
	var once sync.Once
	l.put(w.Run, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(called) })
		w.Handler.ServeHTTP(rw, r)
	}))
	if err := l.create(ctx, r.name, config); err != nil {
		return fmt.Errorf("register webhook %s: %w", r.name, err)
	}
	return l.awaitCall(ctx, w.Run, config.Webhooks[0].NamespaceSelector, called)
}

// create makes the objects of a registration. Its Service leads to this process.
func (l *Lab) create(ctx context.Context, service string, config *registrationv1.MutatingWebhookConfiguration) error {
	port := int32(l.address.Port)
	_, err := l.kube.CoreV1().Services(labNamespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(port)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = l.kube.DiscoveryV1().EndpointSlices(labNamespace).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{l.address.IP.String()}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = l.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, config, metav1.CreateOptions{})
	return err
}

// awaitCall sends pods until the webhook is called: the API server learns of a new webhook, and the node of a
// new Service, a moment after they are made, and neither tells.
func (l *Lab) awaitCall(ctx context.Context, run string, selector *metav1.LabelSelector, called <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, registeredWithin, fmt.Errorf("not within %s", registeredWithin))
	defer cancel()
	labels := map[string]string{suites.RunLabel: run}
	if selector != nil {
		maps.Copy(labels, selector.MatchLabels)
	}
	probe := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespacePrefix + run + "-probe", Labels: labels}}
	if _, err := l.kube.CoreV1().Namespaces().Create(ctx, probe, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", probe.Name, err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app"}}
	if _, err := l.kube.CoreV1().ServiceAccounts(probe.Name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create service account %s/app: %w", probe.Name, err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "probe", Labels: map[string]string{suites.UseLabel: "true"}},
		Spec:       corev1.PodSpec{ServiceAccountName: "app", Containers: []corev1.Container{{Name: "app", Image: "wi-e2e.invalid/never-pulled:1"}}},
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := l.kube.CoreV1().Pods(probe.Name).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		select {
		case <-called:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the API server does not call webhook %s: %w; the last pod: %w", run, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// newCertificate is a server's certificate that is its own CA. On an elliptic curve, as there are hundreds of handshakes.
func newCertificate(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wi-e2e selftest"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
