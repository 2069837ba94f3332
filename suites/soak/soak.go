// Package soak is the tier that lasts for hours: programs of every language exchange and read on through renewals of their tokens,
// restarts of the webhook and rotations of the signing key, and neither they nor the webhook leak (VOL-08, OPS-02, OPS-05, EXC-01).
//
// A run has it only if it is asked for a duration (wi-e2e soak). What a test has found so far it keeps, so that a soak that was
// interrupted goes on. What a webhook does to a pod is for the other tiers.
package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/wi-e2e/wi-e2e/suites"
)

// app is the service account of the programs, which reader trusts.
const app = "app"

var reader = suites.Identity{Name: "reader", Reads: true}

const (
	// exchangedSoon is less than the five minutes for which SDKs want a token to be good still, so that they exchange at each reading.
	exchangedSoon = time.Minute
	// awayAtMost is how long the API server may be away when a key is rotated, or its machine is busy.
	awayAtMost = 2 * time.Minute
	mebibyte   = 1 << 20
	// memoryAllowance and descriptorAllowance are what a process may grow by in the whole of a soak. A leak is what has grown by more,
	// with the confidence of a trend: in 8 hours, a quarter of which is warm-up, 64 MiB are 3.1 KiB a second.
	memoryAllowance     = 64 * mebibyte
	descriptorAllowance = 16
)

// leaks says whether something has grown by more than is allowed.
func leaks(t trend, allowance float64) bool { return t.growth() > allowance }

// Tests are all tests of the tier. They run side by side.
func Tests() []suites.Test {
	return slices.Concat(programTests(), []suites.Test{webhookTest(), keysTest(), renewalTest()})
}

// needs are those of tests whose programs exchange at each reading.
func needs(more ...suites.Capability) []suites.Capability {
	return append([]suites.Capability{suites.Nodes, suites.AzureAvailable, suites.ShortTokens}, more...)
}

// found is what a test has found so far, as its checkpoint has it.
type found struct {
	Failures []string           `json:"failures,omitempty"`
	Counts   map[string]int     `json:"counts,omitempty"`
	Series   map[string]*series `json:"series,omitempty"`
}

// series are the samples of the processes of a pod.
type series struct {
	Began       time.Time `json:"began"`
	Descriptors []Sample  `json:"descriptors"`
	Memory      []Sample  `json:"memory"`
}

// vigil is a test of the tier, while it lasts.
type vigil struct {
	test string
	run  *suites.LongRun

	mu sync.Mutex
	found
}

// begin goes on with what was found before an interruption.
func begin(t *suites.T, test string) *vigil {
	run := t.Env().LongRun
	if run == nil {
		t.Broken("the tests of this tier need a duration, although they were planned")
	}
	v := &vigil{test: test, run: run}
	if before, ok := run.Earlier[test]; ok {
		t.Must(json.Unmarshal(before, &v.found), "read what was found before the interruption")
		t.Note("goes on after an interruption, %s of %s having passed", run.Passed().Round(time.Second), run.Duration)
	}
	if v.Counts == nil {
		v.Counts = map[string]int{}
	}
	if v.Series == nil {
		v.Series = map[string]*series{}
	}
	return v
}

// interval between two looks: enough of them for a trend in the shortest soak, and no more than one in five seconds.
func (v *vigil) interval() time.Duration {
	return min(time.Minute, max(time.Second, v.run.Duration/240))
}

// keep looks again and again until the soak's end, and writes down what was found. An API server that is away does not end the
// soak; one that stays away does.
func (v *vigil) keep(ctx context.Context, t *suites.T, look func(ctx context.Context) error) {
	ticker := time.NewTicker(v.interval())
	defer ticker.Stop()
	for {
		err := wait.PollUntilContextTimeout(ctx, time.Second, awayAtMost, true, func(ctx context.Context) (bool, error) {
			err := look(ctx)
			if err != nil && away(err) {
				return false, nil
			}
			return true, err
		})
		t.Must(err, "look at what soaks")
		v.mu.Lock()
		err = v.run.Keep(v.test, v.found)
		v.mu.Unlock()
		t.Must(err, "keep what was found")
		if !time.Now().Before(v.run.Ends) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Must(context.Cause(ctx), "soak")
		}
	}
}

