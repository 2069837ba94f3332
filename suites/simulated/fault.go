package simulated

import (
	"net/http"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/reference/mutants"
)

// patience is how long what a faulty Azure never does is waited for.
const patience = 2 * time.Second

// Apply gives the world a mutant's fault, before any test runs.
func (w *World) Apply(m mutants.Mutant) {
	w.API.Webhook = m.Webhook
	if m.Register != nil {
		m.Register(&w.API.Registration)
	}
	if m.Azure != nil {
		front := m.Azure(w.Lab.Emulator)
		w.Azure = func(rw http.ResponseWriter, r *http.Request, _ http.Handler) { front.ServeHTTP(rw, r) }
		w.Env.Azure.Propagation.Budget = patience
	}
	if m.Issuer != nil {
		w.API.Break(*m.Issuer)
	}
	w.Network.Proxy = m.Proxy
	if m.Init != nil {
		w.Network.Init = m.Init
	}
}
