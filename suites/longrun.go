package suites

import (
	"encoding/json"
	"sync"
	"time"
)

// LongRun is how long the tests of the tier soak last. A part of it may have been before an interruption.
type LongRun struct {
	Duration time.Duration
	Ends     time.Time
	// Earlier is what each test kept last before the interruption.
	Earlier map[string]json.RawMessage
	// Keep writes down what a test has found so far, for the case that it is interrupted.
	Keep func(test string, found any) error
	// Restarting is held by the test that restarts the API server, and read-held by one that would take that for the subject's failure.
	Restarting sync.RWMutex
}

// Passed is how much of the whole is over.
func (l *LongRun) Passed() time.Duration { return l.Duration - time.Until(l.Ends) }
