package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// Each fault shows in few pods only. It must be found, held against its rule, and shrunk to the pod that shows it and nothing else.
func TestFuzzFindsAndShrinks(t *testing.T) {
	for name, c := range map[string]struct {
		fault       fault
		requirement string
		also        []string // rules that the fault breaks too
		says        string
		spec        string // of the smallest pod
		annotations string
	}{
		"a field lost in the fourth container": {
			fault: fault{after: func(_, pod object) {
				if all := slices.Collect(items(child(pod, "spec"), "containers")); len(all) > 3 {
					delete(all[3], "livenessProbe")
				}
			}},
			requirement: "ADM-01", says: "spec.containers[3].livenessProbe is",
			spec: `{containers: [{name: a, image: i}, {name: b, image: i}, {name: c, image: i}, {name: d, image: i, livenessProbe: {}}]}`,
		},
		"an init container refused": {
			fault: fault{refuse: func(pod object) bool { return byName(child(pod, "spec"), "initContainers", "init-app") != nil }},
			// The API server answers with a refusal where the pod was, so that nothing else is looked at.
			requirement: "ADM-01", says: "refused with the label, but admitted without",
			spec: `{containers: [{name: app, image: i}], initContainers: [{name: init-app, image: i}]}`,
		},
		"a container skipped by the beginning of its name": {
			fault: fault{skips: func(item, name string) bool { return item != "" && strings.HasPrefix(name, item) }},
			// A container without mount is a violation of both.
			requirement: "SKP-02", also: []string{"VOL-02"}, says: "is not skipped, but has no AZURE_",
			spec: `{containers: [{name: app, image: i}]}`, annotations: `{azure.workload.identity/skip-containers: a}`,
		},
		"a comma that separates names": {
			fault: fault{skips: func(item, name string) bool {
				return slices.ContainsFunc(strings.Split(item, ","), func(s string) bool { return strings.TrimSpace(s) == name })
			}},
			requirement: "SKP-02", also: []string{"VOL-02"}, says: "is not skipped, but has no AZURE_",
		},
		"an init container that cannot be skipped": {
			fault:       fault{isInit: func(bool) bool { return false }},
			requirement: "SKP-02", says: "is skipped, but got AZURE_",
			spec:        `{containers: [{name: x, image: i}], initContainers: [{name: app, image: i}]}`,
			annotations: `{azure.workload.identity/skip-containers: app}`,
		},
		"a skipped container with a mount": {
			fault: fault{after: func(_, pod object) {
				for c := range items(child(pod, "spec"), "initContainers") {
					if skippedNames(pod)[name(c)] {
						addTo(c, "volumeMounts", object{"name": fakeVolume, "mountPath": fakeDirectory, "readOnly": true})
					}
				}
			}},
			requirement: "SKP-02", says: "is skipped, but has the token", also: []string{"ADM-02"},
		},
		"an empty variable of the user's overwritten": {
			fault: fault{declares: func(c object, variable string) bool {
				e := byName(c, "env", variable)
				if e != nil && e["value"] == "" && len(e) == 2 {
					c["env"] = slices.DeleteFunc(c["env"].(list), func(e any) bool { return name(e.(object)) == variable })
					return false
				}
				return e != nil
			}},
			requirement: "ENV-06", also: []string{"ADM-01"}, says: `declares AZURE_`,
		},
		"a variable with a source declared again": {
			fault: fault{declares: func(c object, variable string) bool {
				e := byName(c, "env", variable)
				return e != nil && (e["valueFrom"] == nil || variable != suites.AuthorityHostVariable)
			}},
			requirement: "ENV-06", also: []string{"ADM-01", "ADM-02"}, says: "declares AZURE_AUTHORITY_HOST itself",
		},
		"a variable that is taken for one that begins like it": {
			fault: fault{declares: func(c object, variable string) bool {
				for e := range items(c, "env") {
					if strings.HasPrefix(name(e), variable) {
						return true
					}
				}
				return false
			}},
			requirement: "SKP-02", says: "is not skipped, but has no AZURE_",
		},
		"a mount that can be written, beside one of the user's": {
			fault: fault{after: func(_, pod object) {
				for c := range items(child(pod, "spec"), "containers") {
					if mounts, _ := c["volumeMounts"].(list); len(mounts) > 1 {
						delete(mounts[len(mounts)-1].(object), "readOnly")
					}
				}
			}},
			requirement: "VOL-02", says: "container app can write to the token's mount",
			spec: `{containers: [{name: app, image: i, volumeMounts: [{}]}]}`,
		},
		"no mount below one of the user's": {
			fault: fault{mounts: func(c object) bool {
				for m := range items(c, "volumeMounts") {
					if m["mountPath"] == "/var/run/secrets/azure" {
						return false
					}
				}
				return true
			}},
			requirement: "VOL-02", says: "container app mounts the token 0 times",
			spec: `{containers: [{name: app, image: i, volumeMounts: [{mountPath: /var/run/secrets/azure}]}]}`,
		},
		"a pod that gets another volume when it is sent again": {
			fault: fault{after: func(before, pod object) {
				if byName(child(before, "spec"), "volumes", fakeVolume) != nil && child(pod, "metadata", "annotations")[suites.ExpirationAnnotation] != nil {
					addTo(child(pod, "spec"), "volumes", object{"name": fakeVolume + "-2"})
				}
			}},
			requirement: "ADM-02", says: "spec.volumes is",
			spec: `{containers: [{name: app, image: i}]}`,
		},
		"init containers in another order each time": {
			fault: fault{after: func() func(_, pod object) {
				var calls atomic.Int64
				return func(_, pod object) {
					for c := range items(child(pod, "spec"), "initContainers") {
						if env, _ := c["env"].(list); len(env) > 1 && calls.Add(1)%2 == 0 {
							slices.Reverse(env)
						}
					}
				}
			}()},
			requirement: "ADM-04", also: []string{"ADM-01", "ADM-02"}, says: "spec.initContainers[",
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := fuzzServer{fault: c.fault}.run(t, 7, 400)
			if result.Status != reports.Fail {
				t.Errorf("the test's status is %s, want fail: %v", result.Status, result.Findings)
			}
			for _, got := range result.Cases {
				requirement := got.Requirements[0]
				switch {
				case requirement != c.requirement:
					if got.Status != reports.Pass && !slices.Contains(c.also, requirement) {
						t.Errorf("%s is %s: %v", requirement, got.Status, got.Findings)
					}
				case got.Status != reports.Fail || len(got.Findings) == 0:
					t.Errorf("%s is %s, want fail", requirement, got.Status)
				default:
					message := got.Findings[0].Message
					if !strings.Contains(message, c.says) {
						t.Errorf("the finding does not say %q:\n%s", c.says, message)
					}
					expectSmallest(t, message, c.spec, c.annotations)
					if len(got.Findings) > shownViolations {
						t.Errorf("%d violations are shown", len(got.Findings))
					}
				}
			}
		})
	}
}

