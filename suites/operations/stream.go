package operations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/wi-e2e/wi-e2e/fixtures/subject"
	"github.com/wi-e2e/wi-e2e/suites"
)

// stream creates labelled pods by dry runs at a steady pace, whatever becomes of them, and remembers what did. One that is slow to be
// answered does not hold up the next, so that an outage is seen as long as it is.
type stream struct {
	send  func(ctx context.Context) (outcome, string)
	began time.Time
	free  chan struct{} // has room for as many as may be unanswered

	mu      sync.Mutex
	beats   []time.Duration // when one was due, since the stream began
	sent    int
	answers []answer
	events  []event
	ended   time.Duration
	news    chan struct{} // closed and made anew with each answer
}

// outcome is what became of a create.
type outcome string

const (
	injected   outcome = "injected"   // admitted, as it should be
	untouched  outcome = "untouched"  // admitted without injection, which is as bad as a refusal
	callFailed outcome = "callFailed" // refused because the API server could not call the webhook
	denied     outcome = "denied"     // refused by the webhook's own word
	refused    outcome = "refused"    // refused by the API server for a reason of its own
	unanswered outcome = "unanswered" // the API server was not there
)

// answer is what became of one create, and when.
type answer struct {
	sent, received time.Duration // since the stream began
	outcome        outcome
	message        string // of what was not admitted
}

// event is a moment that answers are told by.
type event struct {
	name string
	at   time.Duration
}

const (
	// pace is fine enough to see gaps of some ten milliseconds, and takes a small part of what an API server on two cores does.
	pace = 20 * time.Millisecond
	// unansweredAtMost, two seconds' worth, keeps an API server that cannot keep up from being overrun, until its calls of the webhook run
	// into their time-out. Creates that hang for longer stand for all that would.
	unansweredAtMost = 100
	// answerWithin is longer than an API server may wait for a webhook (SEL-04).
	answerWithin = 15 * time.Second
	// longestPause of this process: what happened meanwhile was not seen.
	longestPause = time.Second
)

// streamed runs body while a stream is sent, and returns what became of it. A stream that body has outrun, or that could not keep
// the pace, ends the test as an error: it proves nothing.
func streamed(ctx context.Context, t *suites.T, body func(s *stream)) *seen {
	s := &stream{send: labelledCreates(ctx, t)}
	stop := s.start(ctx)
	defer stop()
	// An admission before anything is disturbed: what the stream is refused for later is then no mistake in its pod.
	t.Must(s.await(ctx, 1, injected), "admit a labelled pod before anything is disturbed")
	body(s)
	stop()
	result, err := s.result()
	t.Must(err, "keep up a steady stream of creates")
	return result
}

// mark names this moment.
func (s *stream) mark(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event{name, time.Since(s.began)})
}

// await returns when n of the creates that are sent from now on were answered with one of the outcomes; any will do if there are none.
func (s *stream) await(ctx context.Context, n int, wanted ...outcome) error {
	from := time.Since(s.began)
	for {
		s.mu.Lock()
		have := 0
		latest := "no answer"
		for _, a := range s.answers {
			if a.sent < from {
				continue
			}
			if len(wanted) == 0 || slices.Contains(wanted, a.outcome) {
				have++
			}
			latest = fmt.Sprintf("%s %s", a.outcome, a.message)
		}
		news := s.news
		s.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d answers: %w; the latest: %s", have, n, context.Cause(ctx), latest)
		}
	}
}

// start sends until stop is called, which returns when all is answered. It may be called again.
func (s *stream) start(ctx context.Context) (stop func()) {
	ticking, end := context.WithCancel(ctx)
	s.began, s.news, s.free = time.Now(), make(chan struct{}), make(chan struct{}, unansweredAtMost)
	var sending sync.WaitGroup
	sending.Go(func() {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for {
			select {
			case <-ticking.Done():
				s.mu.Lock()
				s.ended = time.Since(s.began)
				s.mu.Unlock()
				return
			case <-ticker.C:
				s.beat(ctx, &sending)
			}
		}
	})
	return func() { end(); sending.Wait() }
}

