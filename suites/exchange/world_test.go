package exchange

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/simulated"
)

// world is a simulated one, and what the tier's faults need to know of it.
type world struct {
	*simulated.World
	// reader is an identity that may read the secret, and the account that it trusts.
	reader simulated.Trust
}

func newWorld(t *testing.T, l *simulated.Lab, tests ...suites.Test) *world {
	t.Helper()
	w := &world{World: simulated.NewWorld(t, l, tests...)}
	for _, trust := range w.Trusts {
		if trust.Identity == reader {
			w.reader = trust
		}
	}
	return w
}

// ask puts a request to the emulator itself.
func (w *world) ask(ctx context.Context, method, address string, form url.Values) *answer {
	r := httptest.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	recorder := httptest.NewRecorder()
	w.Lab.Emulator.ServeHTTP(recorder, r)
	return &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

// answer is one of Azure's, for a fault to change.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type object = map[string]any

func encoded(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}
