package admission

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// novelFields are those of testdata/openapi.json: a small pod with a field that no library knows.
func novelFields(t *testing.T) map[string]field {
	t.Helper()
	document, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	fields, err := podFields(document)
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]field{}
	for _, f := range fields {
		byPath[f.path] = f
	}
	return byPath
}

func TestPodFieldsAreTheLeavesOfTheSchema(t *testing.T) {
	document, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	fields, err := podFields(document)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range fields {
		got = append(got, f.path)
	}
	container := func(list string) []string {
		var paths []string
		for _, path := range []string{
			"env[].name", "env[].valueFrom.fileKeyRef.path", "image", "livenessProbe.exec.command[]", "livenessProbe.periodSeconds", "name",
			"novelty.depth", "novelty.mode", "novelty.port", "novelty.ratio", "novelty.rules[].text", "novelty.strict",
		} {
			paths = append(paths, "spec."+list+"[]."+path)
		}
		return paths
	}
	want := []string{"apiVersion", "metadata.labels{}", "metadata.name", "metadata.uid", "spec.budget{}"}
	want = append(want, container("containers")...)
	want = append(want, container("initContainers")...)
	want = append(want, "status.phase")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestPodFieldsRefuseADocumentThatIsNoneOfAPIServers(t *testing.T) {
	const before, after = `{"components":{"schemas":{"io.k8s.api.core.v1.Pod":`, `}}}`
	for name, c := range map[string]struct{ document, want string }{
		"not JSON":                   {`<html>`, "decode the OpenAPI document"},
		"no pods":                    {`{"components":{"schemas":{}}}`, "has no #/components/schemas/io.k8s.api.core.v1.Pod"},
		"a pod without fields":       {before + `{"type":"object"}` + after, "has no fields"},
		"a reference to nothing":     {before + `{"properties":{"spec":{"$ref":"#/components/schemas/None"}}}` + after, "field spec: the OpenAPI document has no #/components/schemas/None"},
		"a schema that holds itself": {before + `{"properties":{"spec":{"$ref":"#/components/schemas/io.k8s.api.core.v1.Pod"}}}` + after, "contains itself"},
	} {
		t.Run(name, func(t *testing.T) {
			fields, err := podFields([]byte(c.document))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d fields, error %v; want an error with %q", len(fields), err, c.want)
			}
		})
	}
}
