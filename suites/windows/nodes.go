package windows

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
	"github.com/wi-e2e/wi-e2e/suites"
	"github.com/wi-e2e/wi-e2e/suites/programs"
)

// imageTimeout is what a node may take to fetch and unpack an image beside what the test does: a Windows base has a hundred megabytes.
const imageTimeout = 10 * time.Minute

// nodeTests are those of each build of Windows, for a container's has to be that of its node: a test for each program, and those that need
// just one.
func nodeTests() []suites.Test {
	var tests []suites.Test
	for _, build := range workloads.WindowsBuilds {
		built := workloads.WindowsOf(build)
		needs := func(images ...workloads.Workload) []suites.Capability {
			all := []suites.Capability{suites.WindowsNodes, suites.WindowsNodesOf(build.Version), suites.AzureAvailable}
			for _, w := range images {
				all = append(all, suites.WorkloadImage(w.Name))
			}
			return all
		}
		for _, w := range built {
			tests = append(tests, suites.Test{
				ID:    "windows-" + w.Name,
				Title: "On a node with Windows " + build.Tag + ", " + w.Of + " finds the token on drive C: and reads a secret, as either user",
				Tier:  suites.Windows, Requirements: []string{"WIN-06", "WIN-07", "EXC-01"},
				Needs: needs(w), Trust: trusted(), Timeout: imageTimeout,
				Body: func(ctx context.Context, t *suites.T) { readOnWindows(ctx, t, w, build) },
			})
		}
		// Go's, whose bases are the smallest.
		ofGo := slices.DeleteFunc(slices.Clone(built), func(w workloads.Workload) bool { return w.Language != "go" })
		sample, neighbour := ofGo[0], ofGo[1]
		tests = append(tests, suites.Test{
			ID:    "windows-skipped-container-" + build.Tag,
			Title: "On a node with Windows " + build.Tag + " a skipped container gets no credential, and its neighbour does",
			Tier:  suites.Windows, Requirements: []string{"WIN-08"},
			Needs: needs(sample, neighbour), Trust: trusted(), Timeout: imageTimeout,
			Body: func(ctx context.Context, t *suites.T) { skipOnWindows(ctx, t, build, sample, neighbour) },
		}, suites.Test{
			ID:    "windows-deployment-" + build.Tag,
			Title: "On a node with Windows " + build.Tag + " every container of a Deployment's pod reads a secret again and again",
			Tier:  suites.Windows, Requirements: []string{"WIN-08"},
			Needs: needs(sample, neighbour), Trust: trusted(), Timeout: imageTimeout,
			Body: func(ctx context.Context, t *suites.T) { deployOnWindows(ctx, t, build, sample, neighbour) },
		})
	}
	return tests
}

// podOf is a pod for nodes with that build of Windows.
func podOf(ctx context.Context, t *suites.T, build workloads.WindowsBuild, name string, containers ...corev1.Container) *corev1.Pod {
	pod := windowsPod(ctx, t, name, containers...)
	pod.Spec.NodeSelector[corev1.LabelWindowsBuild] = build.Version
	return pod
}

func readOnWindows(ctx context.Context, t *suites.T, w workloads.Workload, build workloads.WindowsBuild) {
	for _, user := range []string{ordinaryUser, administrator} {
		t.Case(ctx, "as "+user, func(ctx context.Context, t *suites.T) {
			pod := podOf(ctx, t, build, w.Name+"-"+strings.ToLower(user), programs.New(t, app, w.Name))
			pod.Spec.SecurityContext.WindowsOptions = windowsUser(user)
			_, file := mutated(ctx, t, pod)
			all := attempts(w, file)
			programs.Attempting(t, &pod.Spec.Containers[0], all)
			expectRead(ctx, t, w, all, programs.Run(ctx, t, pod)[app])
		})
	}
}

func skipOnWindows(ctx context.Context, t *suites.T, build workloads.WindowsBuild, sample, neighbour workloads.Workload) {
	pod := podOf(ctx, t, build, "skips", programs.New(t, app, sample.Name), programs.New(t, "skipped", neighbour.Name))
	pod.Annotations = map[string]string{suites.SkipAnnotation: "skipped"}
	o := programs.Run(ctx, t, pod)
	programs.HasRead(t, "the container that is not skipped", o[app].Only(), t.Identity(app, reader).ClientID)
	programs.Refused(t, "the skipped container", o["skipped"].Only(), "token", workloads.CredentialUnavailable)
}

func deployOnWindows(ctx context.Context, t *suites.T, build workloads.WindowsBuild, sample, neighbour workloads.Workload) {
	pod := podOf(ctx, t, build, "", programs.New(t, app, sample.Name), programs.New(t, "neighbour", neighbour.Name))
	programs.ReadAgain(ctx, t, pod, t.Identity(app, reader).ClientID)
}