// expectSmallest compares shapes: what the containers are called, where it does not matter, and leaf values are the pod's own.
func expectSmallest(t *testing.T, message, spec, annotations string) {
	t.Helper()
	pod := object{}
	_, rest, _ := strings.Cut(message, "<<'EOF'\n")
	text, _, ok := strings.Cut(rest, "EOF\n")
	if err := yaml.Unmarshal([]byte(text), &pod); err != nil || !ok {
		t.Fatalf("there is no pod in the finding: %v\n%s", err, message)
	}
	for key, want := range map[string]string{"spec": spec, "annotations": annotations} {
		if want == "" {
			continue
		}
		o, got := object{}, child(pod, "metadata", "annotations")
		if key == "spec" {
			got = child(pod, "spec")
			delete(got, "serviceAccountName")
		}
		if err := yaml.Unmarshal([]byte(want), &o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(shape(o), shape(got)); diff != "" {
			t.Errorf("%s of the smallest pod (-want +got):\n%s\n%s", key, diff, text)
		}
	}
}

// shape is a value without what its strings are, and without the fields below the empty objects of an expectation.
func shape(value any) any {
	switch value := value.(type) {
	case object:
		o := object{}
		for key, v := range value {
			switch key {
			case "livenessProbe", "valueFrom":
				o[key] = true
			case "volumeMounts":
				o[key] = len(v.(list))
			case suites.SkipAnnotation:
				o[key] = len(strings.Split(v.(string), ";"))
			default:
				o[key] = shape(v)
			}
		}
		return o
	case list:
		l := list{}
		for _, v := range value {
			l = append(l, shape(v))
		}
		return l
	}
	return true
}

func TestFuzzPassesAConformantWebhook(t *testing.T) {
	result := fuzzServer{}.run(t, 7, 401)
	if result.Status != reports.Pass {
		t.Errorf("the status is %s: %v", result.Status, result)
	}
	for _, c := range result.Cases {
		want := 401
		if r := c.Requirements[0]; r == "ADM-02" || r == "ADM-04" {
			want = 51 // pods 0, 8, … 400
		}
		if c.Checks != want {
			t.Errorf("%s: %d expectations, want one for each of %d pods", c.Requirements[0], c.Checks, want)
		}
	}
	if !strings.Contains(strings.Join(result.Notes, "\n"), "seed 7: 401 pods, 401 of them checked, 51 of these sent again; 0 discarded") {
		t.Errorf("the notes do not tell the counts: %q", result.Notes)
	}
}

func TestFuzzIsRepeatedByItsSeed(t *testing.T) {
	server := fuzzServer{fault: fault{skips: func(item, name string) bool { return item != "" && strings.HasPrefix(name, item) }}}
	said := func(seed int64) string {
		var all []string
		for _, c := range server.run(t, seed, 800).Cases {
			all = append(all, c.Notes...)
			for _, f := range c.Findings {
				all = append(all, f.Message)
			}
		}
		return strings.Join(all, "\n")
	}
	first := said(3)
	if diff := cmp.Diff(first, said(3)); diff != "" {
		t.Errorf("the same seed says something else (-first +second):\n%s", diff)
	}
	if first == said(4) {
		t.Error("another seed says the same")
	}
}

func TestFuzzTellsItsOwnTroubleFromTheSubjects(t *testing.T) {
	for name, c := range map[string]struct {
		server fuzzServer
		want   reports.Status
		says   string
	}{
		"pods that the API server refuses without the label are discarded and counted": {
			server: fuzzServer{invalid: func(pod object) bool { return len(child(pod, "metadata", "annotations")) > 2 }},
			want:   reports.Pass, says: "386 of them checked, 47 of these sent again; 14 discarded",
		},
		"an API server that refuses most of them proves nothing": {
			server: fuzzServer{invalid: func(pod object) bool { return len(child(pod, "metadata", "annotations")) > 0 }},
			want:   reports.Error, says: "next to nothing is checked",
		},
		"a webhook that cannot be reached is an error": {
			server: fuzzServer{fault: fault{unreachable: true}},
			want:   reports.Error, says: "the webhook cannot be reached",
		},
		"a pod that the API server itself changes when it is sent again says nothing": {
			server: fuzzServer{defaults: func(pod object) {
				for c := range items(child(pod, "spec"), "containers") {
					if c["livenessProbe"] != nil {
						addTo(c, "args", "again")
					}
				}
			}},
			want: reports.Pass, says: "seed 7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := c.server.run(t, 7, 400)
			said := fmt.Sprint(result.Notes, result.Findings, result.Cases)
			if result.Status != c.want || !strings.Contains(said, c.says) {
				t.Errorf("the status is %s, want %s and %q: %s", result.Status, c.want, c.says, said)
			}
		})
	}
}

