package soak

import (
	"bufio"
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// programTests are one for each language.
func programTests() []suites.Test {
	var tests []suites.Test
	for _, name := range []string{"dotnet-azidentity", "go-azidentity", "java-azidentity", "node-azidentity", "python-azidentity"} {
		test := "soak-" + name
		tests = append(tests, suites.Test{
			ID:    test,
			Title: "A program with " + name + " exchanges and reads on, without a failure, a restart or a leak",
			Tier:  suites.Soak, Requirements: []string{"EXC-01"},
			Needs: needs(suites.WorkloadImage(name)),
			Trust: []suites.Trust{{Account: app, Identity: reader}},
			Body:  func(ctx context.Context, t *suites.T) { soakProgram(ctx, t, test, name) },
		})
	}
	return tests
}

func soakProgram(ctx context.Context, t *suites.T, test, name string) {
	v := begin(t, test)
	shortened(ctx, t)
	pod := programs.Pod(ctx, t, "", app, programs.New(t, name, name))
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
	running := programs.Start(ctx, t, "soak", pod)
	log := &log{running: running, container: name}
	began, err := running.Pod(ctx, t)
	t.Must(err, "get the pod of %s", name)
	local := true
	v.keep(ctx, t, func(ctx context.Context) error {
		now, err := running.Pod(ctx, t)
		if err != nil {
			return err
		}
		if again := restarted(now); len(again) > v.Counts["restarts"] {
			v.count("restarts", len(again)-v.Counts["restarts"])
			v.failed("container %s of pod %s was started again", strings.Join(again, ", "), now.Name)
		}
		if err := log.read(ctx, t, began, v); err != nil {
			return err
		}
		u, err := usageOf("/proc", began.UID)
		if err != nil {
			return err
		}
		if local = u.processes > 0; local {
			v.sample(name+" in pod "+began.Name, u)
		}
		return nil
	})
	reads := v.Counts["reads"]
	t.Note("%d reads", reads)
	t.Require(reads > 0, "the program of %s has read nothing in the whole soak", name)
	v.expectNoFailures(t)
	if !local {
		t.Note("the pod runs on another machine: its memory and open files are out of sight")
		return
	}
	v.expectNoLeaks(t)
}

// shortened has Azure give short tokens for the whole soak. It ends with the run's emulator.
func shortened(ctx context.Context, t *suites.T) {
	t.Must(t.Azure().ShortenTokens(ctx, exchangedSoon), "have Azure give short tokens")
}

// log is what a program prints, read on from where the last reading ended.
type log struct {
	running   *programs.Running
	container string
	last      time.Time
}

// read counts the results since the last time.
func (l *log) read(ctx context.Context, t *suites.T, pod *corev1.Pod, v *vigil) error {
	options := &corev1.PodLogOptions{Container: l.container, Timestamps: true}
	if !l.last.IsZero() {
		options.SinceTime = ptr.To(metav1.NewTime(l.last)) // to the second, so that some lines come again
	}
	stream, err := t.Kube().CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || !at.After(l.last) {
			continue
		}
		l.last = at
		results, err := workloads.Parse([]byte(text))
		if err != nil {
			continue // some runtimes talk
		}
		for _, r := range results {
			v.count("reads", 1)
			switch {
			case !r.OK:
				v.failed("container %s of pod %s, read at %s: %s", l.container, pod.Name, at.Format(time.TimeOnly), programs.Describe(r))
			case r.SecretSHA256 != t.Azure().SecretSHA256:
				v.failed("container %s of pod %s, read at %s: another secret", l.container, pod.Name, at.Format(time.TimeOnly))
			}
		}
	}
	return lines.Err()
}