// away says whether there was no answer of the API server, or one that only says that it cannot answer now.
func away(err error) bool {
	var status apierrors.APIStatus
	return !errors.As(err, &status) || status.Status().Code >= 500 || status.Status().Code == 429 || status.Status().Code == 401
}

// failed keeps a failure of the subject, with its time.
func (v *vigil) failed(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Counts["failures"]++
	if len(v.Failures) < 20 { // the first ones tell most
		v.Failures = append(v.Failures, time.Now().UTC().Format("2006-01-02 15:04:05 ")+fmt.Sprintf(format, args...))
	}
}

func (v *vigil) count(what string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Counts[what] += n
}

// sample adds a sample to those of a process.
func (v *vigil) sample(process string, u usage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.Series[process]
	if !ok {
		s = &series{Began: time.Now()}
		v.Series[process] = s
	}
	at := time.Since(s.Began).Seconds()
	s.Descriptors = append(s.Descriptors, Sample{at, u.Descriptors})
	s.Memory = append(s.Memory, Sample{at, u.Memory})
}

// expectNoFailures of those that were kept.
func (v *vigil) expectNoFailures(t *suites.T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t.Check(len(v.Failures) == 0, "%d failures: %s", v.Counts["failures"], strings.Join(v.Failures, "; "))
}

// expectNoLeaks judges every process that was there for long enough. If there is none, nothing is known.
func (v *vigil) expectNoLeaks(t *suites.T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	judged := 0
	for process, s := range v.Series {
		descriptors, enough := fit(s.Descriptors)
		memory, _ := fit(s.Memory)
		if !enough {
			t.Note("%s: %d samples, too few for a trend", process, len(s.Memory))
			continue
		}
		judged++
		last := s.Memory[len(s.Memory)-1]
		t.Note("%s: %.1f MiB and %.0f open files in the end; in %.0f s memory grows by %.2f KiB/s (%.2f at least), open files by %.3f/min (%.3f at least)",
			process, last.Value/mebibyte, s.Descriptors[len(s.Descriptors)-1].Value, memory.seconds, memory.slope/1024, memory.least/1024,
			descriptors.slope*60, descriptors.least*60)
		t.Check(!leaks(memory, memoryAllowance), "%s leaks memory: it grows by %.1f KiB/s, with 99.9 %% confidence by at least %.1f KiB/s, which is %.0f MiB in %.0f s (%d MiB are allowed)",
			process, memory.slope/1024, memory.least/1024, memory.growth()/mebibyte, memory.seconds, memoryAllowance/mebibyte)
		t.Check(!leaks(descriptors, descriptorAllowance), "%s leaks file descriptors: it opens %.1f a minute more than it closes, with 99.9 %% confidence at least %.1f, which is %.0f in %.0f s (%d are allowed)",
			process, descriptors.slope*60, descriptors.least*60, descriptors.growth(), descriptors.seconds, descriptorAllowance)
	}
	if judged == 0 {
		t.Broken("nothing was sampled for long enough to see a leak: the soak is too short, or the processes ended again and again")
	}
}

// restarted names the containers of a pod that were started again.
func restarted(pod *corev1.Pod) []string {
	var names []string
	for _, c := range pod.Status.ContainerStatuses {
		if c.RestartCount > 0 {
			why := ""
			if last := c.LastTerminationState.Terminated; last != nil {
				why = fmt.Sprintf(" (%s, exit code %d)", last.Reason, last.ExitCode)
			}
			names = append(names, c.Name+why)
		}
	}
	return names
}
