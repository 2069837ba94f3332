package admission

import (
	"context"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

func environmentTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "env-client-id",
			Title:        "AZURE_CLIENT_ID is the service account's client-id annotation, in every container",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-01"},
			Body:         envClientID,
		},
		{
			ID:           "env-without-client-id",
			Title:        "Without the client-id annotation the pod is admitted",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-02"},
			Body:         envWithoutClientID,
		},
		{
			ID:           "env-tenant-id",
			Title:        "AZURE_TENANT_ID is the service account's annotation, else the installation's tenant",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-03"},
			Body:         envTenantID,
		},
		{
			ID:           "env-token-file",
			Title:        "AZURE_FEDERATED_TOKEN_FILE is the absolute path of the projected token",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-04"},
			Body:         envTokenFile,
		},
		{
			ID:           "env-authority-host",
			Title:        "AZURE_AUTHORITY_HOST is the cloud's, with a trailing slash",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-05"},
			Body:         envAuthorityHost,
		},
		{
			ID:           "env-preset-kept",
			Title:        "A variable that the container declares keeps its declaration and is not declared twice",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-06"},
			Body:         envPresetKept,
		},
		{
			ID:           "env-nothing-else",
			Title:        "No other AZURE_ variable is injected",
			Tier:         suites.Admission,
			Requirements: []string{"ENV-07"},
			Body:         envNothingElse,
		},
	}
}

// shapes are pods of different make-up. Every container of theirs is to be injected.
var shapes = []variant{
	{"one container", func(*corev1.Pod) {}},
	{"three containers", withContainers(container("app"), container("second"), container("third"))},
	{"init containers", withInit(container("first-init"), container("second-init"))},
	{"a native sidecar", withSidecar("log-shipper")},
	{"containers with variables and mounts of their own", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.Containers = []corev1.Container{container("app", corev1.EnvVar{Name: "A", Value: "1"}), container("second", corev1.EnvVar{Name: "B", Value: "2"})}
		for i := range p.Spec.Containers {
			p.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/scratch"}}
		}
	}},
	{"generateName", generateName},
	{"hostNetwork", hostNetwork},
	{"Windows", both(windowsOS, windowsSelector, windowsUser("ContainerUser"))},
}

func envClientID(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range shapes {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			in := observe(pod, got)
			for _, c := range allContainers(got) {
				value, ok := in.containers[c.Name].variable(suites.ClientIDVariable)
				t.Check(ok, "container %s did not get %s", c.Name, suites.ClientIDVariable)
				t.Equal(suites.ClientIDVariable+" of container "+c.Name, clientID, value)
			}
			expectIdentity(t, pod, got, containerNames(pod)...)
		})
	}
	t.Case(ctx, "appended behind the container's own variables", func(ctx context.Context, t *suites.T) {
		own := []corev1.EnvVar{{Name: "Z", Value: "1"}, {Name: "A", Value: "$(Z)"}, {Name: "M", Value: "3"}}
		pod := newPod(sa, withContainers(container("app", own...)))
		got := find(admit(ctx, t, ns, pod), "app")
		t.Require(len(got.Env) > len(own), "nothing was added to %d variables", len(own))
		t.Equal("the first variables", own, got.Env[:len(own)])
	})
}

func envWithoutClientID(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	bare := t.ServiceAccount(ctx, "bare", nil)
	other := t.ServiceAccount(ctx, "other", map[string]string{"example.com/client-id": clientID})
	empty := t.ServiceAccount(ctx, "empty", map[string]string{suites.ClientIDAnnotation: ""})
	for _, c := range []struct{ name, account string }{
		{"no annotation at all", bare},
		{"another annotation", other},
		{"an empty annotation", empty},
	} {
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(c.account)
			got := admit(ctx, t, ns, pod)
			expectIdentity(t, pod, got, "app")
			expectEmptyVariable(t, pod, got, suites.ClientIDVariable)
		})
	}
}

