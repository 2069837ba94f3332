package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
)

// Propagation bounds the wait for something new in Azure to be known everywhere.
type Propagation struct {
	// Budget is the longest wait for one thing.
	Budget time.Duration
}

// settled is how many answers in a row have to be the wanted one: while something new spreads, answers alternate.
const settled = 3

// propagationPauses lie between two attempts: there is nothing to watch. An emulator takes seconds, Azure up to minutes.
var propagationPauses = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 1.3, Cap: 5 * time.Second, Steps: 12}

// Attempts tells how it went until something was known.
type Attempts struct {
	Count   int
	Seconds float64
	// Codes are the refusals meanwhile, and how often each came.
	Codes map[string]int
}

func (a Attempts) String() string {
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(a.Codes)) {
		codes = append(codes, fmt.Sprintf("%s %d times", code, a.Codes[code]))
	}
	meanwhile := "never refused"
	if len(codes) > 0 {
		meanwhile = strings.Join(codes, ", ")
	}
	return fmt.Sprintf("%d attempts in %.1f s, %s", a.Count, a.Seconds, meanwhile)
}

// Await repeats an attempt until its refusal has the wanted code ("" for none) several times in a row. Only a refusal that
// passing may describes is repeated; every other answer ends it as an error, and so does the end of the budget.
func (p Propagation) Await(ctx context.Context, wanted string, passing func(code string) bool, attempt func(context.Context) error) (Attempts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.Budget, fmt.Errorf("not within %s", p.Budget))
	defer cancel()
	result := Attempts{Codes: map[string]int{}}
	started := time.Now()
	var last error
	inARow := 0
	err := propagationPauses.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		err := attempt(ctx)
		if ctx.Err() != nil {
			return false, nil // cut off by the budget: an earlier answer tells more
		}
		result.Count++
		last = err
		code := azure.Code(err)
		switch {
		case err != nil && code == "", code != wanted && !passing(code) && err != nil:
			return false, err
		case code == wanted:
			inARow++
		default:
			inARow = 0
			if err != nil {
				result.Codes[code]++
			}
		}
		return inARow == settled, nil
	})
	result.Seconds = time.Since(started).Seconds()
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil && last == nil && wanted == "":
		return result, fmt.Errorf("%w: %s; accepted at last, but not several times in a row", context.Cause(ctx), result)
	case ctx.Err() != nil && last == nil:
		return result, fmt.Errorf("%w: %s; accepted at last, but not refused with %s", context.Cause(ctx), result, wanted)
	case ctx.Err() != nil:
		return result, fmt.Errorf("%w: %s; the last answer: %w", context.Cause(ctx), result, last)
	}
	return result, err
}
