package operations

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/fixtures/portforward"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// trust is what the API server goes by when it connects to the webhook.
type trust struct {
	bundle     []byte
	serverName string
}

// registeredTrust is what the webhook configuration says now.
func registeredTrust(ctx context.Context, t *suites.T) trust {
	r, err := readTrust(ctx, t)
	t.Must(err, "find out what the API server trusts")
	return r
}

// readTrust is registeredTrust for those who must not end the test.
func readTrust(ctx context.Context, t *suites.T) (trust, error) {
	name := t.Subject().WebhookConfiguration
	configuration, err := t.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return trust{}, fmt.Errorf("get webhook configuration %s: %w", name, err)
	}
	i := webhookIndex(configuration)
	if i < 0 {
		return trust{}, fmt.Errorf("webhook configuration %s has no webhook %s any more", name, subject.WebhookName)
	}
	return trust{configuration.Webhooks[i].ClientConfig.CABundle, serverName(t.Subject())}, nil
}

func webhookIndex(c *registrationv1.MutatingWebhookConfiguration) int {
	return slices.IndexFunc(c.Webhooks, func(w registrationv1.MutatingWebhook) bool { return w.Name == subject.WebhookName })
}

// config is the API server's, which takes any version of TLS from 1.2.
func (r trust) config() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.bundle)
	return &tls.Config{RootCAs: roots, ServerName: r.serverName, MinVersion: tls.VersionTLS12}
}

// servingReplica is a replica of the webhook that is called directly.
type servingReplica struct {
	name string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// connectToReplicas finds all replicas, which are whole.
func connectToReplicas(ctx context.Context, t *suites.T, i *installation) []servingReplica {
	var replicas []servingReplica
	for _, pod := range i.pods(ctx, t) {
		dialer, err := portforward.ToPod(ctx, t.REST(), t.Subject().Service, t.Subject().ServicePort, &pod)
		t.Must(err, "reach replica %s", pod.Name)
		context.AfterFunc(ctx, func() { _ = dialer.Close() })
		replicas = append(replicas, servingReplica{pod.Name, dialer.DialContext})
	}
	if len(replicas) == 0 {
		t.Broken("no pod is behind the webhook's Service")
	}
	return replicas
}

// handshakeWithin is more than any handshake takes.
const handshakeWithin = 10 * time.Second

// handshake connects anew. That the connection could not be made at all is the harness' business; its own time is up if ctx's is.
func (r servingReplica) handshake(ctx context.Context, t *suites.T, config *tls.Config) (tls.ConnectionState, error) {
	connection, err := r.dial(ctx, "tcp", "")
	t.Must(err, "connect to replica %s", r.name)
	defer connection.Close()
	limited, cancel := context.WithTimeoutCause(ctx, handshakeWithin, fmt.Errorf("no answer within %s", handshakeWithin))
	defer cancel()
	client := tls.Client(connection, config)
	err = client.HandshakeContext(limited)
	if ctx.Err() != nil {
		t.Must(context.Cause(ctx), "shake hands with replica %s", r.name)
	}
	return client.ConnectionState(), err
}

// awaitTrusted waits until what the replica serves is accepted by the API server's trust of that moment, and by also. There is nothing to
// watch for it: the handshake is tried again and again.
func (r servingReplica) awaitTrusted(ctx context.Context, t *suites.T, also func(*x509.Certificate) error) error {
	limited, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	var latest error
	err := wait.PollUntilContextCancel(limited, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		served, err := r.handshake(ctx, t, registeredTrust(ctx, t).config())
		if err == nil {
			err = also(served.PeerCertificates[0])
		}
		latest = err
		return err == nil, nil
	})
	return waited(ctx, t, err, latest, "look at what replica "+r.name+" serves")
}

// setBundle changes nothing but the caBundle of the webhook.
func setBundle(ctx context.Context, t *suites.T, bundle []byte) {
	name := t.Subject().WebhookConfiguration
	configurations := t.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(ctx, name, metav1.GetOptions{})
	t.Must(err, "get webhook configuration %s", name)
	path := fmt.Sprintf("/webhooks/%d/", webhookIndex(configuration))
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": path + "name", "value": subject.WebhookName}, // the list is another one by now, if it fails
		{"op": "add", "path": path + "clientConfig/caBundle", "value": bundle},
	})
	t.Must(err, "encode a caBundle")
	_, err = configurations.Patch(ctx, name, types.JSONPatchType, patch, patchOptions)
	t.Must(err, "set the caBundle of webhook configuration %s", name)
}

// putBundleBack sets the caBundle that was found.
func putBundleBack(ctx context.Context, t *suites.T, bundle []byte) {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	setBundle(undo, t, bundle)
}

// awaitBundle watches the webhook configuration until it has a caBundle of certificates.
func awaitBundle(ctx context.Context, t *suites.T) error {
	limited, cancel := context.WithTimeout(ctx, repairedWithin)
	defer cancel()
	name := t.Subject().WebhookConfiguration
	latest := errors.New("nobody has changed it")
	list := cache.NewListWatchFromClient(t.Kube().AdmissionregistrationV1().RESTClient(), "mutatingwebhookconfigurations", metav1.NamespaceAll,
		fields.OneTermEqualSelector(metav1.ObjectNameField, name))
	_, err := watchtools.UntilWithSync(limited, list, &registrationv1.MutatingWebhookConfiguration{}, nil, func(e watch.Event) (bool, error) {
		configuration, ok := e.Object.(*registrationv1.MutatingWebhookConfiguration)
		if !ok || e.Type == watch.Deleted {
			return false, nil
		}
		i := webhookIndex(configuration)
		if i < 0 || !x509.NewCertPool().AppendCertsFromPEM(configuration.Webhooks[i].ClientConfig.CABundle) {
			latest = errors.New("it has no certificate")
			return false, nil
		}
		return true, nil
	})
	return waited(ctx, t, err, latest, "watch webhook configuration "+name)
}
