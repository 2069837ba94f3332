package runner

import (
	"net/http"
	"time"
)

// onTheInternet is a client that sees what Entra ID sees of an issuer: it trusts the public authorities alone, and takes no
// redirect for an answer.
func onTheInternet() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
