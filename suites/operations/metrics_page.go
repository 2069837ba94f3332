package operations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wi-e2e/wi-e2e/fixtures/portforward"
	"github.com/wi-e2e/wi-e2e/suites"
)

// replicaPage is a port of a replica that serves web pages.
type replicaPage struct {
	name   string
	client *http.Client
	port   int32
}

// pageWithin is more than any of the pages takes.
const pageWithin = 10 * time.Second

// replicaPages finds the port in all replicas, which are whole.
func replicaPages(ctx context.Context, t *suites.T, i *installation, port int32) []replicaPage {
	var pages []replicaPage
	for _, pod := range i.pods(ctx, t) {
		dialer, err := portforward.ToPort(t.REST(), &pod, port)
		t.Must(err, "reach replica %s", pod.Name)
		context.AfterFunc(ctx, func() { _ = dialer.Close() })
		client := &http.Client{Timeout: pageWithin, Transport: &http.Transport{
			DisableKeepAlives: true, // a replica that is asked now and then closes connections in between
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				connection, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, notForwarded{err}
				}
				return connection, nil
			},
		}}
		pages = append(pages, replicaPage{pod.Name, client, port})
	}
	if len(pages) == 0 {
		t.Broken("no pod is behind the webhook's Service")
	}
	return pages
}

// notForwarded is a port-forward that the API server did not make: nothing is known of the replica then.
type notForwarded struct{ error }

func (e notForwarded) Unwrap() error { return e.error }

// get asks for a page; the error is the replica's.
func (p replicaPage) get(ctx context.Context, t *suites.T, path string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://localhost:%d%s", p.port, path), nil)
	t.Must(err, "ask replica %s for %s", p.name, path)
	request.Header.Set("User-Agent", t.REST().UserAgent)
	response, err := p.client.Do(request)
	if lost, ok := errors.AsType[notForwarded](err); ok || ctx.Err() != nil {
		t.Must(errors.Join(lost.error, ctx.Err()), "connect to replica %s", p.name)
	}
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