// expectEmptyVariable expects what the profile does with an empty value: absent from 1.5.1 on, before that an
// empty string (behaviour.md, ENV-02 and section 9).
func expectEmptyVariable(t *suites.T, sent, got *corev1.Pod, name string) {
	value, ok := observe(sent, got).containers["app"].variable(name)
	if t.Subject().Profile.AtLeast("1.5.1") {
		t.Check(!ok, "%s is injected as %q, want it absent", name, value)
		return
	}
	t.Check(ok && value == "", "%s is %q (injected: %v), want an empty string", name, value, ok)
}

func envTenantID(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	own := t.ServiceAccount(ctx, "own", map[string]string{suites.TenantIDAnnotation: "tenant-of-the-account"})
	none := t.ServiceAccount(ctx, "none", identified())
	empty := t.ServiceAccount(ctx, "empty", map[string]string{suites.TenantIDAnnotation: ""})
	tenantOf := func(ctx context.Context, t *suites.T, account string) string {
		pod := newPod(account)
		value, _ := observe(pod, admit(ctx, t, ns, pod)).containers["app"].variable(suites.TenantIDVariable)
		return value
	}
	t.Case(ctx, "the annotation", func(ctx context.Context, t *suites.T) {
		t.Equal(suites.TenantIDVariable, "tenant-of-the-account", tenantOf(ctx, t, own))
	})
	t.Case(ctx, "without annotation, the installation's", func(ctx context.Context, t *suites.T) {
		t.Check(t.Subject().TenantID != "", "the installation has no tenant")
		t.Equal(suites.TenantIDVariable, t.Subject().TenantID, tenantOf(ctx, t, none))
	})
	t.Case(ctx, "an empty annotation does not fall back", func(ctx context.Context, t *suites.T) {
		pod := newPod(empty)
		expectEmptyVariable(t, pod, admit(ctx, t, ns, pod), suites.TenantIDVariable)
	})
}

func envTokenFile(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range shapes {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			volume := tokenVolume(t, pod, got)
			in := observe(pod, got)
			for _, c := range allContainers(got) {
				expectTokenFile(t, c.Name, in.containers[c.Name], volume)
			}
		})
	}
}

// expectTokenFile expects that the variable points at the token in the container's mount of the volume.
func expectTokenFile(t *suites.T, name string, a added, volume corev1.Volume) {
	file, ok := a.variable(suites.TokenFileVariable)
	t.Check(ok && path.IsAbs(file), "%s of container %s is %q, want an absolute path", suites.TokenFileVariable, name, file)
	i := slices.IndexFunc(a.mounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name })
	if t.Check(i >= 0, "container %s does not mount volume %s", name, volume.Name) {
		t.Equal(suites.TokenFileVariable+" of container "+name, a.mounts[i].MountPath+"/"+tokenSource(volume).Path, file)
	}
}

func envAuthorityHost(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	pod := newPod(sa)
	host, _ := observe(pod, admit(ctx, t, ns, pod)).containers["app"].variable(suites.AuthorityHostVariable)
	t.Check(len(host) > 0 && host[len(host)-1] == '/', "%s is %q, want a trailing slash", suites.AuthorityHostVariable, host)
	if want := t.Subject().AuthorityHost; want != "" {
		t.Equal(suites.AuthorityHostVariable+" of "+t.Subject().Environment, want, host)
	}
	t.Note("%s is %s in environment %q", suites.AuthorityHostVariable, host, t.Subject().Environment)
}

// declarations are the forms in which a container may declare a variable.
var declarations = []struct {
	name    string
	declare func(variable string) corev1.EnvVar
}{
	{"another value", func(v string) corev1.EnvVar { return corev1.EnvVar{Name: v, Value: "mine"} }},
	{"an empty value", func(v string) corev1.EnvVar { return corev1.EnvVar{Name: v} }},
	{"a config map key", func(v string) corev1.EnvVar {
		return from(v, corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "mine"}, Key: "key"}})
	}},
	{"a secret key", func(v string) corev1.EnvVar {
		return from(v, corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "mine"}, Key: "key"}})
	}},
	{"a field", func(v string) corev1.EnvVar {
		return from(v, corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}})
	}},
	{"a resource", func(v string) corev1.EnvVar {
		return from(v, corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "app", Resource: "limits.cpu"}})
	}},
}

