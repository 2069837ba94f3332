package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/compare"
	"github.com/wi-e2e/wi-e2e/reports/html"
	"github.com/wi-e2e/wi-e2e/reports/redact"
)

const (
	secret = "canary-00112233445566778899aabbccddeeff0011223344556677"
	jwt    = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YSJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	body   = "MC4CAQAwBQYDK2VwBCIEIGwCANARYp9h3hQkT0e1n2X4cJ8uVb3D"
	key    = "-----BEGIN PRIVATE KEY-----\n" + body + "\n-----END PRIVATE KEY-----"
)

// canaries are planted, each with a part of it that must be nowhere.
var canaries = map[string]string{
	jwt: "c2lnbmF0dXJl", key: body[:20], secret: secret[:20],
	base64.StdEncoding.EncodeToString([]byte(secret)): base64.StdEncoding.EncodeToString([]byte(secret))[:20],
	hex.EncodeToString([]byte(secret)):                hex.EncodeToString([]byte(secret))[:20],
}

// planted is a text with all of them.
func planted() string {
	return "text " + strings.Join(slices.Sorted(maps.Keys(canaries)), " ") + " end"
}

// leaked are the canaries of which something is there.
func leaked(data []byte) []string {
	var all []string
	for canary, part := range canaries {
		if bytes.Contains(data, []byte(part)) {
			all = append(all, canary[:8])
		}
	}
	slices.Sort(all)
	return all
}

