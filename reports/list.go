package reports

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/wi-e2e/wi-e2e/reports/redact"
)

// ListKind is the kind of a file that holds several records.
const ListKind = "RunRecordList"

// List is several records in one file, such as the runs of a matrix. Each of them stays what it is: nothing is summed up.
type List struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Items      []*Record `json:"items"`
}

// Save writes the list to path, whole or not at all.
func (l *List) Save(path string) error {
	l.APIVersion, l.Kind = APIVersion, ListKind
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the list of records: %w", err)
	}
	return WriteFile(path, append(data, '\n'))
}

// LoadAll reads files, each of which holds a record or a list of them.
func LoadAll(paths ...string) ([]*Record, error) {
	var all []*Record
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read record: %w", err)
		}
		records, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w", path, err)
		}
		all = append(all, records...)
	}
	return all, nil
}

// Parse reads a record or a list of records, without secrets that are in it, wherever it is from. Fields that it does not know are those of a
// later version, and left alone.
func Parse(data []byte) ([]*Record, error) {
	var list struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	items := list.Items
	if list.Kind != ListKind {
		items = []json.RawMessage{data}
	} else if list.APIVersion != APIVersion {
		return nil, fmt.Errorf("it is a list of %q, want %q", list.APIVersion, APIVersion)
	}
	var all []*Record
	for i, item := range items {
		r := &Record{}
		if err := json.Unmarshal(item, r); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
		if r.APIVersion != APIVersion || r.Kind != Kind {
			return nil, fmt.Errorf("item %d is %q %q, want %q %q", i+1, r.APIVersion, r.Kind, APIVersion, Kind)
		}
		all = append(all, r.Withhold(redact.FromEnvironment()))
	}
	return all, nil
}