func from(name string, source corev1.EnvVarSource) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &source}
}

func envPresetKept(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	injected := []string{suites.ClientIDVariable, suites.TenantIDVariable, suites.TokenFileVariable, suites.AuthorityHostVariable}
	for _, variable := range injected {
		for _, d := range declarations {
			t.Case(ctx, variable+" as "+d.name, func(ctx context.Context, t *suites.T) {
				preset := d.declare(variable)
				plain := newPod(sa, unlabelled, withContainers(container("app", preset), container("neighbour")), withInit(container("init", preset)))
				pod := plain.DeepCopy()
				pod.Labels = map[string]string{suites.UseLabel: "true"}
				want := declared(find(admit(ctx, t, ns, plain), "app"), variable)
				got := admit(ctx, t, ns, pod)
				for _, name := range []string{"app", "init"} {
					t.Equal("declarations of "+variable+" in container "+name, want, declared(find(got, name), variable))
					for _, other := range injected {
						t.Check(len(declared(find(got, name), other)) == 1, "container %s declares %s %d times", name, other, len(declared(find(got, name), other)))
					}
				}
				expectIdentity(t, pod, got, "neighbour")
			})
		}
	}
	t.Case(ctx, "all four at once", func(ctx context.Context, t *suites.T) {
		var all []corev1.EnvVar
		for _, v := range injected {
			all = append(all, corev1.EnvVar{Name: v, Value: "mine"})
		}
		pod := newPod(sa, withContainers(container("app", all...)))
		t.Equal("the variables", all, find(admit(ctx, t, ns, pod), "app").Env)
	})
	t.Case(ctx, "envFrom is not inspected", func(ctx context.Context, t *suites.T) {
		source := corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "has-azure-client-id"}}}
		pod := newPod(sa, func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{source} })
		got := admit(ctx, t, ns, pod)
		t.Equal(suites.ClientIDVariable, clientID, clientIDOf(pod, got))
		expectIdentity(t, pod, got, "app")
		t.Equal("envFrom", []corev1.EnvFromSource{source}, find(got, "app").EnvFrom)
	})
	t.Case(ctx, "a name that differs in case is another variable", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, withContainers(container("app", corev1.EnvVar{Name: "azure_client_id", Value: "mine"})))
		t.Equal(suites.ClientIDVariable, clientID, clientIDOf(pod, admit(ctx, t, ns, pod)))
	})
}

// declared are all declarations of a variable in a container.
func declared(c *corev1.Container, variable string) []corev1.EnvVar {
	var all []corev1.EnvVar
	if c == nil {
		return nil
	}
	for _, e := range c.Env {
		if e.Name == variable {
			all = append(all, e)
		}
	}
	return all
}

func envNothingElse(ctx context.Context, t *suites.T) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "app", identified())
	for _, v := range append([]variant{{"the proxy", withProxy}}, shapes...) {
		t.Case(ctx, v.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa, v.change)
			got := admit(ctx, t, ns, pod)
			in := observe(pod, got)
			for _, c := range allContainers(got) {
				names := in.containers[c.Name].azureNames()
				slices.Sort(names)
				t.Equal("AZURE_ variables of container "+c.Name, []string{suites.AuthorityHostVariable, suites.ClientIDVariable, suites.TokenFileVariable, suites.TenantIDVariable}, names)
			}
		})
	}
	t.Case(ctx, "and no other variable at all in the pod's own containers", func(ctx context.Context, t *suites.T) {
		pod := newPod(sa, withInit(container("init")))
		in := observe(pod, admit(ctx, t, ns, pod))
		for _, name := range []string{"app", "init"} {
			t.Check(len(in.containers[name].env) == 4, "container %s got %q", name, envNames(in.containers[name].env))
		}
	})
}
