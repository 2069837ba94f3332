package admission

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// The test, run against an API server whose Pod schema has a field that no library knows.
func TestUnchangedSchemaFields(t *testing.T) {
	const novelField = "spec.containers[].novelty.depth"
	for name, c := range map[string]struct {
		server fakeServer
		// path and status of the case to look at, and what its findings or notes say.
		path    string
		want    reports.Status
		message string
		overall reports.Status
	}{
		"a webhook that only injects passes": {
			server: fakeServer{webhook: inject},
			path:   novelField, want: reports.Pass, overall: reports.Pass,
		},
		"a webhook that loses a field that its library does not know fails": {
			server: fakeServer{webhook: func(pod object) string {
				for c := range items(child(pod, "spec"), "containers") {
					delete(child(c, "novelty"), "depth")
				}
				return inject(pod)
			}},
			path: novelField, want: reports.Fail, message: `"depth":`, overall: reports.Fail,
		},
		"a webhook that refuses a field fails": {
			server: fakeServer{webhook: func(pod object) string {
				for c := range items(child(pod, "spec"), "containers") {
					if _, ok := child(c, "novelty")["depth"]; ok {
						return "unknown field"
					}
				}
				return inject(pod)
			}},
			path: novelField, want: reports.Fail, message: "refused with the label, but admitted without: unknown field", overall: reports.Fail,
		},
		"a field that the API server drops is noted": {
			server: fakeServer{webhook: inject, drop: func(pod object) {
				for c := range items(child(pod, "spec"), "containers") {
					delete(child(c, "novelty"), "depth")
				}
			}},
			path: novelField, want: reports.Pass, message: "the API server drops the field", overall: reports.Pass,
		},
		"a value that the API server refuses is the harness' error": {
			server: fakeServer{webhook: inject, refuse: novelField, code: http.StatusUnprocessableEntity},
			path:   novelField, want: reports.Error, message: "no valid value for " + novelField, overall: reports.Error,
		},
		"a field that the API server drops, so that the rest is invalid, is noted": {
			server: fakeServer{
				webhook: inject, refuse: "spec.containers[].env[].valueFrom.fileKeyRef.path", code: http.StatusUnprocessableEntity,
				message: "valueFrom: must specify one of: `fieldRef`, `resourceFieldRef`",
			},
			path: "spec.containers[].env[].valueFrom.fileKeyRef.path", want: reports.Pass, message: "the API server drops the field, nothing to compare", overall: reports.Pass,
		},
		"a field that the cluster's policy refuses is noted": {
			server: fakeServer{webhook: inject, refuse: novelField, code: http.StatusForbidden},
			path:   novelField, want: reports.Pass, message: "a policy of the cluster refuses the pod", overall: reports.Pass,
		},
		"a label that gets a pod past a policy fails": {
			server: fakeServer{webhook: inject, refuse: novelField, code: http.StatusForbidden, labelHelps: true},
			path:   novelField, want: reports.Fail, message: "admitted with the label, but refused without", overall: reports.Fail,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.fields = novelFields(t)
			result := c.server.run(t, "unchanged-schema-fields")
			if result.Status != c.overall {
				t.Errorf("the test's status is %s, want %s", result.Status, c.overall)
			}
			found := false
			for _, got := range result.Cases {
				if got.Name != c.path {
					continue
				}
				found = true
				said := strings.Join(got.Notes, "\n")
				for _, f := range got.Findings {
					said += f.Message + f.Diff
				}
				if got.Status != c.want || !strings.Contains(said, c.message) {
					t.Errorf("case %s is %s, want %s and a message with %q:\n%s", got.Name, got.Status, c.want, c.message, said)
				}
			}
			if !found {
				t.Errorf("there is no case %s", c.path)
			}
			// All fields of the document but apiVersion, metadata.uid and status.phase, and the pod with none of them.
			if want := len(c.server.fields) - 3 + 1; len(result.Cases) != want {
				t.Errorf("%d cases, want %d", len(result.Cases), want)
			}
		})
	}
}

