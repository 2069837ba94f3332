package incluster

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/wi-e2e/wi-e2e/reports"
)

// aCluster is a fake that counts the versions of objects, and refuses an update of another one than the newest, as an API server does.
func aCluster(t *testing.T) (Results, *fake.Clientset) {
	t.Helper()
	kube := fake.NewClientset()
	version := 0
	kube.PrependReactor("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		write, ok := action.(clienttesting.CreateAction) // an update is one as well
		if !ok {
			return false, nil, nil
		}
		object := write.GetObject().(*corev1.ConfigMap)
		if action.GetVerb() == "update" {
			there, err := kube.Tracker().Get(action.GetResource(), action.GetNamespace(), object.Name)
			if err != nil {
				return true, nil, err
			}
			if newest := there.(*corev1.ConfigMap).ResourceVersion; newest != object.ResourceVersion {
				return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, object.Name, errors.New("it has been changed"))
			}
		}
		version++
		object.ResourceVersion = strconv.Itoa(version)
		return false, nil, nil
	})
	return Results{Kube: kube, Namespace: "ns", Run: "run1"}, kube
}

func passed(test string) Outcome {
	return Outcome{Test: reports.Test{ID: test, Status: reports.Pass, Cases: []reports.Case{{Name: "case", Status: reports.Pass, Checks: 1}}}}
}

func TestAResultIsReadAsItWasKept(t *testing.T) {
	r, kube := aCluster(t)
	begun, err := r.Begin(t.Context(), 2, "a-test", "pod-1")
	if err != nil || begun.Done() {
		t.Fatalf("begun %+v, error %v", begun, err)
	}
	if _, outcome := there(t, kube, "a-test"); outcome != nil {
		t.Errorf("there is a result before there is one: %+v", outcome)
	}
	want := passed("a-test")
	want.Namespace = "where-it-ran"
	if err := r.Finish(t.Context(), begun, want); err != nil {
		t.Fatal(err)
	}
	got, outcome := there(t, kube, "a-test")
	if diff := cmp.Diff(&want, outcome); diff != "" || got.Shard != 2 || got.Pod != "pod-1" {
		t.Errorf("of shard %d, pod %s (-want +got):\n%s", got.Shard, got.Pod, diff)
	}
}

func TestATestWithAResultIsNotBegunAgain(t *testing.T) {
	r, _ := aCluster(t)
	begun, err := r.Begin(t.Context(), 1, "a-test", "pod-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context(), begun, passed("a-test")); err != nil {
		t.Fatal(err)
	}
	if again, err := r.Begin(t.Context(), 1, "a-test", "pod-2"); err != nil || !again.Done() {
		t.Errorf("begun again: %+v, error %v", again, err)
	}
}

func TestATestWithoutAResultIsBegunAnewAndItsFirstPodCannotFinishIt(t *testing.T) {
	r, kube := aCluster(t)
	var begun []Begun
	for _, pod := range []string{"pod-1", "pod-2", "pod-3"} {
		b, err := r.Begin(t.Context(), 1, "a-test", pod)
		if err != nil || b.Done() {
			t.Fatalf("%s: begun %+v, error %v", pod, b, err)
		}
		begun = append(begun, b)
	}
	for _, late := range begun[:2] {
		if err := r.Finish(t.Context(), late, passed("a-test")); !apierrors.IsConflict(err) {
			t.Errorf("%s finished what another had taken over: %v", late.Pod, err)
		}
	}
	if err := r.Finish(t.Context(), begun[2], passed("a-test")); err != nil {
		t.Fatal(err)
	}
	got, outcome := there(t, kube, "a-test")
	if diff := cmp.Diff([]string{"pod-1", "pod-2"}, got.Ended); diff != "" || outcome == nil {
		t.Errorf("outcome %v, pods that ended (-want +got):\n%s", outcome, diff)
	}
}

func TestATestOfAnotherShardIsRefused(t *testing.T) {
	r, _ := aCluster(t)
	if _, err := r.Begin(t.Context(), 1, "a-test", "pod-1"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Begin(t.Context(), 2, "a-test", "pod-2")
	if err == nil || !strings.Contains(err.Error(), "shard 1 has it, and this is shard 2") {
		t.Errorf("error %v", err)
	}
}

func TestAResultThatNoObjectHoldsIsToldAsSuch(t *testing.T) {
	r, kube := aCluster(t)
	begun, err := r.Begin(t.Context(), 1, "a-test", "pod-1")
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]rune, 2<<20)
	for i := range noise {
		noise[i] = rune(33 + rand.IntN(90))
	}
	large := passed("a-test")
	large.Test.Notes = []string{string(noise)}
	if err := r.Finish(t.Context(), begun, large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if _, outcome := there(t, kube, "a-test"); outcome != nil {
		t.Error("it was kept")
	}
}

func TestAnObjectThatSomebodyRewroteIsNoResult(t *testing.T) {
	packed, err := pack(passed("other-test"))
	if err != nil {
		t.Fatal(err)
	}
	for title, c := range map[string]struct {
		data   map[string]string
		binary map[string][]byte
		want   string
	}{
		"of another test":     {map[string]string{begunKey: "{}"}, map[string][]byte{outcomeKey: packed}, "has the result of test other-test"},
		"that is cut":         {map[string]string{begunKey: "{}"}, map[string][]byte{outcomeKey: packed[:len(packed)/2]}, "unexpected EOF"},
		"that is none":        {map[string]string{begunKey: "{}"}, map[string][]byte{outcomeKey: []byte("{}")}, "EOF"},
		"without a beginning": {nil, map[string][]byte{outcomeKey: packed}, "unexpected end of JSON"},
	} {
		t.Run(title, func(t *testing.T) {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: resultName("a-test")}, Data: c.data, BinaryData: c.binary}
			_, outcome, err := read(object)
			if err == nil || !strings.Contains(err.Error(), "ConfigMap ns/test-a-test") || !strings.Contains(err.Error(), c.want) || outcome != nil {
				t.Errorf("outcome %v, error %v, want one with %q", outcome, err, c.want)
			}
		})
	}
}

func there(t *testing.T, kube *fake.Clientset, test string) (Begun, *Outcome) {
	t.Helper()
	object, err := kube.CoreV1().ConfigMaps("ns").Get(t.Context(), resultName(test), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	begun, outcome, err := read(object)
	if err != nil {
		t.Fatal(err)
	}
	return begun, outcome
}