// fault is where a webhook differs from a conformant one; nil fields are conformant.
type fault struct {
	skips       func(item, name string) bool
	isInit      func(skippable bool) bool // says whether an init container can be skipped
	declares    func(c object, variable string) bool
	mounts      func(c object) bool
	refuse      func(pod object) bool
	after       func(before, pod object)
	unreachable bool
}

const (
	fakeVolume    = "azure-identity-token"
	fakeDirectory = "/var/run/secrets/azure/tokens"
)

// mutate is a small conformant webhook, apart from the fault. It knows nothing of the proxy.
func (f fault) mutate(pod object) {
	before, _ := clone(pod).(object)
	spec := child(pod, "spec")
	annotation, _ := child(pod, "metadata", "annotations")[suites.SkipAnnotation].(string)
	for _, key := range containerLists {
		for c := range items(spec, key) {
			skipped := slices.ContainsFunc(strings.Split(annotation, ";"), func(item string) bool {
				item = strings.TrimSpace(item)
				if f.skips != nil {
					return f.skips(item, name(c))
				}
				return item == name(c)
			})
			if skipped && !(key == "initContainers" && f.isInit != nil && !f.isInit(true)) {
				continue
			}
			for _, v := range []string{suites.ClientIDVariable, suites.TenantIDVariable, suites.AuthorityHostVariable, suites.TokenFileVariable} {
				declared := byName(c, "env", v) != nil
				if f.declares != nil {
					declared = f.declares(c, v)
				}
				if !declared {
					value := "of the webhook"
					if v == suites.TokenFileVariable {
						value = fakeDirectory + "/token"
					}
					addTo(c, "env", object{"name": v, "value": value})
				}
			}
			if byName(c, "volumeMounts", fakeVolume) == nil && (f.mounts == nil || f.mounts(c)) {
				addTo(c, "volumeMounts", object{"name": fakeVolume, "mountPath": fakeDirectory, "readOnly": true})
			}
		}
	}
	if byName(spec, "volumes", fakeVolume) == nil {
		addTo(spec, "volumes", object{"name": fakeVolume, "projected": object{"sources": list{object{"serviceAccountToken": object{"path": "token"}}}}})
	}
	if f.after != nil {
		f.after(before, pod)
	}
}

