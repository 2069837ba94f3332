package soak

import (
	"context"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/suites"
)

const soakKeys = "soak-key-rotation"

func keysTest() suites.Test {
	return suites.Test{
		ID:    soakKeys,
		Title: "Signing keys are rotated again and again, and the keys of tokens that still live stay listed",
		Tier:  suites.Soak, Requirements: []string{"ISS-05"},
		Needs: []suites.Capability{suites.ControlPlaneAccess},
		Body:  rotateKeys,
	}
}

// rotateKeys has new keys sign at a third and at two thirds of the soak. No key is withdrawn: programs that run on have tokens of all
// of them, which live for an hour, and SDKs keep what they read for ten minutes (the tier operations withdraws one). Whether the
// programs come through is for their own tests.
func rotateKeys(ctx context.Context, t *suites.T) {
	v := begin(t, soakKeys)
	rotator, ok := t.Env().Cluster.(cluster.SigningKeyRotator)
	if !ok {
		t.Broken("the cluster cannot rotate its signing keys, although it was planned for")
	}
	original, err := rotator.ServiceAccountKey()
	t.Must(err, "read the signing key")
	set := func(ctx context.Context, signing []byte, others ...[]byte) error {
		v.run.Restarting.Lock()
		defer v.run.Restarting.Unlock()
		return rotator.SetServiceAccountKeys(ctx, signing, others...)
	}
	keys := [][]byte{original}
	defer func() {
		if len(keys) == 1 {
			return
		}
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), awayAtMost)
		defer cancel()
		others := slices.DeleteFunc(slices.Clone(keys), func(k []byte) bool { return string(k) == string(original) })
		t.Must(set(restore, original, others...), "have the original key sign again")
	}()
	ns, account := t.Namespace(ctx), t.ServiceAccount(ctx, app, nil)
	first, err := t.Kube().CoreV1().ServiceAccounts(ns).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{t.Subject().Audience}, ExpirationSeconds: ptr.To(int64((24 * time.Hour).Seconds()))},
	}, metav1.CreateOptions{})
	t.Must(err, "request a token of the first key")
	moments := []time.Duration{v.run.Duration / 3, v.run.Duration * 2 / 3}
	if n := v.Counts["rotations"]; n > 0 {
		t.Note("%d rotations were before the interruption; none follows, as nobody has the keys any more that it would have to leave listed", n)
		moments = nil
	}
	v.keep(ctx, t, func(ctx context.Context) error {
		if n := v.Counts["rotations"]; n < len(moments) && v.run.Passed() >= moments[n] {
			key, err := suites.NewSigningKey()
			if err != nil {
				return err
			}
			v.count("rotations", 1)
			before := time.Now()
			keys = append([][]byte{key}, keys...)
			// An interruption does not leave the cluster without an API server.
			rotating, cancel := context.WithTimeout(context.WithoutCancel(ctx), awayAtMost)
			defer cancel()
			if err := set(rotating, keys[0], keys[1:]...); err != nil {
				return err
			}
			t.Note("a new key signs; the API server was restarted in %.1f s", time.Since(before).Seconds())
		}
		review, err := t.Kube().AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: first.Status.Token, Audiences: []string{t.Subject().Audience}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if !review.Status.Authenticated && time.Now().Before(first.Status.ExpirationTimestamp.Time) {
			v.failed("after %d rotations a token of the first key is refused", v.Counts["rotations"])
		}
		return nil
	})
	if v.Counts["rotations"] == 0 {
		t.Broken("the signing key was never rotated")
	}
	v.expectNoFailures(t)
}
