package admission

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/suites"
)

func expirationTests() []suites.Test {
	return []suites.Test{
		{
			ID:           "expiration-precedence",
			Title:        "The pod's annotation wins over the service account's, an empty one falls through, the default is 3600",
			Tier:         suites.Admission,
			Requirements: []string{"EXP-01"},
			Body:         expirationPrecedence,
		},
		{
			ID:           "expiration-accepted",
			Title:        "Base-10 integers from 3600 to 86400 are accepted and used unchanged",
			Tier:         suites.Admission,
			Requirements: []string{"EXP-02", "EXP-05"},
			Body:         expirationAccepted,
		},
		{
			ID:           "expiration-out-of-bounds",
			Title:        "A value out of bounds is refused, never clamped",
			Tier:         suites.Admission,
			Requirements: []string{"EXP-03", "EXP-05", "ADM-03"},
			Body:         expirationOutOfBounds,
		},
		{
			ID:           "expiration-not-a-number",
			Title:        "A value that is no base-10 integer is refused with a parse error that quotes it",
			Tier:         suites.Admission,
			Requirements: []string{"EXP-04", "EXP-05", "ADM-03"},
			Body:         expirationNotANumber,
		},
	}
}

func expirationPrecedence(ctx context.Context, t *suites.T) {
	ns := t.Namespace(ctx)
	for i, c := range []struct {
		name           string
		pod, account   string
		onPod, onAccnt bool
		want           int64
	}{
		{name: "no annotation", want: 3600},
		{name: "the pod's", onPod: true, pod: "5000", want: 5000},
		{name: "the service account's", onAccnt: true, account: "6000", want: 6000},
		{name: "both: the pod's wins, though smaller", onPod: true, pod: "5000", onAccnt: true, account: "6000", want: 5000},
		{name: "both: the pod's wins, though larger", onPod: true, pod: "7000", onAccnt: true, account: "6000", want: 7000},
		{name: "an empty one on the pod falls through", onPod: true, onAccnt: true, account: "6000", want: 6000},
		{name: "an empty one on the pod alone", onPod: true, want: 3600},
		{name: "an empty one on the service account", onAccnt: true, want: 3600},
		{name: "empty ones on both", onPod: true, onAccnt: true, want: 3600},
		{name: "a valid one on the pod hides one out of bounds", onPod: true, pod: "5000", onAccnt: true, account: "100", want: 5000},
		{name: "a valid one on the pod hides one that is no number", onPod: true, pod: "5000", onAccnt: true, account: "abc", want: 5000},
	} {
		annotations := identified()
		if c.onAccnt {
			annotations[suites.ExpirationAnnotation] = c.account
		}
		sa := t.ServiceAccount(ctx, fmt.Sprintf("precedence-%d", i), annotations)
		t.Case(ctx, c.name, func(ctx context.Context, t *suites.T) {
			pod := newPod(sa)
			if c.onPod {
				annotated(suites.ExpirationAnnotation, c.pod)(pod)
			}
			expectExpiration(t, pod, admit(ctx, t, ns, pod), c.want)
		})
	}
}

func expectExpiration(t *suites.T, sent, got *corev1.Pod, want int64) {
	source := tokenSource(tokenVolume(t, sent, got))
	t.Require(source.ExpirationSeconds != nil, "the token has no expirationSeconds")
	t.Equal("expirationSeconds", want, *source.ExpirationSeconds)
}

// onPodAndAccount runs a case for every value twice: as the pod's annotation and as the service account's (EXP-05).
func onPodAndAccount(ctx context.Context, t *suites.T, values []string, body func(ctx context.Context, t *suites.T, ns, value string, pod *corev1.Pod)) {
	ns, plain := t.Namespace(ctx), t.ServiceAccount(ctx, "plain", identified())
	for i, value := range values {
		t.Case(ctx, fmt.Sprintf("%q on the pod", value), func(ctx context.Context, t *suites.T) {
			body(ctx, t, ns, value, newPod(plain, annotated(suites.ExpirationAnnotation, value)))
		})
		annotations := identified()
		annotations[suites.ExpirationAnnotation] = value
		sa := t.ServiceAccount(ctx, fmt.Sprintf("value-%d", i), annotations)
		t.Case(ctx, fmt.Sprintf("%q on the service account", value), func(ctx context.Context, t *suites.T) {
			body(ctx, t, ns, value, newPod(sa))
		})
	}
}

func expirationAccepted(ctx context.Context, t *suites.T) {
	onPodAndAccount(ctx, t, []string{"3600", "3601", "7200", "43210", "86399", "86400"},
		func(ctx context.Context, t *suites.T, ns, value string, pod *corev1.Pod) {
			want, err := strconv.ParseInt(value, 10, 64)
			t.Must(err, "read the case's value")
			expectExpiration(t, pod, admit(ctx, t, ns, pod), want)
		})
}

// expectRefused sends a pod that the webhook must refuse and, as positive control, the same pod with just
// the objectionable part mended: so it is that part which is refused, and the webhook answers.
func expectRefused(ctx context.Context, t *suites.T, ns string, pod *corev1.Pod, text string, mend func(*corev1.Pod)) {
	deniedByWebhook(t, refuse(ctx, t, ns, pod), text)
	control := pod.DeepCopy()
	mend(control)
	expectIdentity(t, control, admit(ctx, t, ns, control), "app")
}

func expirationOutOfBounds(ctx context.Context, t *suites.T) {
	onPodAndAccount(ctx, t, []string{"3599", "86401", "0", "-1", "100", "-3600", "31536000"},
		func(ctx context.Context, t *suites.T, ns, value string, pod *corev1.Pod) {
			expectRefused(ctx, t, ns, pod, "token expiration "+value+" not valid. Expected value to be between 3600 and 86400",
				annotated(suites.ExpirationAnnotation, "3600"))
		})
}

func expirationNotANumber(ctx context.Context, t *suites.T) {
	onPodAndAccount(ctx, t, []string{"abc", "1h", "3600.0", " 3600", "3600 ", "3_600", "0x1000", "1e4", "99999999999999999999"},
		func(ctx context.Context, t *suites.T, ns, value string, pod *corev1.Pod) {
			expectRefused(ctx, t, ns, pod, strconv.Quote(value), annotated(suites.ExpirationAnnotation, "3600"))
		})
}