func addTo(o object, key string, item any) {
	all, _ := o[key].(list)
	o[key] = append(all, item)
}

// fuzzServer is as much of an API server as the test needs, with the schema of testdata/openapi.json.
type fuzzServer struct {
	fault    fault
	invalid  func(pod object) bool
	defaults func(pod object)
}

func (s fuzzServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == podDocument {
		document, err := os.ReadFile("testdata/openapi.json")
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(document)
		return
	}
	o := object{}
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		panic(err)
	}
	if strings.HasSuffix(r.URL.Path, "/pods") {
		if code, message := s.admit(o); code != 0 {
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Message: message,
			})
			return
		}
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(o)
}

// admit changes the pod as a cluster would, or says why it refuses it.
func (s fuzzServer) admit(pod object) (code int, message string) {
	spec := child(pod, "spec")
	withoutEmptyLists(pod)
	containers := slices.Collect(items(spec, "containers"))
	names := map[string]bool{}
	for _, key := range containerLists {
		for c := range items(spec, key) {
			if c["name"] == nil || c["image"] == nil || names[name(c)] {
				return http.StatusUnprocessableEntity, "invalid container"
			}
			names[name(c)] = true
			for e := range items(c, "env") {
				if e["name"] == nil {
					return http.StatusUnprocessableEntity, "a variable without name"
				}
			}
		}
	}
	if len(containers) == 0 || s.invalid != nil && s.invalid(pod) {
		return http.StatusUnprocessableEntity, "invalid pod"
	}
	if child(pod, "metadata", "labels")[suites.UseLabel] == "true" {
		switch {
		case s.fault.unreachable:
			return http.StatusInternalServerError, "Internal error occurred: failed calling webhook \"mutation\": connection refused"
		case s.fault.refuse != nil && s.fault.refuse(pod):
			return http.StatusBadRequest, "admission webhook denied the request: for no reason"
		}
		s.fault.mutate(pod)
	}
	if s.defaults != nil {
		s.defaults(pod)
	}
	return 0, ""
}

func withoutEmptyLists(o object) {
	for key, value := range o {
		switch value := value.(type) {
		case object:
			withoutEmptyLists(value)
		case list:
			if len(value) == 0 {
				delete(o, key)
			}
			for _, item := range value {
				if item, ok := item.(object); ok {
					withoutEmptyLists(item)
				}
			}
		}
	}
}

func (s fuzzServer) run(t *testing.T, seed int64, pods int) reports.Test {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	env := &suites.Env{
		Cluster: fakeCluster{host: server.URL}, Subject: &subject.Installed{}, RunID: "run", Fuzz: suites.Fuzz{Seed: seed, Pods: pods},
		Record: func(_, _, _ string) error { return nil }, KeepNamespaces: true,
	}
	if err := env.Connect(); err != nil {
		t.Fatal(err)
	}
	return suites.Execute(context.Background(), env, fuzzTests()[0], reports.Fail, make(chan struct{}, 8))
}

func TestShrinkingGoesOnUntilNothingCanBeLeftOut(t *testing.T) {
	s := shrinker{
		pod: object{"spec": object{"a": list{"x", object{"wanted": "w", "b": "x"}, "y"}, "needs-later": "x", "zlater": "x"}},
		fails: func(pod object) bool {
			spec := child(pod, "spec")
			wanted := slices.ContainsFunc(slices.Collect(items(spec, "a")), func(o object) bool { return o["wanted"] == "w" })
			return wanted && (spec["needs-later"] != nil || spec["zlater"] == nil) // one goes only when the other has gone
		},
	}
	s.shrink()
	if diff := cmp.Diff(object{"spec": object{"a": list{object{"wanted": "w"}}}}, s.pod); diff != "" {
		t.Errorf("the smallest pod (-want +got):\n%s", diff)
	}
}

