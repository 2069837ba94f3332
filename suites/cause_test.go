package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/reports"
)

func TestTheCauseOfAnErrorIsToldByItsType(t *testing.T) {
	const server, other = "https://192.0.2.1:6443", "https://192.0.2.2:8443"
	asked := func(host string, err error) error {
		return fmt.Errorf("create pod x: %w", &url.Error{Op: "Post", URL: host + "/api/v1/namespaces/x/pods?dryRun=All", Err: err})
	}
	operation := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	for _, c := range []struct {
		name string
		err  error
		want reports.Cause
	}{
		{"the API server refuses the connection", asked(server, operation(syscall.ECONNREFUSED)), reports.Transport},
		{"the API server resets the connection", asked(server, operation(syscall.ECONNRESET)), reports.Transport},
		{"the API server has closed the connection", asked(server, operation(syscall.EPIPE)), reports.Transport},
		{"the answer does not begin", asked(server, io.EOF), reports.Transport},
		{"the answer does not end", asked(server, io.ErrUnexpectedEOF), reports.Transport},
		{"another server refuses the connection", asked(other, operation(syscall.ECONNREFUSED)), ""},
		{"nobody knows whose connection it was", operation(syscall.ECONNREFUSED), ""},
		{"time is up", asked(server, context.DeadlineExceeded), ""},
		{"the certificate is another one", asked(server, errors.New("tls: failed to verify certificate")), ""},
		{"words that sound like it", errors.New("Post \"" + server + "\": connection refused"), ""},
		{"the API server answers that the webhook's connection was refused", apierrors.NewInternalError(errors.New("failed calling webhook: connect: connection refused")), ""},
		{"the API server answers that it is overloaded", apierrors.NewTooManyRequests("later", 1), ""},
		{"Azure does not know the federated credential yet", &azcore.ResponseError{ErrorCode: "AADSTS70025"}, reports.Propagation},
		{"Azure refuses for good", &azcore.ResponseError{ErrorCode: "AuthorizationFailed", StatusCode: 403}, ""},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := &Env{rest: &rest.Config{Host: server}}
			if got := env.causeOf(c.err); got != c.want {
				t.Errorf("cause %q, want %q", got, c.want)
			}
		})
	}
}

// hangUp is an API server that ends connections without an answer.
func hangUp(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = connection.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestATestThatTheAPIServerHangsUpOnTellsTheCause(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	refusing.Close()
	for name, host := range map[string]string{"hangs up": hangUp(t), "refuses": refusing.URL, "refuses, and is given without its scheme": strings.TrimPrefix(refusing.URL, "http://")} {
		t.Run(name, func(t *testing.T) {
			env := &Env{UserAgent: "wi-e2e/test", KeepNamespaces: true, rest: &rest.Config{Host: host}}
			asks := Test{ID: "asks", Title: "It asks", Timeout: 20 * time.Second, Body: func(ctx context.Context, t *T) {
				t.Case(ctx, "pods", func(ctx context.Context, t *T) {
					// The client itself tries a GET again, and nothing else.
					_, err := t.Kube().CoreV1().Pods("x").Create(ctx, &corev1.Pod{}, metav1.CreateOptions{})
					t.Must(err, "create a pod")
					t.Check(true, "")
				})
			}}
			asked := 0
			got := Repeat(t.Context(), 1, func(ctx context.Context, _ int) reports.Test {
				asked++
				return Execute(ctx, env, asks, reports.Fail, make(chan struct{}, 1))
			})
			if f := got.Cases[0].Findings[0]; got.Status != reports.Error || f.Cause != reports.Transport {
				t.Errorf("%s, finding %+v, want an error of the transport", got.Status, f)
			}
			if asked != 2 {
				t.Errorf("%d attempts, want a second one and no third", asked)
			}
		})
	}
}