// beat sends one, unless too many are unanswered.
func (s *stream) beat(ctx context.Context, sending *sync.WaitGroup) {
	now := time.Since(s.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats = append(s.beats, now)
	select {
	case s.free <- struct{}{}:
		s.sent++
		sending.Go(func() { s.create(ctx, now) })
	default:
	}
}

// create sends one, and keeps its answer. One that the test's end cut off has none.
func (s *stream) create(ctx context.Context, sent time.Duration) {
	defer func() { <-s.free }()
	limited, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	became, message := s.send(limited)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, answer{sent, time.Since(s.began), became, message})
	close(s.news)
	s.news = make(chan struct{})
}

// result is what was seen of a stream that has ended; an error if it did not see everything.
func (s *stream) result() (*seen, error) {
	if len(s.answers) < s.sent {
		return nil, fmt.Errorf("%d of %d creates were cut off", s.sent-len(s.answers), s.sent)
	}
	if planned := int(s.ended / pace); len(s.beats) == 0 || len(s.beats) < planned/2 {
		return nil, fmt.Errorf("only %d creates were due in %s, want one every %s: this machine is too busy", len(s.beats), s.ended, pace)
	}
	last := time.Duration(0)
	for _, at := range append(s.beats, s.ended) {
		if at-last > longestPause {
			return nil, fmt.Errorf("nothing was sent for %s: what happened meanwhile was not seen", (at - last).Round(time.Millisecond))
		}
		last = at
	}
	slices.SortFunc(s.answers, func(a, b answer) int { return cmp.Compare(a.received, b.received) })
	return &seen{answers: s.answers, events: s.events, length: s.ended}, nil
}

// labelledCreates makes what sends one: a dry run on connections of its own, without the client's retries, which would hide what is looked for.
func labelledCreates(ctx context.Context, t *suites.T) func(ctx context.Context) (outcome, string) {
	ns, sa := t.Namespace(ctx), t.ServiceAccount(ctx, "stream", nil)
	kube := ownConnections(ctx, t, t.REST())
	pod := encoded(t, streamedPod(sa, map[string]string{suites.UseLabel: "true"}))
	return func(ctx context.Context) (outcome, string) { return judge(dryRun(ctx, kube, ns, pod)) }
}

// ownConnections is a client that shares its connections with nobody.
func ownConnections(ctx context.Context, t *suites.T, config *rest.Config) kubernetes.Interface {
	config.Dial = (&net.Dialer{Timeout: answerWithin}).DialContext // a transport with its own is not shared
	client, err := rest.HTTPClientFor(config)
	t.Must(err, "make connections to the API server")
	context.AfterFunc(ctx, client.CloseIdleConnections)
	kube, err := kubernetes.NewForConfigAndClient(config, client)
	t.Must(err, "make a client")
	return kube
}

// streamedPod has neither variables nor volumes, so that all of them are injected ones.
func streamedPod(account string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "streamed", Labels: labels},
		Spec: corev1.PodSpec{
			ServiceAccountName:           account,
			AutomountServiceAccountToken: new(false), // a volume that the API server adds would be part of what is measured
			Containers:                   []corev1.Container{{Name: "never-runs", Image: "never-pulled"}},
		},
	}
}

// encoded is a pod to be sent again and again, by many at a time: to encode an object writes to it.
func encoded(t *suites.T, pod *corev1.Pod) []byte {
	compact, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		t.Broken("the client has no encoding %s", runtime.ContentTypeProtobuf)
	}
	body, err := runtime.Encode(scheme.Codecs.EncoderForVersion(compact.Serializer, corev1.SchemeGroupVersion), pod)
	t.Must(err, "encode pod %s", pod.Name)
	return body
}

// dryRun is a create that stores nothing and that is tried once.
func dryRun(ctx context.Context, kube kubernetes.Interface, ns string, pod []byte) (*corev1.Pod, error) {
	created := &corev1.Pod{}
	err := kube.CoreV1().RESTClient().Post().Namespace(ns).Resource("pods").MaxRetries(0).
		SetHeader("Content-Type", runtime.ContentTypeProtobuf).
		VersionedParams(&metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: suites.FieldManager}, metav1.ParameterCodec).
		Body(pod).Do(ctx).Into(created)
	return created, err
}

// judge tells what the webhook did from what the API server did.
func judge(created *corev1.Pod, err error) (outcome, string) {
	switch {
	case err == nil && subject.Injected(created):
		return injected, ""
	case err == nil:
		return untouched, "admitted without being mutated"
	case subject.CallFailed(err):
		return callFailed, err.Error()
	case subject.Denied(err):
		return denied, err.Error()
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return refused, err.Error()
	}
	return unanswered, err.Error()
}