func TestWhatCountsAsInjected(t *testing.T) {
	token := func(name string) object {
		return object{"name": name, "projected": object{"sources": list{object{"serviceAccountToken": object{"path": "token"}}}}}
	}
	plain := func() object {
		return object{
			"metadata": object{"labels": object{"app": "a"}},
			"spec": object{
				"volumes":    list{object{"name": "data"}, token("mine")},
				"containers": list{object{"name": "app", "env": list{object{"name": "AZURE_MINE", "value": "1"}}}},
			},
		}
	}
	for name, c := range map[string]struct {
		change    func(spec, app object)
		unchanged bool
	}{
		"the token's volume and mount, and variables": {func(spec, app object) {
			spec["volumes"] = list{token("new"), object{"name": "data"}, token("mine")}
			app["volumeMounts"] = list{object{"name": "new", "mountPath": "/token"}}
			app["env"] = list{object{"name": "AZURE_CLIENT_ID"}, object{"name": "AZURE_MINE", "value": "1"}}
		}, true},
		"the proxy, with what was injected into it": {func(spec, app object) {
			spec["initContainers"] = list{object{"name": proxyInitName}, object{"name": proxyName}}
		}, true},
		"another volume is not": {func(spec, app object) {
			spec["volumes"] = append(spec["volumes"].(list), object{"name": "new", "emptyDir": object{}})
		}, false},
		"a mount of another volume is not": {func(spec, app object) {
			app["volumeMounts"] = list{object{"name": "data", "mountPath": "/data"}}
		}, false},
		"another variable is not": {func(spec, app object) {
			app["env"] = append(app["env"].(list), object{"name": "HOME"})
		}, false},
		"a changed variable of the pod's own is not": {func(spec, app object) {
			app["env"] = list{object{"name": "AZURE_MINE", "value": "2"}}
		}, false},
		"another container is not": {func(spec, app object) {
			spec["containers"] = append(spec["containers"].(list), object{"name": "new"})
		}, false},
		"a lost volume of the pod's own is not": {func(spec, app object) { spec["volumes"] = list{object{"name": "data"}} }, false},
		"another order is not": {func(spec, app object) {
			spec["volumes"] = list{token("mine"), object{"name": "data"}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := plain(), plain()
			got["metadata"].(object)["labels"].(object)[suites.UseLabel] = "true"
			c.change(child(got, "spec"), byName(child(got, "spec"), "containers", "app"))
			removeInjected(got, want)
			if diff := cmp.Diff(want, got); (diff == "") != c.unchanged {
				t.Errorf("unchanged must be %v; difference (-want +got):\n%s", c.unchanged, diff)
			}
		})
	}
}

func TestWhatDiffersBetweenAnyTwoPods(t *testing.T) {
	pod := func(id string) object {
		return object{
			"metadata": object{"uid": id, "creationTimestamp": id, "managedFields": list{id}, "generateName": "pod-", "name": "pod-" + id},
			"spec": object{
				"volumes":    list{object{"name": "kube-api-access-" + id}},
				"containers": list{object{"name": "app", "volumeMounts": list{object{"name": "kube-api-access-" + id}}}},
			},
			"status": object{"conditions": list{object{"type": "PodScheduled", "lastTransitionTime": id}}},
		}
	}
	first, second := pod("1"), pod("2")
	removeIncidental(first)
	removeIncidental(second)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("difference:\n%s", diff)
	}
	if len(child(first, "spec")) != 2 || child(first, "metadata")["generateName"] != "pod-" {
		t.Errorf("too much was taken out: %v", first)
	}
}

// inject is a conformant webhook: it adds a token volume, its mount and a variable. It refuses nothing.
func inject(pod object) (refusal string) {
	spec := child(pod, "spec")
	volumes, _ := spec["volumes"].(list)
	spec["volumes"] = append(volumes, object{"name": "token", "projected": object{"sources": list{object{"serviceAccountToken": object{"path": "token"}}}}})
	for _, key := range []string{"initContainers", "containers"} {
		for c := range items(spec, key) {
			c["volumeMounts"] = list{object{"name": "token", "mountPath": "/token"}}
			env, _ := c["env"].(list)
			c["env"] = append(env, object{"name": suites.ClientIDVariable, "value": clientID})
		}
	}
	return ""
}

// fakeServer is as much of an API server as the test needs, with the schema of testdata/openapi.json.
type fakeServer struct {
	fields map[string]field
	// webhook changes a labelled pod, or says why it refuses it.
	webhook func(pod object) (refusal string)
	// drop takes out of a pod what the server does not keep.
	drop func(pod object)
	// refuse is the path of a field that the server refuses, with that code and message, and labelHelps if it lets
	// labelled pods pass.
	refuse     string
	code       int
	message    string
	labelHelps bool
}

func (s fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet && r.URL.Path == podDocument {
		document, err := os.ReadFile("testdata/openapi.json")
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(document)
		return
	}
	var o object
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		panic(err)
	}
	answer := func(code int, body any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	if strings.HasSuffix(r.URL.Path, "/pods") {
		isLabelled := child(o, "metadata", "labels")[suites.UseLabel] == "true"
		refuse := func(code int, message string) {
			answer(code, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Message: message})
		}
		if s.refuse != "" && has(o, s.fields[s.refuse].steps) && !(isLabelled && s.labelHelps) {
			refuse(s.code, s.message)
			return
		}
		if s.drop != nil {
			s.drop(o)
		}
		if isLabelled {
			if message := s.webhook(o); message != "" {
				refuse(http.StatusBadRequest, message)
				return
			}
		}
	}
	answer(http.StatusCreated, o)
}

// run runs the test of that id.
func (s fakeServer) run(t *testing.T, id string) reports.Test {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	env := &suites.Env{
		Cluster: fakeCluster{host: server.URL}, Subject: &subject.Installed{}, RunID: "run",
		Record: func(_, _, _ string) error { return nil }, KeepNamespaces: true,
	}
	if err := env.Connect(); err != nil {
		t.Fatal(err)
	}
	for _, test := range mechanicsUnchanged() {
		if test.ID == id {
			return suites.Execute(context.Background(), env, test, reports.Fail, make(chan struct{}, 4))
		}
	}
	t.Fatalf("there is no test %s", id)
	return reports.Test{}
}

// fakeCluster is a cluster of which only the API server's address is known.
type fakeCluster struct {
	cluster.Cluster
	host string
}

func (c fakeCluster) RESTConfig() (*rest.Config, error) {
	return &rest.Config{Host: c.host, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, nil
}
