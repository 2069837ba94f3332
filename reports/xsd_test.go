package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// xsd is as much of XML Schema as junit-10.xsd uses: it reads that file, and knows no element of its own. A construct that it does
// not know makes it fail, rather than pass documents.
type xsd struct {
	elements map[string]xsdElement
	types    map[string]xsdType
	patterns map[string]*regexp.Regexp
}

type xsdElement struct {
	Name    string   `xml:"name,attr"`
	Ref     string   `xml:"ref,attr"`
	Type    string   `xml:"type,attr"`
	Min     string   `xml:"minOccurs,attr"`
	Max     string   `xml:"maxOccurs,attr"`
	Complex *xsdType `xml:"complexType"`
}

type xsdType struct {
	Name       string         `xml:"name,attr"`
	Mixed      bool           `xml:"mixed,attr"`
	Sequence   *xsdGroup      `xml:"sequence"`
	Choice     *xsdGroup      `xml:"choice"`
	Attributes []xsdAttribute `xml:"attribute"`
}

type xsdGroup struct {
	Max      string       `xml:"maxOccurs,attr"`
	Elements []xsdElement `xml:"element"`
	Choice   *xsdGroup    `xml:"choice"`
}

type xsdAttribute struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
	Use  string `xml:"use,attr"`
}

// jenkins is the schema that Jenkins' xUnit plugin holds JUnit documents to.
var jenkins = func() func(*testing.T) *xsd {
	read := sync.OnceValues(func() (*xsd, error) { return readXSD(filepath.Join("testdata", "schemas", "junit-10.xsd")) })
	return func(t *testing.T) *xsd {
		t.Helper()
		schema, err := read()
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}
}()

