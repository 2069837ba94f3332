package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wi-e2e/wi-e2e/fixtures/azure/emulated"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster"
	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/redact"
	"github.com/wi-e2e/wi-e2e/suites"
)

func diagnoseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diagnose",
		Short: "Say why workload identity does not work",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(diagnosePodCommand())
	return cmd
}

// diagnoseOptions are the flags of 'diagnose pod'.
type diagnoseOptions struct {
	where   clusterFlags
	image   string
	noProbe bool
	output  string
}

func diagnosePodCommand() *cobra.Command {
	var options diagnoseOptions
	cmd := &cobra.Command{
		Use:   "pod NAMESPACE/NAME",
		Short: "Say why workload identity does not work in a pod",
		Long: `Say why workload identity does not work in a pod.

It reads the pod and what is around it, and has a short-lived pod of the same service account, on the same node, exchange its
token as the pod would: so it knows what Entra ID answers, and needs no right in Azure. That takes an image of wi-e2e, which is
loaded into a cluster of wi-e2e's own, and has to be named for any other. No token leaves the cluster, and none is printed.

The cause that explains the others comes first. Each finding names the rule that it is about ('wi-e2e list requirements').

Exit codes: 0 nothing is wrong (warnings may be told), 1 something is, 2 usage or no such pod, 3 the cluster could not be read.`,
		Example: `  wi-e2e diagnose pod shop/cart-7d9c --cluster dev
  wi-e2e diagnose pod shop/cart-7d9c --kubeconfig ~/.kube/config --image registry.example/wi-e2e:1
  wi-e2e diagnose pod shop/cart-7d9c --kubeconfig ~/.kube/config --no-probe --output json`,
		Args: oneArgument("the pod as NAMESPACE/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pod, err := options.validate(args[0])
			if err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			var d diagnosis.Diagnosis
			err = shown(console, "diagnose", func() (err error) {
				d, err = options.diagnose(cmd.Context(), pod, console.PhaseNote)
				return err
			})
			console.Close()
			if errors.Is(err, diagnosis.ErrNoPod) {
				return fmt.Errorf("%w: a Deployment whose pods are refused has none; its ReplicaSet's events say why: kubectl -n %s describe replicasets (%w)",
					err, pod.Namespace, errUsage)
			}
			if err != nil {
				return err
			}
			return printDiagnosis(options.output, diagnosed{Pod: pod.String()}, d)
		},
	}
	options.where.register(cmd)
	cmd.Flags().StringVar(&options.image, "image", "", "wi-e2e `IMAGE` that the cluster can pull (default: this binary's, loaded into the local cluster)")
	cmd.Flags().BoolVar(&options.noProbe, "no-probe", false, "do not try the exchange: create nothing in the cluster")
	cmd.Flags().StringVar(&options.output, "output", outputText, "how to print: "+outputText+", "+outputJSON)
	return cmd
}

// printDiagnosis prints, and returns the exit code of something broken.
func printDiagnosis(output string, of diagnosed, d diagnosis.Diagnosis) error {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return err
	}
	d = redact.Copy(redact.FromEnvironment(), d) // what servers answered is in it
	if output == outputJSON {
		err = writeDiagnosisJSON(os.Stdout, of, d, catalogue)
	} else {
		err = writeDiagnosis(os.Stdout, of, d, catalogue, inColor(os.Stdout))
	}
	if err != nil {
		return fmt.Errorf("print the diagnosis: %w", err)
	}
	if d.Broken() {
		return exitError(reports.ExitFailed)
	}
	return nil
}

const (
	outputText = "text"
	outputJSON = "json"
)

func checkOutput(output string) error {
	if output != outputText && output != outputJSON {
		return fmt.Errorf("--output is %s or %s, not %q (%w)", outputText, outputJSON, output, errUsage)
	}
	return nil
}

func (o *diagnoseOptions) validate(pod string) (types.NamespacedName, error) {
	namespace, name, ok := strings.Cut(pod, "/")
	switch {
	case !ok || namespace == "" || name == "" || strings.Contains(name, "/"):
		return types.NamespacedName{}, fmt.Errorf("%q is not NAMESPACE/NAME (%w)", pod, errUsage)
	case checkOutput(o.output) != nil:
		return types.NamespacedName{}, checkOutput(o.output)
	case o.noProbe && o.image != "":
		return types.NamespacedName{}, fmt.Errorf("--image is the probe's, and --no-probe wants none: leave one of them out (%w)", errUsage)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, o.where.validate()
}

func (o *diagnoseOptions) diagnose(ctx context.Context, pod types.NamespacedName, progress func(string)) (diagnosis.Diagnosis, error) {
	c, err := o.where.find(ctx)
	if err != nil {
		return diagnosis.Diagnosis{}, err
	}
	clients, err := objects.New(c, "diagnose")
	if err != nil {
		return diagnosis.Diagnosis{}, err
	}
	progress("reading the pod and what is around it")
	s, err := diagnosis.Collect(ctx, clients.Kube, &http.Client{}, pod)
	if err != nil {
		return diagnosis.Diagnosis{}, err
	}
	if why := o.exchange(ctx, c, clients, s, progress); why != nil {
		if ctx.Err() != nil {
			return diagnosis.Diagnosis{}, why
		}
		s.NotRead = append(s.NotRead, "the exchange of the token at Entra ID: "+why.Error())
	}
	return diagnosis.Diagnose(s), nil
}

// exchange has a probe try the exchange. An error is why there is no result: what was read of the cluster holds without one.
func (o *diagnoseOptions) exchange(ctx context.Context, c cluster.Cluster, clients *objects.Clients, s *diagnosis.Snapshot, progress func(string)) error {
	prober := diagnosis.Prober{Kube: clients.Kube, Image: o.image}
	switch {
	case o.noProbe:
		return errors.New("not wanted (--no-probe)")
	case o.image == "" && o.where.other():
		return errors.New("it takes an image of wi-e2e that the cluster can pull (--image)")
	case !s.Exchangeable():
		return diagnosis.ErrNothingToExchange
	}
	var err error
	if o.image == "" {
		progress("loading the probe's image")
		prober.Image, err = images.LoadSelf(ctx, func(ctx context.Context, _, archive string) error { return c.LoadImageArchive(ctx, archive) })
		if err != nil {
			return err
		}
	}
	if prober.CA, err = emulatorCA(ctx, clients, s.Pod); err != nil {
		return err
	}
	progress("exchanging a token as the pod would")
	return prober.Try(ctx, s)
}

// emulatorCA is the certificate authority of the Azure emulator, if the pod takes that for Azure.
func emulatorCA(ctx context.Context, clients *objects.Clients, pod *corev1.Pod) (string, error) {
	if len(pod.Spec.HostAliases) == 0 {
		return "", nil
	}
	e, err := emulated.Find(ctx, clients.Config, emulated.DevelopmentNamespace)
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		return "", nil
	case err != nil:
		return "", err
	}
	defer e.Close()
	if !slices.ContainsFunc(pod.Spec.HostAliases, func(a corev1.HostAlias) bool { return a.IP == e.Address }) {
		return "", nil
	}
	return string(e.CA), nil
}
