package incluster

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Results keeps what the shards' tests come to: an object for each test, in the namespace of the run.
type Results struct {
	Kube      kubernetes.Interface
	Namespace string
	Run       string
}

// Begun is a test that a pod has begun.
type Begun struct {
	Shard int      `json:"shard"` // from 1
	Pod   string   `json:"pod"`
	Ended []string `json:"ended,omitempty"` // pods that had begun it before, and ended without a result
	// object is nil if another pod of the shard has the result already.
	object *corev1.ConfigMap
}

// Done says that there is nothing left to do: the test has its result.
func (b Begun) Done() bool { return b.object == nil }

// Outcome is the result of a test.
type Outcome struct {
	Test reports.Test `json:"test"`
	// Namespace is that of an attempt which did not pass; it is left for the controller to look into.
	Namespace string `json:"namespace,omitempty"`
}

// ShardLabel is on everything of a shard, with its number. KindLabel tells results from what a pod asked for.
const (
	ShardLabel = "wi-e2e.dev/shard"
	kindLabel  = "wi-e2e.dev/kind"

	resultKind = "result"

	begunKey   = "begun"   // of the data
	outcomeKey = "outcome" // of the binary data: gzipped JSON
)

// maxOutcome is what an object holds beside its metadata; the API server refuses a ConfigMap of more than 1 MiB.
const maxOutcome = 1<<20 - 16<<10

// ErrTooLarge is wrapped by Finish for a result that no object can hold.
var ErrTooLarge = errors.New("the result is too large to be kept in an object of the API")

// Begin notes that a pod of a shard begins a test. An earlier pod's beginning is taken over; its result is kept.
func (r Results) Begin(ctx context.Context, shard int, test, pod string) (Begun, error) {
	begun := Begun{Shard: shard, Pod: pod}
	objects := r.Kube.CoreV1().ConfigMaps(r.Namespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: resultName(test),
		Labels: map[string]string{
			suites.RunLabel: r.Run, kindLabel: resultKind, ShardLabel: strconv.Itoa(shard), suites.TestLabel: test,
		},
	}}
	var err error
	if object.Data, err = begun.data(); err != nil {
		return begun, err
	}
	begun.object, err = objects.Create(ctx, object, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return begun, wrap(err, "begin", test)
	}
	there, err := objects.Get(ctx, object.Name, metav1.GetOptions{})
	if err != nil {
		return begun, wrap(err, "begin", test)
	}
	earlier, outcome, err := read(there)
	if err != nil || outcome != nil {
		earlier.object = nil
		return earlier, err
	}
	if earlier.Shard != shard {
		return begun, fmt.Errorf("begin test %s: shard %d has it, and this is shard %d", test, earlier.Shard, shard)
	}
	begun.Ended = append(earlier.Ended, earlier.Pod)
	if there.Data, err = begun.data(); err != nil {
		return begun, err
	}
	begun.object, err = objects.Update(ctx, there, metav1.UpdateOptions{})
	return begun, wrap(err, "begin", test)
}

// Finish keeps the result of a test that was begun. It is refused if another pod has taken the test over since.
func (r Results) Finish(ctx context.Context, begun Begun, outcome Outcome) error {
	object := begun.object.DeepCopy()
	packed, err := pack(outcome)
	if err == nil && len(packed) > maxOutcome {
		err = ErrTooLarge
	}
	if err != nil {
		return wrap(err, "keep the result of", outcome.Test.ID)
	}
	object.BinaryData, object.Immutable = map[string][]byte{outcomeKey: packed}, new(true)
	_, err = r.Kube.CoreV1().ConfigMaps(r.Namespace).Update(ctx, object, metav1.UpdateOptions{})
	return wrap(err, "keep the result of", outcome.Test.ID)
}

func wrap(err error, what, test string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s test %s: %w", what, test, err)
}

func resultName(test string) string { return "test-" + test }

func (b Begun) data() (map[string]string, error) {
	text, err := json.Marshal(b)
	return map[string]string{begunKey: string(text)}, err
}

// read is what an object says of its test; the outcome is nil until there is one.
func read(object *corev1.ConfigMap) (begun Begun, outcome *Outcome, err error) {
	if err = json.Unmarshal([]byte(object.Data[begunKey]), &begun); err != nil {
		return begun, nil, fmt.Errorf("read ConfigMap %s/%s: %w", object.Namespace, object.Name, err)
	}
	packed, ok := object.BinaryData[outcomeKey]
	if !ok {
		return begun, nil, nil
	}
	outcome = &Outcome{}
	if err := unpack(packed, outcome); err != nil {
		return begun, nil, fmt.Errorf("read ConfigMap %s/%s: %w", object.Namespace, object.Name, err)
	}
	if want := resultName(outcome.Test.ID); object.Name != want {
		return begun, nil, fmt.Errorf("ConfigMap %s/%s has the result of test %s", object.Namespace, object.Name, outcome.Test.ID)
	}
	return begun, outcome, nil
}

func pack(value any) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	err := errors.Join(json.NewEncoder(w).Encode(value), w.Close())
	return packed.Bytes(), err
}

func unpack(packed []byte, value any) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}
