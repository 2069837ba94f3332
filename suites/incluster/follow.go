package incluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/wi-e2e/wi-e2e/fixtures/pods"
)

// startTimeout is how long the first of the pods may take to run: a node has to be found, and the image to be pulled.
const startTimeout = 3 * time.Minute

// Observer is told how the shards get on, by one goroutine at a time.
type Observer interface {
	// Result comes once for each test that has ended.
	Result(ctx context.Context, begun Begun, outcome Outcome) error
	// Note says something about the shards' pods.
	Note(text string)
}

// errEnded ends the watches when the Job has ended.
var errEnded = errors.New("the shards have ended")

// Follow returns when the Job has ended and the observer has been told all results. The controller that follows need not be the one
// that started the Job: whenever it comes, it is told everything. An error says which shard did not get to its end, and why.
func (r Results) Follow(ctx context.Context, observer Observer) error {
	f := &following{Results: r, observer: observer, told: map[string]bool{}, failed: map[string]string{}}
	group, watched := errgroup.WithContext(ctx)
	group.Go(func() error { return f.watchResults(watched) })
	group.Go(func() error { return f.watchPods(watched) })
	group.Go(func() error { return f.awaitEnd(watched) })
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errEnded) {
		err = nil
	}
	return errors.Join(f.tellAll(ctx), err) // the watch may have ended before it saw the last ones
}

type following struct {
	Results
	observer Observer

	mu     sync.Mutex
	told   map[string]bool   // by name of the object
	failed map[string]string // by index: how its last pod ended
}

func (f *following) watchResults(ctx context.Context) error {
	list := listWatch(f, f.Kube.CoreV1().ConfigMaps(f.Namespace), f.ofResults())
	_, err := watchtools.UntilWithSync(ctx, list, &corev1.ConfigMap{}, nil, func(event watch.Event) (bool, error) {
		object, ok := event.Object.(*corev1.ConfigMap)
		if !ok || event.Type == watch.Deleted {
			return false, nil
		}
		return false, f.tell(ctx, object)
	})
	return f.ended(ctx, err, "follow the results in namespace")
}

func (f *following) ofResults() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: kindLabel + "=" + resultKind}
}

// tellAll tells what has not been told.
func (f *following) tellAll(ctx context.Context) error {
	all, err := f.Kube.CoreV1().ConfigMaps(f.Namespace).List(ctx, f.ofResults())
	if err != nil {
		return fmt.Errorf("list the results in namespace %s: %w", f.Namespace, err)
	}
	for i := range all.Items {
		if err := f.tell(ctx, &all.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *following) tell(ctx context.Context, object *corev1.ConfigMap) error {
	begun, outcome, err := read(object)
	if err != nil || outcome == nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told[object.Name] {
		return nil
	}
	f.told[object.Name] = true
	return f.observer.Result(ctx, begun, *outcome)
}

// watchPods tells of pods that end early, and fails when one will never start, or none starts in time.
func (f *following) watchPods(ctx context.Context) error {
	latest := "there is none yet"
	list := listWatch(f, f.Kube.CoreV1().Pods(f.Namespace), metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + shards})
	until := func(ctx context.Context, enough func(*corev1.Pod) bool) error {
		_, err := watchtools.UntilWithSync(ctx, list, &corev1.Pod{}, nil, func(event watch.Event) (bool, error) {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				return false, nil
			}
			latest = "pod " + pod.Name + ": " + pods.Describe(pod)
			return enough(pod), f.see(pod, event.Type == watch.Deleted)
		})
		return err
	}
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not within %s", startTimeout))
	err := until(starting, func(pod *corev1.Pod) bool { return pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "" })
	if starting.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w (%s)", context.Cause(starting), latest)
	}
	cancel()
	if err == nil {
		err = until(ctx, func(*corev1.Pod) bool { return false })
	}
	return f.ended(ctx, err, "wait for the pods of the shards in namespace")
}

// see notes a pod that has ended early, which the Job replaces, and fails for one that it would wait for in vain.
func (f *following) see(pod *corev1.Pod, deleted bool) error {
	index := pod.Annotations[batchv1.JobCompletionIndexAnnotation]
	shard, err := ShardOf(index)
	if err != nil {
		return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	gone := deleted || pod.DeletionTimestamp != nil
	switch {
	case pod.Status.Phase == corev1.PodSucceeded:
	case pod.Status.Phase == corev1.PodFailed || gone:
		f.mu.Lock()
		defer f.mu.Unlock()
		if last := f.failed[index]; strings.HasPrefix(last, "pod "+pod.Name+" ") {
			return nil
		}
		f.failed[index] = fmt.Sprintf("pod %s of shard %d ended early: %s", pod.Name, shard, pods.Describe(pod))
		f.observer.Note(f.failed[index])
	case pod.Status.Reason == "":
		if err := pods.Stuck(pod); err != nil {
			return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}

// awaitEnd follows the Job to its end, which is errEnded or another error.
func (f *following) awaitEnd(ctx context.Context) error {
	list := listWatch(f, f.Kube.BatchV1().Jobs(f.Namespace), metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, shards).String()})
	there := func(store cache.Store) (bool, error) {
		if len(store.ListKeys()) == 0 {
			return false, errors.New("there is none: it was removed, or the run had not come that far")
		}
		return false, nil
	}
	_, err := watchtools.UntilWithSync(ctx, list, &batchv1.Job{}, there, func(event watch.Event) (bool, error) {
		job, ok := event.Object.(*batchv1.Job)
		if !ok {
			return false, nil
		}
		if event.Type == watch.Deleted {
			return false, errors.New("somebody deleted it")
		}
		for _, c := range job.Status.Conditions {
			switch {
			case c.Status != corev1.ConditionTrue:
			case c.Type == batchv1.JobComplete:
				return true, nil
			case c.Type == batchv1.JobFailed:
				return false, f.failure(c)
			}
		}
		return false, nil
	})
	if err == nil {
		return errEnded
	}
	return f.ended(ctx, err, "wait for the Job "+shards+" in namespace")
}

// failure says why the Job failed, by the last pods of its indexes.
func (f *following) failure(c batchv1.JobCondition) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	why := []string{strings.TrimSuffix(c.Reason+": "+c.Message, ": ")}
	for _, index := range slices.Sorted(maps.Keys(f.failed)) {
		why = append(why, f.failed[index])
	}
	return errors.New(strings.Join(why, "; "))
}

// ended words the end of a watch; the end of another is none of its own.
func (f *following) ended(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, f.Namespace, err)
}

// lister is what listWatch needs of a typed client.
type lister[L runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (L, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

func listWatch[L runtime.Object](f *following, client lister[L], only metav1.ListOptions) cache.ListerWatcher {
	narrow := func(options metav1.ListOptions) metav1.ListOptions {
		options.LabelSelector, options.FieldSelector = only.LabelSelector, only.FieldSelector
		return options
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, narrow(options))
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, narrow(options))
		},
	}, f.Kube)
}
