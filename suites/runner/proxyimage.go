package runner

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/suites"
)

// proxyImage is the image that the subject injects as the proxy. It is the subject's, and the emulator has a certificate that no
// image trusts by itself.
type proxyImage struct {
	ref string
	img v1.Image
}

// findProxy asks the subject for the proxy's image, and whether it can be made to trust Azure: a fact for the plan.
func (s *stage) findProxy(ctx context.Context, facts *suites.Facts) error {
	if s.mode() == realAzure {
		facts.Capabilities = append(facts.Capabilities, suites.ProxyImage) // whose certificate is a public one
		return nil
	}
	if !s.run.config.ownNodes() {
		return nil
	}
	ref, err := s.injectedProxy(ctx)
	if err != nil {
		return err
	}
	img, err := s.imageOfSubject(ref)
	if err != nil || img == nil {
		return err
	}
	s.proxy = &proxyImage{ref, img}
	facts.Capabilities = append(facts.Capabilities, suites.ProxyImage)
	return nil
}

// injectedProxy is the reference that pods get, "" if they get no proxy.
func (s *stage) injectedProxy(ctx context.Context) (string, error) {
	kube, err := kubernetes.NewForConfig(s.env.RESTConfig("plan"))
	if err != nil {
		return "", err
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "wi-e2e-", Labels: map[string]string{suites.UseLabel: "true"}, Annotations: map[string]string{suites.ProxyAnnotation: "true"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	admitted, err := kube.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		// Whether that is the subject's fault is for the admission tier to say.
		s.run.note(fmt.Sprintf("no proxy: a pod that asks for one is refused: %v", err))
		return "", nil
	}
	for _, c := range slices.Concat(admitted.Spec.InitContainers, admitted.Spec.Containers) {
		if c.Name == suites.ProxyContainer {
			return c.Image, nil
		}
	}
	return "", nil
}

// imageOfSubject is an image that the run brought along; nil if it is from elsewhere.
func (s *stage) imageOfSubject(ref string) (v1.Image, error) {
	if ref == "" {
		return nil, nil
	}
	self, err := s.running()
	if err != nil || self.ref == ref {
		return self.img, err
	}
	for _, archive := range s.installed.Archives {
		if archive.Has(ref) {
			return archive.Image(ref)
		}
	}
	return nil, nil
}

// trustingProxy puts a layer onto the proxy's image, under its own name: what the subject injects stays as it is.
func (s *stage) trustingProxy(ctx context.Context) error {
	img, _, err := images.Trust(s.proxy.img, s.proxy.ref, s.azure.emulator.CA)
	if err != nil {
		return err
	}
	s.run.note("the proxy's image has a layer more, to trust the emulator: " + s.proxy.ref)
	_, err = s.place(ctx, namedImage{img, s.proxy.ref})
	return err
}
