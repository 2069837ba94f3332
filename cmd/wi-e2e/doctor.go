package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/diagnosis"
	"github.com/wi-e2e/wi-e2e/fixtures/doctor"
	"github.com/wi-e2e/wi-e2e/fixtures/objects"
)

func doctorCommand() *cobra.Command {
	var where clusterFlags
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the installation on a cluster, and how to mend it",
		Long: `Say what is wrong with the installation on a cluster, and how to mend it.

It looks at the webhook's registration, pods, rights, certificate and settings, at the cluster's issuer, clock and nodes, and at your
own rights, as far as a run needs them. It changes nothing: that the webhook answers is asked by a dry run. Whether the webhook does what
it should is what 'wi-e2e run' tells, and why one pod has no identity 'wi-e2e diagnose pod'.

Exit codes: 0 nothing is wrong (warnings may be told), 1 something is, 2 usage, 3 the cluster could not be read.`,
		Example: `  wi-e2e doctor --kubeconfig ~/.kube/config
  wi-e2e doctor --cluster dev --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := where.find(cmd.Context())
			if err != nil {
				return err
			}
			clients, err := objects.New(c, "doctor")
			if err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			var d diagnosis.Diagnosis
			err = shown(console, "doctor", func() error {
				console.PhaseNote("reading the installation and what is around it")
				s, err := doctor.Collect(cmd.Context(), clients, &http.Client{})
				if err == nil {
					d = doctor.Examine(s)
				}
				return err
			})
			console.Close()
			if err != nil {
				return err
			}
			return printDiagnosis(output, diagnosed{Cluster: c.Name()}, d)
		},
	}
	where.register(cmd)
	cmd.Flags().StringVar(&output, "output", outputText, "how to print: "+outputText+", "+outputJSON)
	return cmd
}
