// Package attestation signs what a run came to, bound to the images that it tested: an in-toto statement with the predicate
// test-result, in a DSSE envelope, by an ed25519 key in a file.
//
// It keeps no keys and asks no service. What it signs is what the record says; whether that is good enough is the gate's business.
package attestation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	predicate "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wi-e2e/wi-e2e/reports"
)

// PredicateType and PayloadType say what is in an envelope.
const (
	PredicateType = "https://in-toto.io/attestation/test-result/v0.1"
	PayloadType   = "application/vnd.in-toto+json"
)

// recordName is what the predicate calls the record: the configuration of the run, and all else that is known about it.
const recordName = "record.json"

// The results that the predicate knows.
const (
	passed = "PASSED"
	warned = "WARNED"
	failed = "FAILED"
)

// Attestation is a statement whose signature was verified.
type Attestation struct {
	statement *intoto.Statement
	result    *predicate.TestResult
}

// Result is PASSED, WARNED or FAILED.
func (a *Attestation) Result() string { return a.result.GetResult() }

// Subjects are the images that it is about: name@sha256:….
func (a *Attestation) Subjects() []string {
	var all []string
	for _, s := range a.statement.GetSubject() {
		all = append(all, s.GetName()+"@sha256:"+s.GetDigest()["sha256"])
	}
	return all
}

// Sign attests a record that is saved as data. Its images have to have digests: without them the statement would be about nothing.
func Sign(ctx context.Context, r *reports.Record, data []byte, key ed25519.PrivateKey) ([]byte, error) {
	if problems := r.Problems(); len(problems) > 0 {
		return nil, fmt.Errorf("attest run %s: its record contradicts itself: %s", r.Run.ID, problems[0])
	}
	if s := r.Run.Shard; s != nil {
		return nil, fmt.Errorf("attest run %s: it is shard %d/%d, merge the shards first", r.Run.ID, s.Index, s.Total)
	}
	statement, err := statementOf(r, data)
	if err != nil {
		return nil, fmt.Errorf("attest run %s: %w", r.Run.ID, err)
	}
	payload, err := protojson.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("encode the statement on run %s: %w", r.Run.ID, err)
	}
	var stable bytes.Buffer // protojson's white space is not
	if err := json.Compact(&stable, payload); err != nil {
		return nil, fmt.Errorf("encode the statement on run %s: %w", r.Run.ID, err)
	}
	signer, err := dsse.NewEnvelopeSigner(fileKey{private: key, public: key.Public().(ed25519.PublicKey)})
	if err != nil {
		return nil, fmt.Errorf("sign the statement on run %s: %w", r.Run.ID, err)
	}
	envelope, err := signer.SignPayload(ctx, PayloadType, stable.Bytes())
	if err != nil {
		return nil, fmt.Errorf("sign the statement on run %s: %w", r.Run.ID, err)
	}
	encoded, err := json.Marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("encode the envelope of run %s: %w", r.Run.ID, err)
	}
	return append(encoded, '\n'), nil
}

// statementOf says of the record's images what the tests came to.
func statementOf(r *reports.Record, data []byte) (*intoto.Statement, error) {
	subjects, err := subjectsOf(r)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	result := resultOf(r)
	result.Configuration = []*intoto.ResourceDescriptor{{Name: recordName, Digest: map[string]string{"sha256": hex.EncodeToString(digest[:])}}}
	encoded, err := protojson.Marshal(result)
	if err != nil {
		return nil, err
	}
	fields := &structpb.Struct{}
	if err := protojson.Unmarshal(encoded, fields); err != nil {
		return nil, err
	}
	statement := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subjects, PredicateType: PredicateType, Predicate: fields}
	if err := statement.Validate(); err != nil {
		return nil, err
	}
	return statement, nil
}

func subjectsOf(r *reports.Record) ([]*intoto.ResourceDescriptor, error) {
	var subjects []*intoto.ResourceDescriptor
	for _, i := range r.Subject.Images {
		sum, ok := strings.CutPrefix(i.Digest, "sha256:")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("image %s has no digest that can be attested: %q", i.Name, i.Digest)
		}
		subjects = append(subjects, &intoto.ResourceDescriptor{Name: i.Name, Digest: map[string]string{"sha256": sum}})
	}
	if len(subjects) == 0 {
		return nil, errors.New("the record names no image of the subject")
	}
	return subjects, nil
}

