package main

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

func kubeClient(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

// testNamespaces are the namespaces that tests made.
func testNamespaces(t *testing.T, kubeconfig string) []string {
	t.Helper()
	list, err := kubeClient(t, kubeconfig).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: suites.TestLabel})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	return names
}

// scaleWebhook scales the installed webhook to zero and waits until its pods are gone.
func scaleWebhook(t *testing.T, kubeconfig string, replicas int) {
	t.Helper()
	kube := kubeClient(t, kubeconfig)
	deployments, err := kube.AppsV1().Deployments(subject.DefaultNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(deployments.Items) != 1 {
		t.Fatalf("%d deployments in %s, error %v", len(deployments.Items), subject.DefaultNamespace, err)
	}
	d := deployments.Items[0]
	pods, err := kube.CoreV1().Pods(d.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := kube.CoreV1().Pods(d.Namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: pods.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if _, err := kube.AppsV1().Deployments(d.Namespace).Patch(t.Context(), d.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, p := range pods.Items {
		left[p.Name] = true
	}
	for len(left) > 0 {
		event, open := <-w.ResultChan()
		if !open {
			t.Fatal("the watch on the webhook's pods ended early")
		}
		if pod, ok := event.Object.(*corev1.Pod); ok && event.Type == watch.Deleted {
			delete(left, pod.Name)
		}
	}
}
