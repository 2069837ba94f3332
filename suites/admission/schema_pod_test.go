package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPodWithAFieldHasWhatTheFieldNeeds(t *testing.T) {
	fields := novelFields(t)
	base := object{"spec": object{"containers": list{object{"name": "app", "image": "i"}}}}
	app := func(more object) list {
		c := object{"name": "app", "image": "i"}
		merge(c, more)
		return list{c}
	}
	for name, c := range map[string]struct {
		path string
		want object
	}{
		"a required sibling is made from the schema": {
			"spec.containers[].novelty.depth",
			object{"spec": object{"containers": app(object{"novelty": object{
				"depth": 7, "mode": "On", "rules": list{object{"text": "wi-e2e"}},
			}})}},
		},
		"a field below a required list is in that list": {
			"spec.containers[].novelty.rules[].text",
			object{"spec": object{"containers": app(object{"novelty": object{"mode": "On", "rules": list{object{"text": "wi-e2e"}}}})}},
		},
		"a recipe gives the handler that a probe needs, and another the sidecar that it needs": {
			"spec.initContainers[].livenessProbe.periodSeconds",
			object{"spec": object{
				"containers": app(nil),
				"initContainers": list{object{
					"name": "init", "image": image, "restartPolicy": "Always",
					"livenessProbe": object{"periodSeconds": 7, "exec": object{"command": list{"true"}}},
				}},
			}},
		},
		"a handler that is the field itself stays": {
			"spec.containers[].livenessProbe.exec.command[]",
			object{"spec": object{"containers": app(object{"livenessProbe": object{"exec": object{"command": list{"wi-e2e"}}}})}},
		},
		"a quantity": {
			"spec.budget{}",
			object{"spec": object{"containers": app(nil), "budget": object{"wi-e2e": "7"}}},
		},
		"a recipe's value goes before the schema's": {
			"metadata.labels{}",
			object{"spec": object{"containers": app(nil)}, "metadata": object{"labels": object{"wi-e2e.dev/field": "label"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := fields[c.path]
			got := podWith(f, base)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
			if len(f.steps) == 0 || !has(got, f.steps) {
				t.Errorf("the pod does not have %s", c.path)
			}
		})
	}
	if diff := cmp.Diff(object{"spec": object{"containers": list{object{"name": "app", "image": "i"}}}}, base); diff != "" {
		t.Errorf("the base was changed (-want +got):\n%s", diff)
	}
}

func TestHasLooksThroughListsForAnyElement(t *testing.T) {
	f := novelFields(t)["spec.containers[].novelty.mode"]
	for name, c := range map[string]struct {
		pod  object
		want bool
	}{
		"in the second container":  {object{"spec": object{"containers": list{object{}, object{"novelty": object{"mode": "On"}}}}}, true},
		"in no container":          {object{"spec": object{"containers": list{object{}, object{"novelty": object{}}}}}, false},
		"without a list":           {object{"spec": object{}}, false},
		"in the wrong list":        {object{"spec": object{"initContainers": list{object{"novelty": object{"mode": "On"}}}}}, false},
		"where the parent is null": {object{"spec": nil}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := has(c.pod, f.steps); got != c.want {
				t.Errorf("has is %v, want %v", got, c.want)
			}
		})
	}
}

func TestFieldsThatClientsDoNotSetHaveAReason(t *testing.T) {
	fields := novelFields(t)
	for path, want := range map[string]string{
		"metadata.uid":               "set by the API server",
		"status.phase":               "written through the status subresource",
		"apiVersion":                 "the same in every pod",
		"metadata.name":              "",
		"spec.containers[].name":     "",
		"spec.budget{}":              "",
		"spec.initContainers[].name": "",
	} {
		if got, ok := notSettableBecause(fields[path]); got != want || ok != (want != "") {
			t.Errorf("%s: reason %q (%v), want %q", path, got, ok, want)
		}
	}
}