// plant puts the canaries into every text of a value, but for those that have a fixed set of values. A field that is added is planted into, too.
func plant(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(planted())
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		plant(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			plant(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		plant(v.Index(0))
	}
}

// record has canaries in every text, and a failed test, a broken one and a broken phase, of which reports tell most.
func record() *reports.Record {
	r := &reports.Record{}
	plant(reflect.ValueOf(r).Elem())
	r.APIVersion, r.Kind = reports.APIVersion, reports.Kind
	r.Run.Shard = nil
	r.Phases[0].Status = reports.Error
	test := &r.Tests[0]
	test.Attempts, test.Skip = nil, nil
	test.Requirements, r.Requirements[0].Tests = []string{r.Requirements[0].ID}, []string{test.ID}
	test.Cases[0].Requirements, test.Cases[0].Checks = nil, 1
	for _, status := range []*reports.Status{&test.Status, &test.Findings[0].Status, &test.Cases[0].Status, &test.Cases[0].Findings[0].Status, &r.Requirements[0].Status} {
		*status = reports.Fail
	}
	test.Findings[0].Waiver, test.Cases[0].Findings[0].Waiver = "", ""
	r.Requirements[0].Cases = 1
	r.Count()
	r.Verdict = r.Judge(false, nil)
	return r
}

// sinks are all that becomes of records, by the function that makes it.
var sinks = map[string]func(r *reports.Record) ([]byte, error){
	"reports.Badge":       func(r *reports.Record) ([]byte, error) { return reports.Badge(r), nil },
	"reports.Conformance": reports.Conformance,
	"reports.CTRF":        reports.CTRF,
	"reports.JUnit":       reports.JUnit,
	"reports.Markdown":    func(r *reports.Record) ([]byte, error) { return reports.Markdown(r), nil },
	"reports.WriteJUnit": func(r *reports.Record) ([]byte, error) {
		return written(func(path string) error { return reports.WriteJUnit(path, r) })
	},
	"reports.WriteSummary": func(r *reports.Record) ([]byte, error) {
		var b bytes.Buffer
		err := reports.WriteSummary(&b, r, reports.SummaryOptions{})
		return b.Bytes(), err
	},
	"html.Render": func(r *reports.Record) ([]byte, error) {
		var b bytes.Buffer
		err := html.Render(&b, r)
		return b.Bytes(), err
	},
	"html.Write": func(r *reports.Record) ([]byte, error) {
		return written(func(path string) error { return html.Write(path, r, r) })
	},
	"compare.Compare": func(r *reports.Record) ([]byte, error) {
		var b bytes.Buffer
		passed := *r
		passed.Requirements = slices.Clone(r.Requirements)
		passed.Requirements[0].Status = reports.Pass
		err := compare.Compare(&passed, r).Write(&b)
		return b.Bytes(), err
	},
	"compare.HistoryOf": func(r *reports.Record) ([]byte, error) {
		var b bytes.Buffer
		err := compare.HistoryOf([]*reports.Record{r, r}).Write(&b)
		return b.Bytes(), err
	},
	"record.json": func(r *reports.Record) ([]byte, error) { return written(r.Save) },
}

// written is what is written to a file.
func written(write func(path string) error) ([]byte, error) {
	dir, err := os.MkdirTemp("", "wi-e2e-sinks-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "report")
	if err := write(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// silent are those that tell nothing that comes from outside.
var silent = []string{"reports.Badge"}

// others give a record, which goes to one of the sinks, or sign one that was read, which is in base64 then.
var others = []string{"merge.Shards", "attestation.Sign"}

func TestNoCanaryOfARecordIsInAnySink(t *testing.T) {
	raw := record()
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	read, err := reports.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, sink := range sinks {
		t.Run(name, func(t *testing.T) {
			control, err := sink(raw)
			if err != nil {
				t.Fatal(err)
			}
			if found := leaked(control); len(found) == 0 && !slices.Contains(silent, name) {
				t.Fatalf("nothing of the canaries comes through it, so that nothing is tested")
			}
			for source, r := range map[string]*reports.Record{"read": read[0], "saved by a run": raw.Withhold(nil)} {
				got, err := sink(r)
				if err != nil {
					t.Fatal(err)
				}
				if found := leaked(got); len(found) > 0 {
					t.Errorf("of a record that was %s it holds %q", source, found)
				}
				if name == "record.json" && !json.Valid(got) {
					t.Errorf("of a record that was %s it is no JSON", source)
				}
			}
		})
	}
	if raw.Tests[0].Title != planted() {
		t.Error("the record that was given is changed")
	}
}

func TestARecordWithoutSecretsIsJudgedTheSame(t *testing.T) {
	raw := record()
	withheld := raw.Withhold(nil)
	before, after := raw.Judge(false, nil), withheld.Judge(false, nil)
	if before.Status != after.Status || before.ExitCode != after.ExitCode {
		t.Errorf("the verdict was %+v, and is %+v", before, after)
	}
	if was, is := raw.Problems(), withheld.Problems(); len(was) != len(is) {
		t.Errorf("it contradicts itself in %q, and did in %q", is, was)
	}
}

// TestEverySinkIsKnown reads the sources of the packages that make something of records: whoever adds one has to add it here.
func TestEverySinkIsKnown(t *testing.T) {
	known := slices.Concat(slices.Collect(maps.Keys(sinks)), others)
	seen := 0
	for _, dir := range []string{"..", "../html", "../compare", "../merge", "../attestation", "../gate"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, declaration := range parsed.Decls {
				f, ok := declaration.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !f.Name.IsExported() || !takesRecord(f) {
					continue
				}
				seen++
				if name := parsed.Name.Name + "." + f.Name.Name; !slices.Contains(known, name) {
					t.Errorf("%s takes a record, and what it makes of one is not looked at for canaries", name)
				}
			}
		}
	}
	if seen < len(sinks)-2 {
		t.Errorf("only %d functions take a record: the reader of sources is broken", seen)
	}
}

func takesRecord(f *ast.FuncDecl) bool {
	for _, parameter := range f.Type.Params.List {
		found := false
		ast.Inspect(parameter.Type, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "Record" {
				found = true
			}
			return true
		})
		if found {
			return true
		}
	}
	return false
}

func TestNoCanaryIsOnTheConsole(t *testing.T) {
	events := map[string]func(o reports.Observer){
		"a fact of the run": func(o reports.Observer) { o.RunStarted(planted()) },
		"a progress note":   func(o reports.Observer) { o.PhaseStarted("p"); o.PhaseNote(planted()) },
		"a phase's message": func(o reports.Observer) {
			o.PhaseFinished(reports.Phase{Name: "p", Status: reports.Error, Message: planted()})
		},
		"a finding": func(o reports.Observer) { o.TestFinished(record().Tests[0]) },
	}
	for name, event := range events {
		t.Run(name, func(t *testing.T) {
			secrets := &redact.Redactor{}
			secrets.Add("the-literal-0123")
			canaries["the-literal-0123"] = "the-literal"
			defer delete(canaries, "the-literal-0123")
			var out bytes.Buffer
			c := reports.NewConsole(&out, reports.ConsoleOptions{Terminal: true, Secrets: secrets})
			event(c)
			if name == "a progress note" { // it is on show as long as the phase goes on
				c.RunStarted("redraw")
			}
			c.Close()
			if found := leaked(out.Bytes()); len(found) > 0 {
				t.Errorf("it shows %q", found)
			}
			if !strings.Contains(out.String(), "(withheld: ") {
				t.Errorf("nothing was withheld, so that nothing was shown: %q", out.String())
			}
		})
	}
}
