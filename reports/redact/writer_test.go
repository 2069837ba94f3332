package redact

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// stream is what a Writer makes of pieces.
func stream(t *testing.T, r *Redactor, pieces ...string) (string, []Finding) {
	t.Helper()
	var out strings.Builder
	var found []Finding
	w := r.NewWriter(&out, func(f Finding) { found = append(found, f) })
	for _, piece := range pieces {
		if n, err := w.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Fatalf("of %d bytes %d were written: %v", len(piece), n, err)
		}
		if len(w.buffer) > maxBuffer || cap(w.buffer) > 2*maxBuffer {
			t.Fatalf("it keeps %d bytes (%d)", len(w.buffer), cap(w.buffer))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String(), found
}

func TestASecretThatIsSplitOverWritesIsWithheld(t *testing.T) {
	for name, text := range map[string]string{"a token": jwt, "a key": key, "a secret": secret, "a header": "Authorization: Bearer abc-def_0123"} {
		t.Run(name, func(t *testing.T) {
			text = "before\n" + text + "\nafter\n"
			var r *Redactor
			want := r.String(text)
			for cut := range text {
				if got, _ := stream(t, r, text[:cut], text[cut:]); got != want {
					t.Fatalf("cut at %d it became %q, want %q", cut, got, want)
				}
			}
			if got, _ := stream(t, r, strings.Split(text, "")...); got != want {
				t.Errorf("byte by byte it became %q, want %q", got, want)
			}
		})
	}
}

// The buffer is emptied again and again: a secret must be found wherever it lies as that happens.
func TestASecretAnywhereInALongTextIsWithheld(t *testing.T) {
	var r *Redactor
	const line = "an ordinary line of a log, which nobody has anything against\n"
	for _, edge := range []int{maxBuffer - maxMatch, maxBuffer, 2*maxBuffer - 2*maxMatch} {
		for _, before := range []int{0, 1, 40, len(jwt) - 1, len(jwt)} {
			filler := strings.Repeat(line, edge/len(line)+1)[:edge-before-1] + "\n"
			text := filler + jwt + "\n" + strings.Repeat(line, 3000) + key + "\n"
			got, found := stream(t, r, text)
			if want := filler + Token.Mark() + "\n" + strings.Repeat(line, 3000) + PrivateKey.Mark() + "\n"; got != want {
				t.Fatalf("%d bytes before %d: it was not withheld, or something else was", before, edge)
			}
			first := 1 + strings.Count(filler, "\n")
			if want := []Finding{{Token, first}, {PrivateKey, first + 3001}}; !slices.Equal(found, want) {
				t.Errorf("%d bytes before %d: found %v, want %v", before, edge, found, want)
			}
		}
	}
}

func TestManySecretsInALongTextAreAllWithheld(t *testing.T) {
	var r *Redactor
	got, found := stream(t, r, strings.Repeat(jwt+" ", 20_000))
	if want := strings.Repeat(Token.Mark()+" ", 20_000); got != want || len(found) != 20_000 {
		t.Errorf("%d findings, and %d bytes are left, want 20000 and %d", len(found), len(got), len(want))
	}
}

func TestATokenThatIsLongerThanAnyEndsInBoundedMemory(t *testing.T) {
	var r *Redactor
	long := jwt + strings.Repeat("A", 3*maxBuffer)
	got, found := stream(t, r, long)
	if len(found) == 0 || !strings.HasPrefix(got, Token.Mark()) || strings.Contains(got, jwt[len(jwt)-20:]) {
		t.Errorf("%d findings, it begins with %.60q", len(found), got)
	}
}

func TestAMarkIsNeverCutInTwo(t *testing.T) {
	var r *Redactor
	text := strings.Repeat("client_secret="+Credential.Mark()+"&", 2*maxBuffer/30)
	got, found := stream(t, r, text)
	if got != text || len(found) > 0 {
		t.Errorf("marks are taken for secrets: %d findings", len(found))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAWriterTellsWhatItCannotWrite(t *testing.T) {
	var r *Redactor
	w := r.NewWriter(full{}, nil)
	_, err := w.Write([]byte("x"))
	if closed := w.Close(); err != nil || closed == nil {
		t.Errorf("the errors are %v and %v, want one of Close", err, closed)
	}
	if _, err := r.NewWriter(full{}, nil).Write(make([]byte, maxBuffer)); err == nil {
		t.Error("no error of Write")
	}
}
