package attestation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/internal/golden"
)

const digest = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// testKey is the same in every run: the golden file has its signature.
func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// record has tests of those statuses, named after them; "retry" is a flake that passed when it was tried again, "flake" one of the subject's.
func record(statuses ...string) *reports.Record {
	r := &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind, Run: reports.Run{ID: "r1", Version: "v1"},
		Subject: reports.Subject{Kind: "helm", Version: "v1.5.1", Images: []reports.Image{{Name: "example.org/webhook:v1.5.1", Digest: digest}}},
	}
	one := func(status reports.Status) reports.Case {
		c := reports.Case{Name: "x", Status: status, Checks: 1}
		if status != reports.Pass {
			c.Findings = []reports.Finding{{Status: status, Message: "m"}}
		}
		return c
	}
	for _, s := range statuses {
		t := reports.Test{ID: s, Status: reports.Status(s), Cases: []reports.Case{}}
		switch s {
		case "skip":
			t.Cases, t.Skip = nil, &reports.Skipped{Reason: "no-nodes"}
		case "retry", "flake":
			first := map[string]reports.Status{"retry": reports.Error, "flake": reports.Fail}[s]
			t.Status, t.Cases = reports.Flake, []reports.Case{one(reports.Flake)}
			t.Attempts = []reports.Attempt{{Status: first, Cases: []reports.Case{one(first)}}, {Status: reports.Pass, Cases: []reports.Case{one(reports.Pass)}}}
		default:
			t.Cases = []reports.Case{one(t.Status)}
		}
		r.Tests = append(r.Tests, t)
	}
	r.Count()
	r.Verdict = r.Judge(false, nil)
	return r
}

