package reports

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAListOfRecordsIsReadAsTheRecordsInIt(t *testing.T) {
	dir := t.TempDir()
	one, both := filepath.Join(dir, "one.json"), filepath.Join(dir, "both.json")
	if err := repeatedRecord().Save(one); err != nil {
		t.Fatal(err)
	}
	if err := (&List{Items: []*Record{passingRecord(), setUpFailure()}}).Save(both); err != nil {
		t.Fatal(err)
	}
	got, err := LoadAll(one, both)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*Record{repeatedRecord(), passingRecord(), setUpFailure()}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Load(both); err == nil || !strings.Contains(err.Error(), "2 records") {
		t.Errorf("a list is loaded as one record: %v", err)
	}
	if _, err := Parse([]byte(`{"apiVersion":"wi-e2e.dev/v9","kind":"RunRecordList","items":[]}`)); err == nil || !strings.Contains(err.Error(), "v9") {
		t.Errorf("a list of another version is read: %v", err)
	}
	if _, err := LoadAll(one, filepath.Join(dir, "absent.json")); err == nil || !strings.Contains(err.Error(), "absent.json") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestARecordOfAnEarlierVersionIsRead(t *testing.T) {
	old := `{"apiVersion":"wi-e2e.dev/v1alpha1","kind":"RunRecord","run":{"id":"x"},"tests":[{"id":"a","status":"pass"}],"field":"of tomorrow"}`
	records, err := Parse([]byte(old))
	if err != nil || len(records) != 1 || records[0].Run.Shard != nil || records[0].Tests[0].ID != "a" {
		t.Errorf("%+v, error %v", records, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range []*Record{passingRecord(), everything()} {
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"apiVersion":"wi-e2e.dev/v1alpha1","kind":"RunRecordList","items":[{},null,{"kind":"RunRecord"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := Parse(data)
		if err != nil {
			return
		}
		for _, r := range records {
			if r.APIVersion != APIVersion || r.Kind != Kind {
				t.Errorf("it read %q %q", r.APIVersion, r.Kind)
			}
			// Whatever was read can be judged and shown.
			_ = r.Problems()
			if err := WriteSummary(&bytes.Buffer{}, r, SummaryOptions{}); err != nil {
				t.Error(err)
			}
			if n := len(Markdown(r)); n > MarkdownLimit {
				t.Errorf("%d bytes of markdown", n)
			}
		}
	})
}
