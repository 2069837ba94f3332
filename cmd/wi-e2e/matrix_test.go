package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A matrix is checked where it is printed: a pipeline should not find out job by job.
func TestAMatrixIsRefusedForWhatRunWouldRefuse(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"an unknown provider", "providers: [gke]", `job gke (wi-e2e run --provider gke): unknown provider "gke"`},
		{"an unknown language", "languages: [cobol]", `unknown language "cobol"`},
		{"a chart for another subject", "subjects: [{name: a, kind: reference, chart: c.tgz}]", "subject helm and a chart go together"},
		{"more shards than tests", "os: [windows]\nshards: 99", "there are more shards (99) than selected tests"},
		{"an unknown key", "provider: [local]", `unknown field "provider"`},
		{"a good one", "providers: [local]\nlanguages: [go, java]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "matrix.yaml")
			if err := os.WriteFile(path, []byte("apiVersion: wi-e2e.dev/v1alpha1\nkind: Matrix\n"+c.yaml+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			root := rootCommand()
			root.SetOut(&out)
			root.SetArgs([]string{"matrix", "--format", "github", path})
			err := root.Execute()
			switch {
			case c.want == "" && (err != nil || !strings.HasPrefix(out.String(), `{"include":[{"name":"local_go","args":"--provider local --language go"`)):
				t.Errorf("%v, printed %s", err, out.String())
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0):
				t.Errorf("got %v, printed %q, want an error with %q and nothing printed", err, out.String(), c.want)
			}
		})
	}
}