func encode(t *testing.T, r *reports.Record) []byte {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sign attests the record with the first key.
func sign(t *testing.T, r *reports.Record) []byte {
	t.Helper()
	envelope, err := Sign(context.Background(), r, encode(t, r), testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func public(n byte) ed25519.PublicKey { return testKey(n).Public().(ed25519.PublicKey) }

func TestAnAttestationIsVerifiedAndIsAboutItsRecord(t *testing.T) {
	r := record("pass", "warn", "skip")
	a, err := Verify(context.Background(), sign(t, r), public(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.About(r, encode(t, r)); err != nil {
		t.Error(err)
	}
	if a.Result() != "WARNED" || !slices.Equal(a.Subjects(), []string{"example.org/webhook:v1.5.1@" + digest}) {
		t.Errorf("result %s of %v", a.Result(), a.Subjects())
	}
}

func TestTheEnvelopeIsStable(t *testing.T) {
	golden.Compare(t, "attestation.golden.json", sign(t, record("pass", "warn", "retry", "flake", "fail", "error", "skip")))
}

func payload(t *testing.T, envelope []byte) []byte {
	t.Helper()
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Fatal(err)
	}
	data, err := e.DecodeB64Payload()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The fields are read by their names in the specification, by nothing of ours.
func TestThePredicateIsAsItsSpecificationHasIt(t *testing.T) {
	var statement struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Name   string
			Digest map[string]string
		}
		Predicate struct {
			Result        string
			Configuration []struct {
				Name   string
				Digest map[string]string
			}
			PassedTests, WarnedTests, FailedTests []string
		}
	}
	r := record("pass", "warn", "retry", "flake", "fail", "error", "skip")
	decoder := json.NewDecoder(bytes.NewReader(payload(t, sign(t, r))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&statement); err != nil {
		t.Fatal(err)
	}
	p := statement.Predicate
	if statement.Type != "https://in-toto.io/Statement/v1" || statement.PredicateType != "https://in-toto.io/attestation/test-result/v0.1" {
		t.Errorf("types %q and %q", statement.Type, statement.PredicateType)
	}
	if len(statement.Subject) != 1 || "sha256:"+statement.Subject[0].Digest["sha256"] != digest {
		t.Errorf("subject %+v", statement.Subject)
	}
	if !slices.Equal(p.PassedTests, []string{"pass"}) || !slices.Equal(p.WarnedTests, []string{"warn", "retry"}) || !slices.Equal(p.FailedTests, []string{"flake", "fail", "error"}) {
		t.Errorf("passed %v, warned %v, failed %v", p.PassedTests, p.WarnedTests, p.FailedTests)
	}
	if p.Result != "FAILED" || len(p.Configuration) != 1 || p.Configuration[0].Name != "record.json" || len(p.Configuration[0].Digest["sha256"]) != 64 {
		t.Errorf("result %s, configuration %+v", p.Result, p.Configuration)
	}
}

func TestTheResultIsNeverBetterThanTheVerdict(t *testing.T) {
	leaking := record("pass")
	leaking.Verdict = leaking.Judge(false, []string{"x"})
	brokenPhase := record("pass")
	brokenPhase.Phases = []reports.Phase{{Name: "clean-up", Status: reports.Error}}
	brokenPhase.Verdict = brokenPhase.Judge(false, nil)
	warned := record("pass")
	warned.Phases = []reports.Phase{{Name: "waivers", Status: reports.Warn}}
	warned.Verdict = warned.Judge(false, nil)
	for name, c := range map[string]struct {
		record *reports.Record
		want   string
	}{
		"all pass": {record("pass", "skip"), "PASSED"}, "a warning": {record("pass", "warn"), "WARNED"}, "a retry": {record("pass", "retry"), "WARNED"},
		"a failure": {record("pass", "fail"), "FAILED"}, "a flake of the subject": {record("pass", "flake"), "FAILED"},
		"an error": {record("pass", "error"), "FAILED"}, "nothing executed": {record("skip"), "FAILED"},
		"a leak": {leaking, "FAILED"}, "a broken phase": {brokenPhase, "FAILED"}, "a phase that warns": {warned, "WARNED"},
	} {
		if got := resultOf(c.record).GetResult(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestWhatCannotBeAttestedIsNot(t *testing.T) {
	altered := record("pass", "fail")
	altered.Tests[1].Status = reports.Pass
	shard := record("pass")
	shard.Run.Shard = &reports.Shard{Index: 1, Total: 2}
	anonymous := record("pass")
	anonymous.Subject.Images = nil
	undigested := record("pass")
	undigested.Subject.Images[0].Digest = ""
	short := record("pass")
	short.Subject.Images[0].Digest = "sha256:0123"
	for name, c := range map[string]struct {
		record *reports.Record
		want   string
	}{
		"a record that was altered": {altered, "contradicts itself"}, "a shard": {shard, "merge the shards first"}, "no image": {anonymous, "names no image"},
		"an image without a digest": {undigested, "no digest that can be attested"}, "half a digest": {short, "no digest that can be attested"},
	} {
		if _, err := Sign(context.Background(), c.record, encode(t, c.record), testKey(1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestVerifyRefusesEveryAlteredEnvelope(t *testing.T) {
	alter := func(change func(*dsse.Envelope)) []byte {
		var e dsse.Envelope
		if err := json.Unmarshal(sign(t, record("pass", "fail")), &e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	resigned := func(payloadType, statement string) []byte {
		signer, err := dsse.NewEnvelopeSigner(fileKey{private: testKey(1), public: public(1)})
		if err != nil {
			t.Fatal(err)
		}
		e, err := signer.SignPayload(context.Background(), payloadType, []byte(statement))
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good := string(payload(t, sign(t, record("pass"))))
	for name, c := range map[string]struct {
		envelope []byte
		want     string
	}{
		"another key":            {alter(func(*dsse.Envelope) {}), "not signed by this key"}, // verified with the second key below
		"no signature":           {alter(func(e *dsse.Envelope) { e.Signatures = nil }), "no signature"},
		"a signature of nothing": {alter(func(e *dsse.Envelope) { e.Signatures[0].Sig = "" }), "not signed by this key"},
		"another payload": {alter(func(e *dsse.Envelope) {
			data, _ := e.DecodeB64Payload()
			e.Payload = base64.StdEncoding.EncodeToString(bytes.Replace(data, []byte("FAILED"), []byte("PASSED"), 1))
		}), "not signed by this key"},
		"another payload type":        {alter(func(e *dsse.Envelope) { e.PayloadType = "text/plain" }), "not signed by this key"},
		"another payload type signed": {resigned("text/plain", good), "payload type"},
		"another predicate":           {resigned(PayloadType, strings.Replace(good, "test-result/v0.1", "provenance/v1", 1)), "predicate type"},
		"another result":              {resigned(PayloadType, strings.Replace(good, "PASSED", "GREAT", 1)), `result "GREAT"`},
		"no subject":                  {resigned(PayloadType, `{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+PredicateType+`","predicate":{}}`), "subject required"},
		"no statement":                {resigned(PayloadType, `[]`), "read the statement"},
		"no envelope":                 {[]byte("null{"), "read the envelope"},
	} {
		t.Run(name, func(t *testing.T) {
			key := public(1)
			if name == "another key" {
				key = public(2)
			}
			if _, err := Verify(context.Background(), c.envelope, key); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnAttestationIsAboutNoOtherRecord(t *testing.T) {
	r := record("pass", "fail")
	a, err := Verify(context.Background(), sign(t, r), public(1))
	if err != nil {
		t.Fatal(err)
	}
	better := record("pass")
	another := record("pass", "fail")
	another.Subject.Images[0].Digest = strings.Replace(digest, "00", "11", 1)
	for name, c := range map[string]struct {
		record *reports.Record
		data   []byte
		want   string
	}{
		"with other results":           {better, encode(t, better), "is not the one that was attested"},
		"with another image":           {another, encode(t, another), "is not the one that was attested"},
		"with a space more":            {r, append(encode(t, r), ' '), "is not the one that was attested"},
		"whose bytes are another's":    {better, encode(t, r), "does not say of run r1 what its record says"},
		"whose bytes are, of an image": {another, encode(t, r), "does not say of run r1 what its record says"},
	} {
		if err := a.About(c.record, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestKeysAreReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, block string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(testKey(1))
	private := file("private.pem", "PRIVATE KEY", der, err)
	pub, err := x509.MarshalPKIXPublicKey(public(1))
	publicFile := file("public.pem", "PUBLIC KEY", pub, err)
	if got, err := ReadPrivateKey(private); err != nil || !got.Equal(testKey(1)) {
		t.Errorf("another private key, or error %v", err)
	}
	if got, err := ReadPublicKey(publicFile); err != nil || !got.Equal(public(1)) {
		t.Errorf("another public key, or error %v", err)
	}

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(curve)
	ecdsaFile := file("ecdsa.pem", "PRIVATE KEY", other, err)
	garbage := file("garbage.pem", "PRIVATE KEY", []byte("secret words"), nil)
	for name, c := range map[string]struct{ path, want string }{
		"a public key":       {publicFile, `no PEM block "PRIVATE KEY"`},
		"a key of a curve":   {ecdsaFile, "want ed25519"},
		"what is no key":     {garbage, "it is no PRIVATE KEY"},
		"what is not there":  {filepath.Join(dir, "absent"), "absent"},
		"a file without PEM": {os.Args[0], "no PEM block"},
	} {
		if _, err := ReadPrivateKey(c.path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret words") {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	r := record("pass")
	data, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	envelope, err := Sign(context.Background(), r, data, testKey(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(envelope)
	f.Add([]byte(`{"signatures":[{"sig":""}]}`))
	f.Fuzz(func(t *testing.T, altered []byte) {
		a, err := Verify(context.Background(), altered, public(1))
		if err != nil {
			return
		}
		// Whatever is accepted says what was signed.
		if err := a.About(r, data); err != nil {
			t.Errorf("an envelope is accepted that says something else: %v\n%s", err, altered)
		}
	})
}
