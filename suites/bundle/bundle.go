// Package bundle keeps what was around a test that did not pass: its pods, their events and logs, the webhook configurations, what
// the subject logged and what Azure decided meanwhile.
//
// It judges nothing, and cannot spoil a verdict: what could not be read is told in the bundle. What it writes is redacted and bounded.
package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulator/evidence"
)

// Source is where bundles are read from.
type Source struct {
	Kube kubernetes.Interface
	// Subject is the Service of the webhook under test; zero without one.
	Subject types.NamespacedName
	// Evidence is what Azure was asked and decided after a sequence number; nil if it does not tell.
	Evidence func(ctx context.Context, since uint64) ([]evidence.Entry, error)
}

// Bounds of what is read of one log, before it is redacted and cut to the size of a file.
const (
	logLines = 5000
	logBytes = 4 << 20
)

// Collect writes the bundle of a test that began then, and whose namespace is that; "" for a test without. It returns whether anything was
// written: nothing is once the writer's bound has been reached.
func (s Source) Collect(ctx context.Context, w *Writer, test, namespace string, began time.Time) (written bool) {
	b := &bundle{source: s, dir: test, writer: w, began: metav1.NewTime(began.Truncate(time.Second))}
	if namespace != "" {
		b.part("the pods of the test's namespace", func() error { return b.pods(ctx, "pods", namespace, labels.Everything(), nil) })
		b.part("the events of the test's namespace", func() error { return b.events(ctx, namespace) })
	}
	b.part("the webhook configurations", func() error { return b.configurations(ctx) })
	if s.Subject.Name != "" {
		b.part("the webhook under test", func() error { return b.subject(ctx) })
	}
	if s.Evidence != nil {
		b.part("the decisions of Azure", func() error { return b.decisions(ctx) })
	}
	if len(b.problems) > 0 {
		b.write("not-read.txt", []byte(strings.Join(b.problems, "\n")+"\n"))
	}
	return b.written
}

// bundle is one that is being collected.
type bundle struct {
	source   Source
	writer   *Writer
	dir      string
	began    metav1.Time
	problems []string
	written  bool
}

// part collects one part, and goes on if that fails.
func (b *bundle) part(what string, collect func() error) {
	if err := collect(); err != nil {
		b.problems = append(b.problems, fmt.Sprintf("%s: %v", what, err))
	}
}

func (b *bundle) write(name string, content []byte) {
	ok, err := b.writer.Write(filepath.Join(b.dir, name), content)
	b.written = b.written || ok
	if err != nil {
		b.problems = append(b.problems, err.Error())
	}
}

// pods writes the pods that a selector picks, and what their containers logged since then; nil is from the beginning.
func (b *bundle) pods(ctx context.Context, dir, namespace string, selector labels.Selector, since *metav1.Time) error {
	list, err := b.source.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return err
	}
	var failures []error
	var documents [][]byte
	for _, pod := range list.Items {
		pod.ManagedFields = nil // as long as all the rest
		pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		document, err := yaml.Marshal(pod)
		failures = append(failures, err)
		documents = append(documents, document)
		statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
		for _, status := range statuses {
			name := filepath.Join(dir, pod.Name+"."+status.Name)
			if status.State.Running != nil || status.State.Terminated != nil {
				failures = append(failures, b.log(ctx, name+".log", &pod, corev1.PodLogOptions{Container: status.Name, SinceTime: since}))
			}
			if status.RestartCount > 0 {
				failures = append(failures, b.log(ctx, name+".previous.log", &pod, corev1.PodLogOptions{Container: status.Name, Previous: true}))
			}
		}
	}
	if len(documents) > 0 {
		b.write(dir+".yaml", bytes.Join(documents, []byte("---\n")))
	}
	return errors.Join(failures...)
}

func (b *bundle) log(ctx context.Context, name string, pod *corev1.Pod, options corev1.PodLogOptions) error {
	lines := int64(logLines)
	options.TailLines = &lines
	stream, err := b.source.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of pod %s, container %s: %w", pod.Name, options.Container, err)
	}
	defer func() { _ = stream.Close() }()
	log, err := io.ReadAll(io.LimitReader(stream, logBytes))
	if err == nil || len(log) > 0 {
		b.write(name, log) // an empty one tells that nothing was logged
	}
	if err != nil {
		return fmt.Errorf("read the log of pod %s, container %s: %w", pod.Name, options.Container, err)
	}
	return nil
}

// events writes a line for each event, in the order of time.
func (b *bundle) events(ctx context.Context, namespace string) error {
	list, err := b.source.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	at := func(e corev1.Event) time.Time {
		for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time} {
			if !t.IsZero() {
				return t
			}
		}
		return time.Time{}
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return at(a).Compare(at(b)) })
	var lines bytes.Buffer
	for _, e := range list.Items {
		fmt.Fprintf(&lines, "%s %s %s %s/%s: %s (%d times)\n", at(e).UTC().Format(time.RFC3339), e.Type, e.Reason,
			strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, strings.TrimSpace(e.Message), max(1, e.Count))
	}
	if lines.Len() > 0 {
		b.write("events.txt", lines.Bytes())
	}
	return nil
}

// configurations writes those of all mutating webhooks: another one's may be what is wrong.
func (b *bundle) configurations(ctx context.Context) error {
	list, err := b.source.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var documents [][]byte
	for _, c := range list.Items {
		c.ManagedFields = nil
		c.TypeMeta = metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"}
		document, err := yaml.Marshal(c)
		if err != nil {
			return err
		}
		documents = append(documents, document)
	}
	if len(documents) > 0 {
		b.write("webhooks.yaml", bytes.Join(documents, []byte("---\n")))
	}
	return nil
}

// subject writes the pods behind the webhook's Service, and what they logged since the test began.
func (b *bundle) subject(ctx context.Context) error {
	name := b.source.Subject
	service, err := b.source.Kube.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(service.Spec.Selector) == 0 {
		return fmt.Errorf("service %s selects no pods", name)
	}
	return b.pods(ctx, "subject", name.Namespace, labels.SelectorFromSet(service.Spec.Selector), &b.began)
}

// decisions writes a line of JSON for each of Azure's since the test began. Other tests ran meanwhile, and theirs are among them.
func (b *bundle) decisions(ctx context.Context) error {
	entries, err := b.source.Evidence(ctx, 0)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, e := range entries {
		if e.Time.Before(b.began.Time) {
			continue
		}
		if err := encoder.Encode(e); err != nil {
			return err
		}
	}
	if lines.Len() > 0 {
		b.write("azure.jsonl", lines.Bytes())
	}
	return nil
}