// resultOf puts each executed test into one of the predicate's lists. A test that broke did not pass; a flake did, with a warning,
// unless the subject failed in one of its attempts.
func resultOf(r *reports.Record) *predicate.TestResult {
	result := &predicate.TestResult{Result: passed}
	for _, t := range r.Tests {
		switch status := reports.Worst(t.Status); {
		case status == reports.Skip:
		case status == reports.Pass:
			result.PassedTests = append(result.PassedTests, t.ID)
		case status == reports.Fail, status == reports.Error, t.SubjectFailed():
			result.FailedTests = append(result.FailedTests, t.ID)
		default:
			result.WarnedTests = append(result.WarnedTests, t.ID)
		}
	}
	switch status := reports.Worst(r.Verdict.Status); {
	case r.Verdict.ExitCode != reports.ExitPass, status == reports.Fail, status == reports.Error, status == reports.Skip, len(result.FailedTests) > 0:
		result.Result = failed
	case status != reports.Pass:
		result.Result = warned
	}
	return result
}

// Verify checks an envelope's signature and returns what was signed. An error says nothing about the run, but that the
// attestation cannot be relied on.
func Verify(ctx context.Context, envelope []byte, key ed25519.PublicKey) (*Attestation, error) {
	e := &dsse.Envelope{}
	if err := json.Unmarshal(envelope, e); err != nil {
		return nil, fmt.Errorf("read the envelope: %w", err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(fileKey{public: key})
	if err != nil {
		return nil, fmt.Errorf("verify the attestation: %w", err)
	}
	_, payload, err := verifier.VerifyAndDecode(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("the attestation is not signed by this key, or was altered: %w", err)
	}
	if e.PayloadType != PayloadType {
		return nil, fmt.Errorf("the attestation has the payload type %q, want %q", e.PayloadType, PayloadType)
	}
	a := &Attestation{statement: &intoto.Statement{}, result: &predicate.TestResult{}}
	lenient := protojson.UnmarshalOptions{DiscardUnknown: true} // as the framework's parsing rules want
	if err := lenient.Unmarshal(payload, a.statement); err != nil {
		return nil, fmt.Errorf("read the statement: %w", err)
	}
	if err := a.statement.Validate(); err != nil {
		return nil, fmt.Errorf("the statement is not valid: %w", err)
	}
	if got := a.statement.GetPredicateType(); got != PredicateType {
		return nil, fmt.Errorf("the statement has the predicate type %q, want %q", got, PredicateType)
	}
	fields, err := protojson.Marshal(a.statement.GetPredicate())
	if err != nil {
		return nil, fmt.Errorf("read the predicate: %w", err)
	}
	if err := lenient.Unmarshal(fields, a.result); err != nil {
		return nil, fmt.Errorf("read the predicate: %w", err)
	}
	if !slices.Contains([]string{passed, warned, failed}, a.Result()) {
		return nil, fmt.Errorf("the predicate has the result %q", a.Result())
	}
	return a, nil
}

// About says in what a record differs from the one that was attested: in its bytes, its images, or its results. Data is the record as it is saved.
func (a *Attestation) About(r *reports.Record, data []byte) error {
	want, err := statementOf(r, data)
	if err != nil {
		return fmt.Errorf("hold the attestation against run %s: %w", r.Run.ID, err)
	}
	sum := sha256.Sum256(data)
	for _, c := range a.result.GetConfiguration() {
		if c.GetDigest()["sha256"] != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("the record of run %s is not the one that was attested: its digest is sha256:%x", r.Run.ID, sum)
		}
	}
	if !proto.Equal(want, a.statement) {
		return fmt.Errorf("the attestation does not say of run %s what its record says", r.Run.ID)
	}
	return nil
}

// fileKey signs and verifies for DSSE.
type fileKey struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
}

func (k fileKey) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private, data), nil
}

func (k fileKey) Verify(_ context.Context, data, signature []byte) error {
	if !ed25519.Verify(k.public, data, signature) {
		return errors.New("the signature does not fit")
	}
	return nil
}

func (k fileKey) Public() crypto.PublicKey { return k.public }

// KeyID is the hash of the public key as it is in a file.
func (k fileKey) KeyID() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