func TestTheSmallestViolationsComeFirst(t *testing.T) {
	var tallies []*tally
	for _, v := range []violation{{index: 5, size: 20}, {index: 9, size: 10}, {index: 3, size: 10}} {
		w := newTally()
		w.violations[0] = []violation{v}
		w.discarded, w.example.index = 1, v.index
		tallies = append(tallies, w)
	}
	all := sum(tallies)
	var order []int
	for _, v := range all.violations[0] {
		order = append(order, v.index)
	}
	if !slices.Equal(order, []int{3, 9, 5}) || all.discarded != 3 || all.example.index != 3 {
		t.Errorf("violations %v, %d discarded, such as pod %d; want [3 9 5], 3, 3", order, all.discarded, all.example.index)
	}
}

func TestRandomPods(t *testing.T) {
	fields := slices.SortedFunc(maps.Values(novelFields(t)), func(a, b field) int { return strings.Compare(a.path, b.path) })
	const pods = 3000
	g := newPodGenerator(fields, 7, fakeVolume, fakeDirectory)
	var backwards [pods]object
	for i := range slices.Backward(backwards[:]) {
		backwards[i] = newPodGenerator(fields, 7, fakeVolume, fakeDirectory).pod(i)
	}
	missing := map[string]bool{}
	for _, f := range fields {
		if _, ok := notSettableBecause(f); !ok {
			missing[f.path] = true
		}
	}
	others := 0
	most := map[string]bool{"containers": true, "initContainers": true, "1": true, "6": true, "proxy": true, "below": true, "skip": true}
	for i := range pods {
		pod := g.pod(i)
		if diff := cmp.Diff(backwards[i], pod); diff != "" {
			t.Fatalf("pod %d depends on the pods before it:\n%s", i, diff)
		}
		if !reflect.DeepEqual(pod, newPodGenerator(fields, 8, fakeVolume, fakeDirectory).pod(i)) {
			others++
		}
		for _, f := range fields {
			if has(pod, f.steps) {
				delete(missing, f.path)
			}
		}
		n := 0
		for _, key := range containerLists {
			for c := range items(child(pod, "spec"), key) {
				n++
				delete(most, key)
				mounts := map[any]bool{}
				for m := range items(c, "volumeMounts") {
					if m["mountPath"] == fakeDirectory || mounts[m["mountPath"]] {
						t.Errorf("pod %d: container %s has a mount at %s", i, name(c), m["mountPath"])
					}
					mounts[m["mountPath"]] = true
					if m["mountPath"] == fakeDirectory+"/mine" {
						delete(most, "below")
					}
				}
			}
		}
		delete(most, fmt.Sprint(n))
		annotations := child(pod, "metadata", "annotations")
		if annotations[suites.ProxyAnnotation] == "true" {
			delete(most, "proxy")
		}
		if len(skippedNames(pod)) > 2 {
			delete(most, "skip")
		}
	}
	if len(missing) > 0 {
		t.Errorf("in no pod: %q", slices.Sorted(maps.Keys(missing)))
	}
	if len(most) > 0 {
		t.Errorf("never: %q", slices.Sorted(maps.Keys(most)))
	}
	if others < pods*9/10 {
		t.Errorf("only %d pods of %d are different with another seed", others, pods)
	}
}

func TestDifferenceNamesTheFirstPlace(t *testing.T) {
	for name, c := range map[string]struct {
		a, b any
		want string
	}{
		"nothing":              {object{"a": list{"x"}}, object{"a": list{"x"}}, ""},
		"a value":              {object{"a": list{"x", "y"}}, object{"a": list{"x", "z"}}, `a[1] is "y" before, "z" after`},
		"a key that was lost":  {object{"a": object{"b": "x"}}, object{"a": object{}}, `a.b is "x" before, missing after`},
		"a key that was added": {object{}, object{"k": "x"}, `k is missing before, "x" after`},
		"an item":              {object{"l": list{"x"}}, object{"l": list{"x", "y"}}, `l is ["x"] before, ["x","y"] after`},
		"another type":         {object{"a": object{}}, object{"a": list{}}, `a is {} before, [] after`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := difference("before", c.a, "after", c.b); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
