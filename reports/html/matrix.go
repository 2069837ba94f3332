package html

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/reports"
)

// osMatrix is what ran on one operating system: languages by libraries.
type osMatrix struct {
	OS        string
	Libraries []string
	Rows      []matrixRow
}

type matrixRow struct {
	Language string
	Cells    [][]*program // by library
}

// program is what the records say of one program of the workloads' catalogue.
type program struct {
	reports.Program
	Status      reports.Status // the worst of its tests
	Version     string
	Credentials []string
	Token       float64 // the longest, in seconds
	Reason      string  // why it did not run
	Test        string  // its worst
	Tests       int

	tests map[string]bool
}

// matrix has every program that a test took, whether or not it ran.
func matrix(records []*reports.Record) []osMatrix {
	programs := map[reports.Program]*program{}
	see := func(key reports.Program, t reports.Test) *program {
		key.OS = cmp.Or(key.OS, "linux")
		p := programs[key]
		if p == nil {
			p = &program{Program: key, tests: map[string]bool{}}
			programs[key] = p
		}
		p.tests[t.ID] = true
		if p.Test == "" || reports.Worst(p.Status, t.Status) != p.Status {
			p.Status, p.Test = reports.Worst(t.Status), t.ID
		}
		return p
	}
	for _, r := range records {
		for _, t := range r.Tests {
			ran := map[string]bool{}
			for _, c := range t.Cases {
				for _, w := range c.Workloads {
					ran[w.Name] = true
					p := see(reports.Program{Name: w.Name, Language: w.Language, Library: w.Library, OS: w.OS}, t)
					p.Version = cmp.Or(w.Version, p.Version)
					p.Token = max(p.Token, w.TokenSeconds)
					// The cell is narrow, and the whole name stands with the test.
					if name := strings.TrimSuffix(w.Credential, "Credential"); name != "" && !slices.Contains(p.Credentials, name) {
						p.Credentials = append(p.Credentials, name)
					}
				}
			}
			for _, one := range t.Programs {
				if ran[one.Name] {
					continue
				}
				p := see(one, t)
				if t.Skip != nil {
					p.Reason = t.Skip.Reason
				}
			}
		}
	}

	var all []osMatrix
	for _, key := range slices.SortedFunc(maps.Keys(programs), func(a, b reports.Program) int {
		return cmp.Or(cmp.Compare(a.OS, b.OS), cmp.Compare(a.Language, b.Language), cmp.Compare(a.Library, b.Library), cmp.Compare(a.Name, b.Name))
	}) {
		if len(all) == 0 || all[len(all)-1].OS != key.OS {
			all = append(all, osMatrix{OS: key.OS, Libraries: librariesOn(programs, key.OS)})
		}
		m := &all[len(all)-1]
		if len(m.Rows) == 0 || m.Rows[len(m.Rows)-1].Language != key.Language {
			m.Rows = append(m.Rows, matrixRow{key.Language, make([][]*program, len(m.Libraries))})
		}
		p := programs[key]
		p.Tests = len(p.tests)
		if p.Status != reports.Skip {
			p.Reason = ""
		}
		cell := slices.Index(m.Libraries, key.Library)
		row := &m.Rows[len(m.Rows)-1]
		row.Cells[cell] = append(row.Cells[cell], p)
	}
	return all
}

func librariesOn(programs map[reports.Program]*program, os string) []string {
	var all []string
	for key := range programs {
		if key.OS == os {
			all = append(all, key.Library)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
