package simulated

import (
	"context"
	"net/http"
	"sync"
)

// log is what a container has written, which can be followed.
type log struct {
	mu    sync.Mutex
	text  []byte
	ended bool
	more  chan struct{} // closed at the next change
}

func newLog() *log { return &log{more: make(chan struct{})} }

// Write implements io.Writer.
func (l *log) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text...)
	l.tell()
	return len(text), nil
}

func (l *log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.tell()
}

func (l *log) tell() {
	close(l.more)
	l.more = make(chan struct{})
}

// copyTo writes what there is and, if it is to follow, what comes until the end.
func (l *log) copyTo(ctx context.Context, w http.ResponseWriter, follow bool) {
	written := 0
	for {
		l.mu.Lock()
		text, ended, more := l.text[written:], l.ended, l.more
		l.mu.Unlock()
		_, _ = w.Write(text) // the client notices when it breaks off
		_ = http.NewResponseController(w).Flush()
		written += len(text)
		if ended || !follow {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}
