package selftest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites"
)

// result is one of a test of two rules, with a case of each.
func result(id string, a, b reports.Status) reports.Test {
	one := func(requirement string, status reports.Status) reports.Case {
		c := reports.Case{Name: "case of " + requirement, Requirements: []string{requirement}, Status: status, Checks: 1}
		if status != reports.Pass {
			c.Findings = []reports.Finding{{Status: status, Message: "finding of " + requirement}}
		}
		return c
	}
	return reports.Test{ID: id, Requirements: []string{"AA-01", "BB-01"}, Status: reports.Worst(a, b), Cases: []reports.Case{one("AA-01", a), one("BB-01", b)}}
}

const (
	pass   = reports.Pass
	fail   = reports.Fail
	broken = reports.Error
)

func TestWhatBecomesOfAMutant(t *testing.T) {
	type run struct {
		result reports.Test
		own    bool
	}
	for name, c := range map[string]struct {
		runs []run
		want Outcome
		by   string
	}{
		"a test of its rule fails":                                {[]run{{result("own", fail, pass), true}}, Killed, "own"},
		"one of two tests of its rule fails":                      {[]run{{result("own", pass, pass), true}, {result("second", fail, pass), true}}, Killed, "second"},
		"nothing fails":                                           {[]run{{result("own", pass, pass), true}, {result("other", pass, pass), false}}, Survived, ""},
		"a test of another rule fails":                            {[]run{{result("own", pass, pass), true}, {result("other", pass, fail), false}}, WronglyKilled, ""},
		"a test of its rule fails, but in a case of another rule": {[]run{{result("own", pass, fail), true}}, WronglyKilled, ""},
		"a test of its rule breaks":                               {[]run{{result("own", broken, pass), true}, {result("other", pass, fail), false}}, Undecided, ""},
		"a test of its rule breaks in one case, fails in another": {[]run{{result("own", fail, broken), true}}, Undecided, ""},
		"a test of its rule breaks, another one fails":            {[]run{{result("own", broken, pass), true}, {result("second", fail, pass), true}}, Killed, "second"},
		"a test of another rule breaks":                           {[]run{{result("own", pass, pass), true}, {result("other", broken, pass), false}}, Survived, ""},
		"there is no test of its rule":                            {nil, Survived, ""},
		"a test of its rule warns only":                           {[]run{{result("own", reports.Warn, pass), true}}, Survived, ""},
		"a test of another rule fails beside one of its rule":     {[]run{{result("own", fail, fail), true}, {result("other", pass, fail), false}}, Killed, "own"},
		"a test of another rule cannot hold it against its rule":  {[]run{{result("own", pass, pass), true}, {result("other", fail, pass), false}}, WronglyKilled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			row := Row{Requirement: "AA-01"}
			for _, r := range c.runs {
				row.add(r.result, r.own)
			}
			if got := row.outcome(); got != c.want || names(row.KilledBy) != c.by {
				t.Errorf("%s by %q, want %s by %q", got, names(row.KilledBy), c.want, c.by)
			}
		})
	}
}

