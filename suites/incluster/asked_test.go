package incluster

import (
	"net/http"
	"slices"
	"testing"
)

func TestARequestIsNotedAsTheRightThatItTakes(t *testing.T) {
	for _, c := range []struct {
		method, path, contentType string
		want                      []string
	}{
		{"GET", "/api/v1/namespaces/ns/pods", "", []string{"list pods"}},
		{"GET", "/api/v1/namespaces/ns/pods?watch=true", "", []string{"watch pods"}},
		{"GET", "/api/v1/namespaces/ns/pods/p", "", []string{"get pods"}},
		{"GET", "/api/v1/namespaces/ns/pods/p/log?follow=true", "", []string{"get pods/log"}},
		{"POST", "/api/v1/namespaces/ns/serviceaccounts/sa/token", "", []string{"create serviceaccounts/token"}},
		{"PATCH", "/api/v1/namespaces/ns", "application/merge-patch+json", []string{"patch namespaces"}},
		{"PATCH", "/api/v1/namespaces/ns/serviceaccounts/sa", "application/apply-patch+yaml", []string{"create serviceaccounts", "patch serviceaccounts"}},
		{"POST", "/api/v1/namespaces", "", []string{"create namespaces"}},
		{"POST", "/apis/batch/v1/namespaces/ns/jobs", "", []string{"create jobs.batch"}},
		{"PUT", "/api/v1/namespaces/ns/configmaps/c", "", []string{"update configmaps"}},
		{"DELETE", "/api/v1/namespaces/ns/pods", "", []string{"deletecollection pods"}},
		{"GET", "/openapi/v3", "", nil},
		{"GET", "/apis/batch/v1", "", nil},
		{"GET", "/api/v1", "", nil},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			asked := &Asked{}
			transport := asked.Wrap(roundTripper(func(*http.Request) (*http.Response, error) { return nil, http.ErrHandlerTimeout }))
			request, err := http.NewRequestWithContext(t.Context(), c.method, "https://cluster"+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", c.contentType)
			if _, err := transport.RoundTrip(request); err != http.ErrHandlerTimeout {
				t.Errorf("the request is answered with %v", err)
			}
			if got := asked.list(); !slices.Equal(got, c.want) {
				t.Errorf("noted %q, want %q", got, c.want)
			}
		})
	}
}

func TestRightsThatNoPodUsedAreTold(t *testing.T) {
	r, _ := aCluster(t)
	all := granted()
	for i, rights := range [][]string{all[:3], all[2 : len(all)-1]} {
		asked := &Asked{rights: map[string]bool{"create elsewhere": true}}
		for _, right := range rights {
			asked.rights[right] = true
		}
		if err := r.KeepAsked(t.Context(), i+1, "pod-"+string(rune('a'+i)), asked); err != nil {
			t.Fatal(err)
		}
	}
	unused, of, err := r.Unused(t.Context())
	if err != nil || of != len(all) || !slices.Equal(unused, all[len(all)-1:]) {
		t.Errorf("%q of %d, error %v; want %q of %d", unused, of, err, all[len(all)-1:], len(all))
	}
}
