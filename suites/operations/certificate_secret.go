package operations

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Keys of the Secret, as cert-controller has them.
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

// keptCertificate is the webhook's Secret as it was found: the serving certificate and the CA that signs it.
type keptCertificate struct {
	secret     *corev1.Secret
	serverName string
	authority  *x509.Certificate
	signer     crypto.Signer // the authority's
}

// readCertificate finds it sound: else nothing that a test does to it would show.
func readCertificate(ctx context.Context, t *suites.T) *keptCertificate {
	k := &keptCertificate{serverName: serverName(t.Subject())}
	ns := t.Subject().Service.Namespace
	var err error
	k.secret, err = t.Kube().CoreV1().Secrets(ns).Get(ctx, subject.CertificateSecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.Require(false, "there is no Secret %s/%s: the webhook does not keep its own certificate, so that nothing is known to repair and to renew it",
			ns, subject.CertificateSecretName)
	}
	t.Must(err, "get Secret %s/%s", ns, subject.CertificateSecretName)
	_, err = k.sound(k.secret.Data)
	t.Require(err == nil, "what Secret %s/%s has is not sound before anything was done to it: %v", ns, subject.CertificateSecretName, err)
	pair, err := tls.X509KeyPair(k.secret.Data[authorityCert], k.secret.Data[authorityKey])
	t.Require(err == nil, "the CA of Secret %s/%s has no key that it could renew certificates with: %v", ns, subject.CertificateSecretName, err)
	signer, ok := pair.PrivateKey.(crypto.Signer)
	t.Require(ok, "the CA's key of Secret %s/%s cannot sign", ns, subject.CertificateSecretName)
	k.authority, k.signer = pair.Leaf, signer
	return k
}

// sound returns the serving certificate of a Secret if there is nothing to repair or to renew.
func (k *keptCertificate) sound(data map[string][]byte) (*x509.Certificate, error) {
	if len(data[corev1.TLSCertKey]) == 0 || len(data[authorityCert]) == 0 {
		return nil, errors.New("it has no certificate")
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	block, _ := pem.Decode(data[authorityCert])
	if block == nil {
		return nil, errors.New("its CA is no certificate")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("its CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: k.serverName}); err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	for _, c := range []struct {
		what        string
		certificate *x509.Certificate
	}{{"CA", authority}, {"certificate", pair.Leaf}} {
		if time.Until(c.certificate.NotAfter) < endsSoon {
			return nil, fmt.Errorf("its %s ends soon, at %s", c.what, c.certificate.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return pair.Leaf, nil
}

// write puts data into the Secret, and returns the version that has it.
func (k *keptCertificate) write(ctx context.Context, t *suites.T, data map[string][]byte) string {
	secret := k.secret.DeepCopy()
	secret.Data = data
	stored, err := t.Kube().CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{FieldManager: suites.FieldManager})
	t.Must(err, "change Secret %s/%s", secret.Namespace, secret.Name)
	return stored.ResourceVersion
}

// awaitSound watches the Secret until it is sound in a version after the given one, and returns its certificate.
func (k *keptCertificate) awaitSound(ctx context.Context, t *suites.T, after string) (*x509.Certificate, error) {
	limited, cancel := context.WithTimeout(ctx, repairedWithin)
	defer cancel()
	var repaired *x509.Certificate
	latest := errors.New("it is as it was put there")
	list := cache.NewListWatchFromClient(t.Kube().CoreV1().RESTClient(), "secrets", k.secret.Namespace,
		fields.OneTermEqualSelector(metav1.ObjectNameField, k.secret.Name))
	_, err := watchtools.UntilWithSync(limited, list, &corev1.Secret{}, nil, func(e watch.Event) (bool, error) {
		secret, ok := e.Object.(*corev1.Secret)
		if !ok || e.Type == watch.Deleted || secret.ResourceVersion == after {
			return false, nil
		}
		repaired, latest = k.sound(secret.Data)
		return latest == nil, nil
	})
	return repaired, waited(ctx, t, err, latest, "watch Secret "+k.secret.Namespace+"/"+k.secret.Name)
}

// waited is nil if a wait came to its end, and what was wrong at last if its own limit ended it. That the test was ended, or could not
// wait, says nothing about the subject.
func waited(ctx context.Context, t *suites.T, err, latest error, doing string) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		t.Must(context.Cause(ctx), "%s", doing)
	case !wait.Interrupted(err):
		t.Must(err, "%s", doing)
	}
	return latest
}

// putBack writes what was found.
func (k *keptCertificate) putBack(ctx context.Context, t *suites.T) {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreWithin)
	defer cancel()
	secrets := t.Kube().CoreV1().Secrets(k.secret.Namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := secrets.Get(undo, k.secret.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Data = k.secret.Data
		_, err = secrets.Update(undo, now, metav1.UpdateOptions{FieldManager: suites.FieldManager})
		return err
	})
	t.Must(err, "put back what Secret %s/%s had", k.secret.Namespace, k.secret.Name)
}

func emptySecret(*keptCertificate) (map[string][]byte, error) { return nil, nil }

// certificateEndingSoon is one that nobody would refuse yet.
func certificateEndingSoon(k *keptCertificate) (map[string][]byte, error) {
	return k.withCertificate(k.authority, k.signer, k.serverName, time.Now().Add(time.Hour))
}

// authorityEndingSoon is the CA with another end: the same key, so that what it signed is as good as before until it is renewed.
func authorityEndingSoon(k *keptCertificate) (map[string][]byte, error) {
	template := *k.authority
	template.NotAfter = time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, k.signer.Public(), k.signer)
	if err != nil {
		return nil, err
	}
	data := maps.Clone(k.secret.Data)
	data[authorityCert] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return data, nil
}

func certificateOfAnotherName(k *keptCertificate) (map[string][]byte, error) {
	return k.withCertificate(k.authority, k.signer, "other."+k.serverName, k.authority.NotAfter)
}

// certificateOfAnotherAuthority is one that its own key signed.
func certificateOfAnotherAuthority(k *keptCertificate) (map[string][]byte, error) {
	return k.withCertificate(nil, nil, k.serverName, k.authority.NotAfter)
}

// withCertificate is the Secret with another serving certificate, signed by itself without a signer.
func (k *keptCertificate) withCertificate(parent *x509.Certificate, signer crypto.Signer, name string, end time.Time) (map[string][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if signer == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := maps.Clone(k.secret.Data)
	data[corev1.TLSCertKey] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	data[corev1.TLSPrivateKeyKey] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	return data, nil
}

// describeCertificate tells certificates apart: cert-controller gives all of them one serial number.
func describeCertificate(c *x509.Certificate) string {
	fingerprint := sha256.Sum256(c.Raw)
	return fmt.Sprintf("the certificate %x… for %q, from %s to %s", fingerprint[:4], c.DNSNames, c.NotBefore.UTC().Format(time.RFC3339),
		c.NotAfter.UTC().Format(time.RFC3339))
}
