package operations

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const testServer = "azure-wi-webhook-webhook-service.azure-workload-identity-system.svc"

// newKept is a Secret as cert-controller makes it.
func newKept(t *testing.T) *keptCertificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	k := &keptCertificate{secret: &corev1.Secret{Data: map[string][]byte{
		authorityCert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		authorityKey:  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}}, serverName: testServer, authority: authority, signer: key}
	k.secret.Data, err = k.withCertificate(authority, key, testServer, time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestASoundSecret(t *testing.T) {
	k := newKept(t)
	if _, err := k.sound(k.secret.Data); err != nil {
		t.Errorf("as cert-controller makes it: %v", err)
	}
	otherKey := maps.Clone(k.secret.Data)
	otherKey[corev1.TLSPrivateKeyKey] = newKept(t).secret.Data[corev1.TLSPrivateKeyKey]
	otherAuthority := maps.Clone(k.secret.Data)
	otherAuthority[authorityCert] = newKept(t).secret.Data[authorityCert]
	for what, c := range map[string]struct {
		data map[string][]byte
		want string
	}{
		"nothing":                     {nil, "it has no certificate"},
		"the key of another":          {otherKey, "private key does not match"},
		"a CA that has not signed it": {otherAuthority, "unknown authority"},
	} {
		if _, err := k.sound(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

// TestFaultsOfASecret: each fault is what it is called, and nothing else; what an API server trusts before stays trusted in a rotation.
func TestFaultsOfASecret(t *testing.T) {
	k := newKept(t)
	want := map[string]string{
		"secret-emptied":         "it has no certificate",
		"certificate-rotation":   "its certificate ends soon",
		"authority-rotation":     "its CA ends soon",
		"certificate-wrong-name": "is valid for other.",
		"certificate-foreign":    "unknown authority",
	}
	for _, f := range secretFaults {
		t.Run(f.id, func(t *testing.T) {
			data, err := f.put(k)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.sound(data); err == nil || want[f.id] == "" || !strings.Contains(err.Error(), want[f.id]) {
				t.Errorf("the fault shows as %v, want %q", err, want[f.id])
			}
			if !f.rotation {
				return
			}
			pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
			if err != nil {
				t.Fatal(err)
			}
			for _, bundle := range [][]byte{k.secret.Data[authorityCert], data[authorityCert]} {
				roots := x509.NewCertPool()
				roots.AppendCertsFromPEM(bundle)
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: testServer}); err != nil {
					t.Errorf("the fault is an outage by itself: %v", err)
				}
			}
		})
	}
}

// TestARefusalOfTheVersion is told from other ends of a handshake.
func TestARefusalOfTheVersion(t *testing.T) {
	k := newKept(t)
	pair, err := tls.X509KeyPair(k.secret.Data[corev1.TLSCertKey], k.secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	offer := func(server *tls.Config, version uint16) error {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			if server == nil { // one that hangs up
				buffer := make([]byte, 1<<10)
				_, _ = there.Read(buffer)
				return
			}
			_ = tls.Server(there, server).HandshakeContext(t.Context())
		}()
		config := trust{k.secret.Data[authorityCert], testServer}.config()
		config.MinVersion, config.MaxVersion = version, version
		return tls.Client(here, config).HandshakeContext(t.Context())
	}
	own := []tls.Certificate{pair}
	if err := offer(&tls.Config{Certificates: own, MinVersion: tls.VersionTLS13}, tls.VersionTLS13); err != nil {
		t.Errorf("TLS 1.3 is refused: %v", err)
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		if err := offer(&tls.Config{Certificates: own, MinVersion: tls.VersionTLS13}, version); !isVersionRefusal(err) {
			t.Errorf("TLS %x: %v is not taken for a refusal of the version", version, err)
		}
	}
	if err := offer(&tls.Config{MinVersion: tls.VersionTLS12}, tls.VersionTLS12); err == nil || isVersionRefusal(err) {
		t.Errorf("a server without a certificate: %v is taken for a refusal of the version", err)
	}
	if err := offer(nil, tls.VersionTLS12); err == nil || isVersionRefusal(err) {
		t.Errorf("a server that hangs up: %v is taken for a refusal of the version", err)
	}
}
