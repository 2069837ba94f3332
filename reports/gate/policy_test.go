package gate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPolicyIsReadStrictly(t *testing.T) {
	const head = "apiVersion: wi-e2e.dev/v1alpha1\nkind: GatePolicy\n"
	for name, c := range map[string]struct{ text, want string }{
		"the least":              {head + "levels: [MUST]\n", ""},
		"an unknown key":         {head + "levels: [MUST]\nlevel: [SHOULD]\n", `unknown field "level"`},
		"a key twice":            {head + "levels: [MUST]\nlevels: [MUST, SHOULD]\n", "already set"},
		"another kind":           {"apiVersion: wi-e2e.dev/v1alpha1\nkind: RunConfig\nlevels: [MUST]\n", `kind "RunConfig"`},
		"another version":        {"apiVersion: wi-e2e.dev/v9\nkind: GatePolicy\nlevels: [MUST]\n", "wi-e2e.dev/v9"},
		"nothing":                {"", `kind ""`},
		"no YAML":                {head + "levels: [", "yaml"},
		"no levels":              {head, "levels lack MUST"},
		"levels without MUST":    {head + "levels: [SHOULD]\n", "levels lack MUST"},
		"an unknown level":       {head + "levels: [MUST, MAY]\n", `unknown level "MAY"`},
		"a level twice":          {head + "levels: [MUST, MUST]\n", "is empty or there twice"},
		"coverage of no level":   {head + "levels: [MUST]\ncoverage: {MAY: 5}\n", `coverage: unknown level "MAY"`},
		"coverage over 100":      {head + "levels: [MUST]\ncoverage: {MUST: 101}\n", "101 per cent"},
		"coverage of nothing":    {head + "levels: [MUST]\ncoverage: {MUST: 0}\n", "0 per cent"},
		"coverage that is words": {head + "levels: [MUST]\ncoverage: {MUST: all}\n", "cannot unmarshal"},
		"a skip that is a text":  {head + "levels: [MUST]\nskips: [No nodes]\n", "no reason code"},
		"an empty language":      {head + "levels: [MUST]\nlanguages: ['']\n", "languages: entry"},
		"a system twice":         {head + "levels: [MUST]\nos: [linux, linux]\n", "os: entry"},
		"fewer than no waivers":  {head + "levels: [MUST]\nwaivers: -1\n", "-1 waivers"},
		"a negative age":         {head + "levels: [MUST]\nmaxAge: -1h\n", "negative"},
		"an age without a unit":  {head + "levels: [MUST]\nmaxAge: 72\n", "maxAge"},
		"every mistake at once":  {head + "levels: [MAY]\nwaivers: -1\n", "-1 waivers"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gate.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := LoadPolicy(path)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := LoadPolicy(filepath.Join(t.TempDir(), "absent.yaml")); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("error %v", err)
	}
}

func TestTheExampleOfAPolicyUsesEveryKey(t *testing.T) {
	p := policy(t)
	if len(p.Levels) == 0 || len(p.Skips) == 0 || p.Waivers == 0 || len(p.Coverage) == 0 || len(p.Languages) == 0 || len(p.OS) == 0 ||
		p.MaxAge.Duration != 72*time.Hour || !p.SubjectDigest || !p.Baseline || !p.Attestation {
		t.Errorf("%+v", p)
	}
}

func FuzzPolicy(f *testing.F) {
	example, err := os.ReadFile(filepath.Join("testdata", "gate.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("levels: [MUST]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePolicy(data)
		if err != nil {
			return
		}
		// What is accepted refuses a run of nothing, and is not softer than the least policy.
		if p.Kind != Kind || p.Waivers < 0 {
			t.Errorf("accepted: %+v", p)
		}
		if Decide(t.Context(), p, Evidence{}).Passed() {
			t.Errorf("a policy that lets nothing at all pass: %q", data)
		}
	})
}
