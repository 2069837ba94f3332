package suites

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/google/go-cmp/cmp"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
)

// refusal is an answer of Azure with a code.
func refusal(code string) error {
	if code == "" {
		return nil
	}
	return &azcore.ResponseError{StatusCode: http.StatusUnauthorized, ErrorCode: code}
}

func TestPropagationIsWaitedForAndNothingElse(t *testing.T) {
	const unknown, mismatch, broken = "AADSTS70025", "AADSTS700213", "AADSTS50027"
	for _, c := range []struct {
		name    string
		wanted  string
		answers []string // codes; the last one goes on for ever
		count   int
		codes   map[string]int
		err     string
	}{
		{"what is known at once is asked for until it is settled", "", []string{""}, 3, map[string]int{}, ""},
		{"what is unknown is waited for", "", []string{unknown, unknown, ""}, 5, map[string]int{unknown: 2}, ""},
		{"alternating answers are not settled", "", []string{"", unknown, "", "", unknown, ""}, 8, map[string]int{unknown: 2}, ""},
		{"a refusal that is wanted is waited for", mismatch, []string{unknown, mismatch}, 4, map[string]int{unknown: 1}, ""},
		{"a refusal that is not the propagation's ends it", "", []string{unknown, broken}, 2, map[string]int{unknown: 1}, broken},
		{"what is never known ends with the budget", "", []string{unknown}, 0, nil, "not within 1m0s"},
		{"what is never settled ends with the budget", "", []string{unknown, "", unknown, "", unknown}, 0, nil, "not within 1m0s"},
		{"what is accepted and should be refused ends with the budget", mismatch, []string{""}, 0, nil, "accepted at last, but not refused with " + mismatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				got, err := Propagation{Budget: time.Minute}.Await(t.Context(), c.wanted, azure.IsPropagation, func(context.Context) error {
					n++
					return refusal(c.answers[min(n, len(c.answers))-1])
				})
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				if c.count > 0 {
					if got.Count != c.count || n != c.count {
						t.Errorf("%d attempts, told as %d, want %d", n, got.Count, c.count)
					}
					if diff := cmp.Diff(c.codes, got.Codes); diff != "" {
						t.Errorf("codes (-want +got):\n%s", diff)
					}
				}
			})
		})
	}
}

func TestWhatIsNoAnswerOfAzureIsNotWaitedFor(t *testing.T) {
	n := 0
	_, err := Propagation{Budget: time.Minute}.Await(t.Context(), "", func(string) bool { return true }, func(context.Context) error {
		n++
		return fmt.Errorf("ask: %w", errors.New("connection refused"))
	})
	if n != 1 || err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%d attempts, error %v", n, err)
	}
}
