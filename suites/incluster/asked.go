package incluster

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

// Asked notes what is asked of the API server, as rights: "create pods", "patch pods/status", "create jobs.batch".
type Asked struct {
	mu     sync.Mutex
	rights map[string]bool
}

// Wrap notes the requests that pass a transport. Port-forwards have transports of their own and are not seen.
func (a *Asked) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if right, ok := rightOf(r); ok {
			a.mu.Lock()
			if a.rights == nil {
				a.rights = map[string]bool{}
			}
			a.rights[right] = true
			if r.Header.Get("Content-Type") == "application/apply-patch+yaml" { // it may create the object
				a.rights[strings.Replace(right, "patch ", "create ", 1)] = true
			}
			a.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (a *Asked) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.rights))
}

// rightOf is the right that a request takes; false for one that is about no resource.
func rightOf(r *http.Request) (string, bool) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	switch {
	case len(path) > 2 && path[0] == "api":
		path = path[2:]
	case len(path) > 3 && path[0] == "apis":
		group, path = "."+path[1], path[3:]
	default:
		return "", false
	}
	if len(path) > 2 && path[0] == "namespaces" {
		path = path[2:]
	}
	resource, named := path[0], len(path) > 1
	if len(path) > 2 {
		resource += "/" + path[2]
	}
	verb := map[string]string{
		http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete", http.MethodGet: "get",
	}[r.Method]
	switch {
	case verb == "get" && r.URL.Query().Get("watch") != "":
		verb = "watch"
	case verb == "get" && !named:
		verb = "list"
	case verb == "delete" && !named:
		verb = "deletecollection"
	}
	return verb + " " + resource + group, true
}

const (
	askedKind = "asked"
	askedKey  = "asked" // of the data: a right a line
)

// KeepAsked keeps what a pod of a shard asked for.
func (r Results) KeepAsked(ctx context.Context, shard int, pod string, asked *Asked) error {
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "asked-" + pod, Labels: map[string]string{
			suites.RunLabel: r.Run, kindLabel: askedKind, ShardLabel: strconv.Itoa(shard),
		}},
		Data: map[string]string{askedKey: strings.Join(asked.list(), "\n")},
	}
	_, err := r.Kube.CoreV1().ConfigMaps(r.Namespace).Create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("keep what pod %s asked for: %w", pod, err)
	}
	return nil
}

// Unused are the rights of the shards' cluster role that no pod made use of.
func (r Results) Unused(ctx context.Context) (unused []string, of int, err error) {
	all, err := r.Kube.CoreV1().ConfigMaps(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: kindLabel + "=" + askedKind})
	if err != nil {
		return nil, 0, fmt.Errorf("read what the shards asked for: %w", err)
	}
	used := map[string]bool{}
	for _, object := range all.Items {
		for _, right := range strings.Split(object.Data[askedKey], "\n") {
			used[right] = true
		}
	}
	granted := granted()
	return slices.DeleteFunc(slices.Clone(granted), func(right string) bool { return used[right] }), len(granted), nil
}

// granted are Rights, one by one.
func granted() []string {
	var all []string
	for _, rule := range Rights() {
		for _, group := range rule.APIGroups {
			if group != "" {
				group = "." + group
			}
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, verb+" "+resource+group)
				}
			}
		}
	}
	return all
}