func readXSD(path string) (*xsd, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Elements []xsdElement `xml:"element"`
		Complex  []xsdType    `xml:"complexType"`
		Simple   []struct {
			Name    string `xml:"name,attr"`
			Pattern struct {
				Value string `xml:"value,attr"`
			} `xml:"restriction>pattern"`
		} `xml:"simpleType"`
	}
	if err := xml.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	s := &xsd{elements: map[string]xsdElement{}, types: map[string]xsdType{}, patterns: map[string]*regexp.Regexp{}}
	for _, e := range file.Elements {
		s.elements[e.Name] = e
	}
	for _, t := range file.Complex {
		s.types[t.Name] = t
	}
	for _, t := range file.Simple {
		if s.patterns[t.Name], err = regexp.Compile("^(?:" + t.Pattern.Value + ")$"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

type xmlNode struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []xmlNode  `xml:",any"`
}

func (s *xsd) problems(t *testing.T, document []byte) []string {
	t.Helper()
	var root xmlNode
	if err := xml.NewDecoder(bytes.NewReader(document)).Decode(&root); err != nil {
		t.Fatal(err)
	}
	e, ok := s.elements[root.XMLName.Local]
	if !ok {
		return []string{"there is no element " + root.XMLName.Local}
	}
	return s.check(root, e)
}

func (s *xsd) check(n xmlNode, e xsdElement) []string {
	var problems []string
	complain := func(format string, args ...any) {
		problems = append(problems, n.XMLName.Local+": "+fmt.Sprintf(format, args...))
	}
	if e.Type == "xs:string" {
		if len(n.Children)+len(n.Attrs) > 0 {
			complain("is text alone")
		}
		return problems
	}
	kind := s.types[e.Type]
	if e.Complex != nil {
		kind = *e.Complex
	}
	for _, have := range n.Attrs {
		i := slices.IndexFunc(kind.Attributes, func(a xsdAttribute) bool { return a.Name == have.Name.Local })
		if i < 0 {
			complain("has no attribute %s", have.Name.Local)
		} else if of := kind.Attributes[i].Type; of != "xs:string" && !s.patterns[of].MatchString(have.Value) {
			complain("attribute %s is %q, which is no %s", have.Name.Local, have.Value, of)
		}
	}
	for _, a := range kind.Attributes {
		if a.Use == "required" && !slices.ContainsFunc(n.Attrs, func(have xml.Attr) bool { return have.Name.Local == a.Name }) {
			complain("lacks attribute %s", a.Name)
		}
	}
	if !kind.Mixed && strings.TrimSpace(n.Text) != "" {
		complain("has text")
	}
	members := kind.members()
	last := 0
	for _, child := range n.Children {
		at := slices.IndexFunc(members, func(m xsdElement) bool { return m.Name+m.Ref == child.XMLName.Local })
		if at < 0 {
			complain("has no element %s", child.XMLName.Local)
			continue
		}
		m := members[at]
		if kind.Sequence != nil && kind.Sequence.Choice == nil {
			if at < last || at == last && m.Max != "unbounded" && countOf(n, child.XMLName.Local) > 1 {
				complain("element %s is out of place", child.XMLName.Local)
			}
			last = at
		}
		if m.Ref != "" {
			m = s.elements[m.Ref]
		}
		problems = append(problems, s.check(child, m)...)
	}
	return problems
}

// members are the elements that a type may have. Choices of the schema are all unbounded, so that their order is free.
func (t xsdType) members() []xsdElement {
	group := t.Choice
	if t.Sequence != nil {
		if group = t.Sequence; group.Choice != nil {
			group = group.Choice
		}
	}
	if group == nil {
		return nil
	}
	return group.Elements
}

func countOf(n xmlNode, name string) int {
	total := 0
	for _, c := range n.Children {
		if c.XMLName.Local == name {
			total++
		}
	}
	return total
}

func TestTheSchemaOfJenkinsIsReadWithTeeth(t *testing.T) {
	const suite = `<testsuites><testsuite name="s" tests="1" failures="0" errors="0"%s>%s</testsuite></testsuites>`
	for name, tc := range map[string]struct{ document, want string }{
		"an unknown root":                {`<suites/>`, "no element suites"},
		"an unknown attribute":           {`<testsuites skipped="0"/>`, "no attribute skipped"},
		"a time that is none":            {fmt.Sprintf(suite, ` time="1.2345"`, ""), "no SUREFIRE_TIME"},
		"a suite without totals":         {`<testsuites><testsuite name="s"/></testsuites>`, "lacks attribute tests"},
		"text where there is none":       {fmt.Sprintf(suite, "", "hello"), "has text"},
		"properties of a testcase":       {fmt.Sprintf(suite, "", `<testcase name="c"><properties/></testcase>`), "no element properties"},
		"a rerun without a type":         {fmt.Sprintf(suite, "", `<testcase name="c"><rerunError/></testcase>`), "lacks attribute type"},
		"two stack traces":               {fmt.Sprintf(suite, "", `<testcase name="c"><rerunError type="t"><stackTrace/><stackTrace/></rerunError></testcase>`), "out of place"},
		"a stack trace behind output":    {fmt.Sprintf(suite, "", `<testcase name="c"><rerunError type="t"><system-out/><stackTrace/></rerunError></testcase>`), "out of place"},
		"an element in text":             {fmt.Sprintf(suite, "", `<testcase name="c"><system-out><b/></system-out></testcase>`), "text alone"},
		"what is right is not objected":  {fmt.Sprintf(suite, ` time="0.1"`, `<properties><property name="n" value="v"/></properties><testcase name="c"><skipped message="m"/></testcase>`), ""},
		"the order of a choice is free":  {fmt.Sprintf(suite, "", `<testcase name="c"><system-out/><failure>text</failure><flakyError type="t"/><flakyError type="t"/></testcase>`), ""},
		"a stack trace before an output": {fmt.Sprintf(suite, "", `<testcase name="c"><rerunError type="t"><stackTrace/><system-out/></rerunError></testcase>`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(jenkins(t).problems(t, []byte(tc.document)), "; ")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("problems %q, want %q", got, tc.want)
			}
		})
	}
}
