package simulated

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/issuer"
)

// volume is the directory of a volume.
func (p *Pod) volume(name string) string { return filepath.Join(p.dir, "volumes", name) }

// mount makes the pod's volumes, which its containers share, and what is the containers' own.
func (p *Pod) mount() error {
	for _, c := range p.containers {
		if err := os.MkdirAll(filepath.Join(p.dir, "containers", c.spec.Name), 0o755); err != nil {
			return err
		}
		for _, m := range c.spec.VolumeMounts {
			if m.SubPath != "" || !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				return fmt.Errorf("mount %s of container %s: there is no such volume, or only a part of it is wanted", m.Name, c.spec.Name)
			}
		}
	}
	for _, v := range p.Spec.Volumes {
		err := os.MkdirAll(p.volume(v.Name), 0o755)
		switch source := v.VolumeSource; {
		case err != nil || source.EmptyDir != nil:
		case source.Secret != nil:
			err = p.project(v.Name, "Secret", source.Secret.SecretName, source.Secret.Items, source.Secret.Optional)
		case source.ConfigMap != nil:
			err = p.project(v.Name, "ConfigMap", source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional)
		case source.Projected != nil:
			err = p.projectAll(v.Name, source.Projected.Sources)
		default:
			err = fmt.Errorf("volume %s is of a kind that is not simulated", v.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pod) projectAll(volume string, sources []corev1.VolumeProjection) error {
	for _, source := range sources {
		var err error
		switch {
		case source.ServiceAccountToken != nil:
			err = p.write(volume, source.ServiceAccountToken.Path, p.node.api.Sign(p.claims(source.ServiceAccountToken)))
		case source.Secret != nil:
			err = p.project(volume, "Secret", source.Secret.Name, source.Secret.Items, source.Secret.Optional)
		case source.ConfigMap != nil:
			err = p.project(volume, "ConfigMap", source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional)
		default:
			err = fmt.Errorf("volume %s has a source that is not simulated", volume)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// project puts the keys of a Secret or ConfigMap into files.
func (p *Pod) project(volume, kind, name string, items []corev1.KeyToPath, optional *bool) error {
	content, ok := p.node.api.files(kind, p.Namespace, name)
	if !ok && !ptr.Deref(optional, false) {
		return fmt.Errorf("%s %s/%s does not exist", kind, p.Namespace, name)
	}
	if items == nil {
		for key := range content {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		if err := p.write(volume, item.Path, content[item.Key]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pod) claims(token *corev1.ServiceAccountTokenProjection) issuer.Object {
	claims := p.node.api.NewClaims(p.Namespace, p.Spec.ServiceAccountName, []string{token.Audience}, ptr.Deref(token.ExpirationSeconds, 3600))
	claims["kubernetes.io"].(issuer.Object)["pod"] = issuer.Object{"name": p.Name, "uid": string(p.UID)}
	return claims
}

func (p *Pod) write(volume, path, content string) error {
	at := filepath.Join(p.volume(volume), path)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.WriteFile(at, []byte(content), 0o644)
}
