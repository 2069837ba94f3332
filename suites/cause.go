package suites

import (
	"errors"
	"io"
	"net/url"
	"slices"
	"syscall"

	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/azure"
	"github.com/wi-e2e/wi-e2e/reports"
)

// causeOf is why something of the harness broke, by the error's type; empty if that does not tell. What a server answered has no
// cause, whatever its words are: a webhook that cannot be reached is told in an answer of the API server too.
func (e *Env) causeOf(err error) reports.Cause {
	switch {
	case azure.IsPropagation(azure.Code(err)):
		return reports.Propagation
	case e.isTransport(err):
		return reports.Transport
	}
	return ""
}

// isTransport says whether a connection to the API server was refused, reset or cut off. The other servers that the harness talks
// to are the subject, or Azure, whose client has retries of its own.
func (e *Env) isTransport(err error) bool {
	request, ok := errors.AsType[*url.Error](err)
	if !ok || e.rest == nil {
		return false
	}
	asked, err := url.Parse(request.URL)
	if err != nil {
		return false
	}
	server, _, err := rest.DefaultServerUrlFor(e.rest)
	if err != nil || asked.Host != server.Host {
		return false
	}
	return slices.ContainsFunc([]error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF},
		func(cut error) bool { return errors.Is(request.Err, cut) })
}
