package simulated

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// store keeps the objects that can be listed and watched, and all that ever happened to them. What is in it is never changed:
// there comes a new one.
type store struct {
	mu      sync.Mutex
	objects map[key]stored
	history []change
	changed chan struct{}
}

type key struct{ resource, namespace, name string }

type stored interface {
	metav1.Object
	runtime.Object
}

type change struct {
	watch.EventType
	key
	object stored
}

// resources that are in a store.
const (
	podsResource   = "pods"
	jobsResource   = "jobs"
	eventsResource = "events"
)

var kinds = map[string]schema.GroupVersionKind{
	podsResource:   corev1.SchemeGroupVersion.WithKind("Pod"),
	jobsResource:   batchv1.SchemeGroupVersion.WithKind("Job"),
	eventsResource: corev1.SchemeGroupVersion.WithKind("Event"),
}

func newStore() *store {
	return &store{objects: map[key]stored{}, changed: make(chan struct{})}
}

// add is false if there is one of that name.
func (s *store) add(resource string, object stored) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{resource, object.GetNamespace(), object.GetName()}
	if s.objects[k] != nil {
		return false
	}
	s.put(watch.Added, k, object)
	return true
}

// update changes a copy of an object, which is false if there is none.
func update[T stored](s *store, resource, namespace, name string, do func(object T)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{resource, namespace, name}
	there, ok := s.objects[k].(T)
	if !ok {
		return false
	}
	changed := there.DeepCopyObject().(T)
	do(changed)
	s.put(watch.Modified, k, changed)
	return true
}

func (s *store) remove(resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{resource, namespace, name}
	if there := s.objects[k]; there != nil {
		s.put(watch.Deleted, k, there.DeepCopyObject().(stored))
	}
}

func (s *store) put(what watch.EventType, k key, object stored) {
	s.history = append(s.history, change{what, k, object})
	object.SetResourceVersion(strconv.Itoa(s.version()))
	object.GetObjectKind().SetGroupVersionKind(kinds[k.resource])
	s.objects[k] = object
	if what == watch.Deleted {
		delete(s.objects, k)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// version is never 0, which stands for any.
func (s *store) version() int { return 1 + len(s.history) }

func get[T stored](s *store, resource, namespace, name string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there, ok := s.objects[key{resource, namespace, name}].(T)
	return there, ok
}

// selection says which objects are listed, or watched.
type selection struct {
	resource, namespace string
	labels              labels.Selector
	fields              fields.Selector
}

func (s selection) selects(k key, object stored) bool {
	return k.resource == s.resource && (k.namespace == s.namespace || s.namespace == "") &&
		s.labels.Matches(labels.Set(object.GetLabels())) && s.fields.Matches(fieldsOf(object))
}

// fieldsOf are the fields that can be selected by.
func fieldsOf(object stored) fields.Set {
	set := fields.Set{"metadata.name": object.GetName(), "metadata.namespace": object.GetNamespace()}
	switch o := object.(type) {
	case *corev1.Pod:
		set["status.phase"], set["spec.nodeName"] = string(o.Status.Phase), o.Spec.NodeName
	case *corev1.Event:
		set["reason"], set["type"] = o.Reason, o.Type
		set["involvedObject.kind"], set["involvedObject.name"] = o.InvolvedObject.Kind, o.InvolvedObject.Name
		set["involvedObject.namespace"], set["involvedObject.uid"] = o.InvolvedObject.Namespace, string(o.InvolvedObject.UID)
	}
	return set
}

// list also says as of when.
func (s *store) list(which selection) (objects []stored, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects = []stored{}
	for _, k := range slices.SortedFunc(maps.Keys(s.objects), func(a, b key) int { return cmp.Compare(a.name, b.name) }) {
		if which.selects(k, s.objects[k]) {
			objects = append(objects, s.objects[k])
		}
	}
	return objects, s.version()
}

// since are the changes after a version, and a channel that is closed when there is another.
func (s *store) since(version int) ([]change, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history[min(version-1, len(s.history)):], s.changed
}

// serve lists or watches.
func (s *store) serve(ctx context.Context, resource string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		which := selection{resource: resource, namespace: r.PathValue("namespace")}
		var errLabels, errFields error
		which.labels, errLabels = labels.Parse(query.Get("labelSelector"))
		which.fields, errFields = fields.ParseSelector(query.Get("fieldSelector"))
		switch {
		case errLabels != nil || errFields != nil:
			refuse(w, apierrors.NewBadRequest("a selector cannot be read"))
		case query.Has("sendInitialEvents"):
			refuse(w, apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil)) // as an older API server
		case query.Get("watch") != "true" && query.Get("watch") != "1":
			objects, version := s.list(which)
			kind := kinds[resource]
			reply(w, http.StatusOK, map[string]any{
				"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind + "List", "items": objects,
				"metadata": metav1.ListMeta{ResourceVersion: strconv.Itoa(version)},
			})
		default:
			version, err := strconv.Atoi(query.Get("resourceVersion"))
			if err != nil || version == 0 {
				refuse(w, apierrors.NewBadRequest("want the watch of what was listed, or created"))
				return
			}
			s.watch(ctx, w, r, which, version)
		}
	}
}

// watch tells until the client or ctx ends.
func (s *store) watch(ctx context.Context, w http.ResponseWriter, r *http.Request, which selection, version int) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	for {
		_ = http.NewResponseController(w).Flush() // the client notices when it breaks off
		changes, more := s.since(version)
		version += len(changes)
		told := false
		for _, c := range changes {
			if which.selects(c.key, c.object) {
				_ = out.Encode(metav1.WatchEvent{Type: string(c.EventType), Object: runtime.RawExtension{Object: c.object}})
				told = true
			}
		}
		if told {
			continue
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
