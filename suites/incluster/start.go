package incluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/wi-e2e/wi-e2e/fixtures/objects"
)

// Start has the shards of an assignment begin, as pods of an image that the cluster has or can pull. The applier removes them, with
// everything that they make.
func Start(ctx context.Context, applier *objects.Applier, a *Assignment, image string) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(namespace(a.Run.ID))
	if err != nil {
		return fmt.Errorf("encode the namespace of the shards: %w", err)
	}
	delete(fields, "status")
	delete(fields, "spec")
	if err := applier.Apply(ctx, []*unstructured.Unstructured{{Object: fields}}); err != nil {
		return fmt.Errorf("start the shards: %w", err)
	}
	made, err := applier.Kube.CoreV1().Namespaces().Get(ctx, a.Namespace, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("start the shards: %w", err)
	}
	a.Owner = metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: made.Name, UID: made.UID}
	all, err := manifest(a, image)
	if err != nil {
		return err
	}
	if err := applier.Apply(ctx, all); err != nil {
		return fmt.Errorf("start the shards: %w", err)
	}
	return nil
}
