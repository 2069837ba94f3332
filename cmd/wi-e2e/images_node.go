package main

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/cluster/kind"
	"github.com/wi-e2e/wi-e2e/fixtures/cluster/local/binaries"
	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/images/kindnode"
)

func imagesNodeCommand() *cobra.Command {
	var kubernetes, output string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Build a node image for kind without a container registry",
		Long: `Build a node image for kind without a container registry, of Debian packages and Go modules, and load it into the container
engine. Clusters of that Kubernetes version are made of it from then on.`,
		Example: `  wi-e2e images node && wi-e2e run --provider kind
  wi-e2e images node --kubernetes-version 1.35
  wi-e2e images node --output node.tar`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, err := binaries.Resolve(cmd.Context(), kubernetes)
			if err != nil {
				return err
			}
			console := newConsole()
			defer console.Close()
			var img v1.Image
			var ref string
			err = shown(console, "node image", func() (err error) {
				if img, ref, err = kindnode.Build(cmd.Context(), version, console.PhaseNote); err != nil {
					return err
				}
				if output != "" {
					return images.Save(cmd.Context(), img, ref, output)
				}
				return kind.LoadNodeImage(cmd.Context(), img, ref, console.PhaseNote)
			})
			console.Close()
			if err != nil {
				return err
			}
			id, err := img.ConfigName()
			if err != nil {
				return fmt.Errorf("name the node image: %w", err)
			}
			_, err = fmt.Printf("%s %s\n", ref, id)
			return err
		},
	}
	cmd.Flags().StringVar(&kubernetes, "kubernetes-version", "", "Kubernetes `VERSION`, such as 1.36 or v1.34.4 (default "+binaries.DefaultKubernetesVersion+")")
	cmd.Flags().StringVar(&output, "output", "", "docker-archive `FILE` to write instead of loading the image")
	return cmd
}
