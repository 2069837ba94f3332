package operations

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// script is what creates become by the time they are sent at, and how long each takes.
type script func(at time.Duration) (became outcome, takes time.Duration)

// play sends a stream by the script while body runs, and returns its result.
func play(t *testing.T, s script, body func(s *stream)) (*seen, error) {
	t.Helper()
	began := time.Now()
	st := &stream{send: func(ctx context.Context) (outcome, string) {
		became, takes := s(time.Since(began))
		select {
		case <-time.After(takes):
			return became, "said"
		case <-ctx.Done():
			return unanswered, context.Cause(ctx).Error()
		}
	}}
	stop := st.start(t.Context())
	defer stop()
	body(st)
	stop()
	return st.result()
}

func always(became outcome, takes time.Duration) script {
	return func(time.Duration) (outcome, time.Duration) { return became, takes }
}

// away has an outage, in which creates are answered after a time.
func away(from, to time.Duration, became outcome, takes time.Duration) script {
	return func(at time.Duration) (outcome, time.Duration) {
		if at >= from && at < to {
			return became, takes
		}
		return injected, time.Millisecond
	}
}

func TestAStreamThatIsAnsweredHasOneCreateForEachBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result, err := play(t, always(injected, time.Millisecond), func(*stream) { time.Sleep(2 * time.Second) })
		if err != nil {
			t.Fatal(err)
		}
		if n := len(result.answers); n < 99 || n > 100 {
			t.Errorf("%d creates in 2 s, want one every %s", n, pace)
		}
		if gap, _ := result.gap(); gap > 2*pace {
			t.Errorf("a gap of %s is seen where there is none", gap)
		}
	})
}

func TestAGapIsAsLongAsTheOutage(t *testing.T) {
	tests := []struct {
		name   string
		outage script
		want   time.Duration
	}{
		{"whose creates are refused at once", away(time.Second, 1700*time.Millisecond, callFailed, 0), 700 * time.Millisecond},
		{"whose creates hang", away(time.Second, 2500*time.Millisecond, callFailed, 5*time.Second), 1500 * time.Millisecond},
		{"in which pods are admitted without injection", away(time.Second, 1300*time.Millisecond, untouched, 0), 300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result, err := play(t, tt.outage, func(s *stream) {
					time.Sleep(900 * time.Millisecond)
					s.mark("broken")
					time.Sleep(5100 * time.Millisecond)
				})
				if err != nil {
					t.Fatal(err)
				}
				gap, from := result.gap()
				if gap < tt.want || gap > tt.want+2*pace {
					t.Errorf("the gap is %s, want %s", gap, tt.want)
				}
				if when := result.when(from); !strings.HasSuffix(when, `ms after "broken"`) {
					t.Errorf("the gap begins %s, want after what broke it", when)
				}
			})
		})
	}
}

func TestAStreamThatHasNotSeenEverythingProvesNothing(t *testing.T) {
	beats := func(n int, every time.Duration) []time.Duration {
		var all []time.Duration
		for i := range n {
			all = append(all, time.Duration(i+1)*every)
		}
		return all
	}
	tests := []struct {
		name string
		of   *stream
		want string
	}{
		{"as it ended before its first create", &stream{ended: time.Millisecond}, "only 0 creates were due"},
		{"as the machine was too busy", &stream{beats: beats(20, 50*time.Millisecond), ended: time.Second}, "only 20 creates were due in 1s"},
		{"as the process stood still", &stream{beats: append(beats(100, pace), 4*time.Second), ended: 4 * time.Second}, "nothing was sent for 2s"},
		{"as the process stood still at its end", &stream{beats: beats(100, pace), ended: 3500 * time.Millisecond}, "nothing was sent for 1.5s"},
		{"as an answer is missing", &stream{beats: beats(2, pace), ended: 3 * pace, sent: 2, answers: make([]answer, 1)}, "1 of 2 creates were cut off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.of.result(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func TestAnAPIServerThatHangsIsNotOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result, err := play(t, always(callFailed, 10*time.Second), func(*stream) { time.Sleep(9 * time.Second) })
		if err != nil {
			t.Fatal(err)
		}
		if n := len(result.answers); n != unansweredAtMost {
			t.Errorf("%d creates were sent, want %d as none of them was answered", n, unansweredAtMost)
		}
	})
}

func TestWhatIsAwaitedHasToBeSentAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := play(t, away(0, time.Second, callFailed, 500*time.Millisecond), func(s *stream) {
			time.Sleep(time.Second) // of the refusals of before some are still on their way
			if err := s.await(t.Context(), 3, injected); err != nil {
				t.Error(err)
			}
			limited, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("given up"))
			defer cancel()
			if err := s.await(limited, 1, callFailed); err == nil || !strings.Contains(err.Error(), "0 of 1 answers: given up; the latest: injected") {
				t.Errorf("refusals of before are taken for new ones: %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnswersAreBlamedOnWhoGaveThem(t *testing.T) {
	mutated := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "AZURE_CLIENT_ID"}}}}}}
	plain := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
	tests := []struct {
		name string
		pod  *corev1.Pod
		err  error
		want outcome
	}{
		{"a mutated pod", mutated, nil, injected},
		{"a pod that was let by", plain, nil, untouched},
		{"a webhook that cannot be called", nil, apierrors.NewInternalError(errors.New(`failed calling webhook "mutation.azure-workload-identity.io": EOF`)), callFailed},
		{"another webhook that cannot be called", nil, apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": EOF`)), refused},
		{"a refusal by the webhook", nil, apierrors.NewBadRequest(`admission webhook "mutation.azure-workload-identity.io" denied the request: no`), denied},
		{"a refusal by another webhook", nil, apierrors.NewBadRequest(`admission webhook "policy.example.com" denied the request: no`), refused},
		{"an API server that is too busy", nil, apierrors.NewTooManyRequests("later", 1), refused},
		{"an API server that is starting", nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("not yet")), refused},
		{"an API server that is not there", nil, errors.New("connection refused"), unanswered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := judge(tt.pod, tt.err); got != tt.want {
				t.Errorf("it is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAStreamedPodHasNothingThatCouldBeTakenForInjected(t *testing.T) {
	pod := streamedPod("app", nil)
	if got, _ := judge(pod, nil); got != untouched {
		t.Errorf("the pod is %s as it is sent", got)
	}
	if !metav1.HasLabel(streamedPod("app", map[string]string{"a": "b"}).ObjectMeta, "a") {
		t.Error("the pod has no labels")
	}
}