func TestAMutantIsKilledInItsOwnWords(t *testing.T) {
	for name, c := range map[string]struct {
		finding string
		results []reports.Test
		want    Outcome
	}{
		"a test says what is wrong":                       {"finding of AA-01", []reports.Test{result("own", fail, pass)}, Killed},
		"a test says where it is wrong":                   {"case of AA-01: finding", []reports.Test{result("own", fail, pass)}, Killed},
		"one of two tests says what is wrong":             {"in second", []reports.Test{result("own", fail, pass), saying("second", "in second")}, Killed},
		"a test fails for another reason":                 {"another", []reports.Test{result("own", fail, pass)}, WronglyKilled},
		"what is wrong is held against another rule only": {"finding of BB-01", []reports.Test{result("own", fail, fail)}, WronglyKilled},
		"what is wrong is said in an error":               {"finding of AA-01", []reports.Test{result("own", broken, pass), saying("second", "x")}, Undecided},
	} {
		t.Run(name, func(t *testing.T) {
			row := Row{Requirement: "AA-01", Finding: c.finding}
			for _, r := range c.results {
				row.add(r, true)
			}
			if got := row.outcome(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// saying is the result of a test that fails in these words.
func saying(id, finding string) reports.Test {
	r := result(id, fail, pass)
	r.Cases[0].Findings[0].Message = finding
	return r
}

// matrixOf are trials of as many mutants as there are, so that the matrix is complete.
func matrixOf(change func(trials []*trial)) *Matrix {
	options := Options{Tests: []suites.Test{{ID: "own", Requirements: []string{"AA-01"}}}, Mutants: mutants.All(), Complete: true}
	trials := []*trial{{}}
	for _, m := range options.Mutants {
		t := &trial{mutant: &m, Row: Row{ID: m.ID, Fault: m.Fault, Requirement: "AA-01"}}
		t.add(result("own", fail, pass), true)
		t.Outcome = t.outcome()
		trials = append(trials, t)
	}
	change(trials)
	return newMatrix(options, trials)
}

func TestTheExitCodeAndTheTextTellWhatIsWrong(t *testing.T) {
	rerun := func(i int, results ...reports.Test) func([]*trial) {
		return func(trials []*trial) {
			r := &trials[i].Row
			r.KilledBy, r.MissedBy = nil, nil
			for _, one := range results {
				r.add(one, one.ID == "own")
			}
			r.Outcome = r.outcome()
		}
	}
	for name, c := range map[string]struct {
		change func([]*trial)
		want   int
		text   []string
	}{
		"all killed":     {func([]*trial) {}, reports.ExitPass, []string{"0 survived, 0 undecided; 1 tests, 0 unproved, 0 false alarms"}},
		"a survivor":     {rerun(1, result("own", pass, pass)), reports.ExitFailed, []string{"SURVIVED", "Survived: no test fails", "1 survived"}},
		"wrongly killed": {rerun(1, result("own", pass, pass), result("other", fail, pass)), reports.ExitFailed, []string{"WRONGLY KILLED", "other: case of AA-01: finding of AA-01"}},
		"undecided":      {rerun(1, result("own", broken, pass)), reports.ExitEnvironment, []string{"UNDECIDED", "own: case of AA-01: finding of AA-01"}},
		"a false alarm": {func(trials []*trial) { trials[0].alarms = []Alarm{{"reference", "own", fail, "finding"}} }, reports.ExitFailed,
			[]string{"own on the reference: fail: finding", "1 false alarms"}},
		"a test that broke on the reference": {func(trials []*trial) { trials[0].alarms = []Alarm{{"reference", "own", broken, "finding"}} }, reports.ExitEnvironment,
			[]string{"own on the reference: error: finding"}},
		"an unproved test": {func(trials []*trial) {
			for i := range trials[1:] {
				rerun(i+1, result("second", fail, pass))(trials)
				trials[i+1].Outcome, trials[i+1].KilledBy = Killed, []Kill{{Test: "second"}}
			}
		}, reports.ExitFailed, []string{"own (AA-01)", "1 unproved"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := matrixOf(c.change)
			if got := m.ExitCode(); got != c.want {
				t.Errorf("exit code %d, want %d", got, c.want)
			}
			var text bytes.Buffer
			if err := m.Print(&text); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.text {
				if !strings.Contains(text.String(), want) {
					t.Errorf("the text does not say %q:\n%s", want, text.String()[max(0, text.Len()-900):])
				}
			}
			path := filepath.Join(t.TempDir(), "matrix.json")
			if err := m.Save(path); err != nil {
				t.Fatal(err)
			}
			if saved, err := os.ReadFile(path); err != nil || !bytes.Contains(saved, []byte(`"kind": "KillMatrix"`)) {
				t.Errorf("saved: %v", err)
			}
		})
	}
}

func TestTestsAreNotCalledUnprovedBySomeMutants(t *testing.T) {
	options := Options{Tests: []suites.Test{{ID: "own"}}, Mutants: mutants.All()[:1]}
	if m := newMatrix(options, nil); m.Complete || len(m.Unproved()) > 0 {
		t.Errorf("of one mutant: complete %v, unproved %v", m.Complete, m.Unproved())
	}
}
