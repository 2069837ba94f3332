package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

const (
	tokenProxyVar = "AZURE_KUBERNETES_TOKEN_PROXY"
	sniNameVar    = "AZURE_KUBERNETES_SNI_NAME"
	caFileVar     = "AZURE_KUBERNETES_CA_FILE"
	caDataVar     = "AZURE_KUBERNETES_CA_DATA"
)

func endpointTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "endpoint-off",
			Title:        "Without configuration no annotation selects the custom token endpoint",
			Tier:         suites.Admission,
			Requirements: []string{"CTE-01"},
			Needs:        []suites.Capability{suites.NoCustomTokenEndpoint},
			Body:         endpointOff,
		},
		{
			ID:           "endpoint-selected",
			Title:        "The pod annotation with the configured suffix selects the custom token endpoint",
			Tier:         suites.Admission,
			Requirements: []string{"CTE-01"},
			Needs:        []suites.Capability{suites.CustomTokenEndpoint},
			Body:         endpointSelected,
		},
		{
			ID:           "endpoint-audience",
			Title:        "With the custom token endpoint the token is for the configured audience",
			Tier:         suites.Admission,
			Requirements: []string{"CTE-02"},
			Needs:        []suites.Capability{suites.CustomTokenEndpoint},
			Body:         endpointAudience,
		},
		{
			ID:           "endpoint-variables",
			Title:        "With the custom token endpoint its variables are injected, and preset ones kept",
			Tier:         suites.Admission,
			Requirements: []string{"CTE-03"},
			Needs:        []suites.Capability{suites.CustomTokenEndpoint},
			Body:         endpointVariables,
		},
	}
}

func endpointAnnotation(suffix string) string { return suites.UseLabel + "-" + suffix }

// selectsEndpoint says whether the container was given the custom token endpoint.
func selectsEndpoint(a added) bool {
	return slices.ContainsFunc(a.azureNames(), func(n string) bool { return strings.HasPrefix(n, "AZURE_KUBERNETES_") })
}

func endpointOff(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, suffix := range []string{"identity-binding", "custom-token-endpoint"} {
		t.Case(ctx, endpointAnnotation(suffix), func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, annotated(endpointAnnotation(suffix), "true"))
			got := admit(ctx, t, ns, pod)
			t.Check(!selectsEndpoint(observe(pod, got).containers["app"]), "the endpoint's variables are injected")
			t.Equal("audience", t.Subject().Audience, tokenSource(tokenVolume(t, pod, got)).Audience)
		})
	}
}

func endpointSelected(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	annotation := endpointAnnotation(t.Subject().CustomTokenEndpoint.AnnotationSuffix)
	for _, c := range []struct {
		name, key, value string
		want             bool
	}{
		{`"true"`, annotation, "true", true},
		{`"True"`, annotation, "True", true},
		{`"TRUE"`, annotation, "TRUE", true},
		{`"false"`, annotation, "false", false},
		{`"1"`, annotation, "1", false},
		{"an empty value", annotation, "", false},
		{"another suffix", annotation + "-other", "true", false},
		{"no suffix", suites.UseLabel, "true", false},
	} {
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, annotated(c.key, c.value))
			got := admit(ctx, t, ns, pod)
			t.Check(selectsEndpoint(observe(pod, got).containers["app"]) == c.want, "the endpoint is selected: %v, want %v", !c.want, c.want)
		})
	}
	t.Case(ctx, "no annotation", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa)
		got := admit(ctx, t, ns, pod)
		t.Check(!selectsEndpoint(observe(pod, got).containers["app"]), "the endpoint is selected")
		t.Equal("audience", t.Subject().Audience, tokenSource(tokenVolume(t, pod, got)).Audience)
	})
}

func endpointAudience(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	endpoint := t.Subject().CustomTokenEndpoint
	t.Check(endpoint.Audience != subject.DefaultAudience, "the configured audience is the default one, %s", endpoint.Audience)
	pod := newPod(sa, annotated(endpointAnnotation(endpoint.AnnotationSuffix), "true"))
	source := tokenSource(tokenVolume(t, pod, admit(ctx, t, ns, pod)))
	t.Equal("audience", endpoint.Audience, source.Audience)
}

func endpointVariables(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	selected := annotated(endpointAnnotation(t.Subject().CustomTokenEndpoint.AnnotationSuffix), "true")
	t.Case(ctx, "in every container", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, selected, withInit(container("init")), withContainers(container("app"), container("second")))
		got := admit(ctx, t, ns, pod)
		in := observe(pod, got)
		volume := tokenVolume(t, pod, got)
		for _, name := range containerNames(pod) {
			proxy, ok := in.containers[name].variable(tokenProxyVar)
			t.Check(ok && strings.HasPrefix(proxy, "https://"), "%s of container %s is %q, want an https URL", tokenProxyVar, name, proxy)
			_, ok = in.containers[name].variable(sniNameVar)
			t.Check(ok, "container %s did not get %s", name, sniNameVar)
			file, hasFile := in.containers[name].variable(caFileVar)
			data, hasData := in.containers[name].variable(caDataVar)
			t.Check(hasFile != hasData, "container %s got %s: %v and %s: %v, want exactly one", name, caFileVar, hasFile, caDataVar, hasData)
			if hasFile {
				t.Check(slices.Contains(projectedFiles(in.containers[name], volume), file), "%s of container %s is %s, where nothing is projected", caFileVar, name, file)
			} else {
				t.Check(strings.Contains(data, "BEGIN CERTIFICATE"), "%s of container %s holds no certificate", caDataVar, name)
			}
			expectTokenFile(t, name, in.containers[name], volume)
		}
	})
	for _, variable := range []string{tokenProxyVar, sniNameVar, caFileVar, caDataVar} {
		for _, d := range declarations {
			t.Case(ctx, fmt.Sprintf("%s preset as %s", variable, d.name), func(ctx context.Context, t *suites.T) {
				preset := d.declare(variable)
				pod := newPod(sa, selected, withContainers(container("app", preset)))
				plain := pod.DeepCopy()
				unlabelled(plain)
				want := declared(find(admit(ctx, t, ns, plain), "app"), variable)
				t.Equal("declarations of "+variable, want, declared(find(admit(ctx, t, ns, pod), "app"), variable))
			})
		}
	}
}

// projectedFiles are the paths that a ConfigMap or ClusterTrustBundle source of the volume has in the container.
func projectedFiles(a added, volume corev1.Volume) []string {
	var files []string
	for _, m := range a.mounts {
		if m.Name != volume.Name {
			continue
		}
		for _, s := range volume.Projected.Sources {
			if s.ConfigMap != nil {
				for _, item := range s.ConfigMap.Items {
					if item.Key == "ca.crt" {
						files = append(files, m.MountPath+"/"+item.Path)
					}
				}
			}
			if s.ClusterTrustBundle != nil {
				files = append(files, m.MountPath+"/"+s.ClusterTrustBundle.Path)
			}
		}
	}
	return files
}
