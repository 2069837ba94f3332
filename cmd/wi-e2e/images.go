package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/fixtures/images"
	"github.com/wi-e2e/wi-e2e/fixtures/images/registry"
	"github.com/wi-e2e/wi-e2e/fixtures/workloads"
)

func imagesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Build, fetch and publish the images of the workloads",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(imagesListCommand(), imagesBuildCommand(), imagesPullCommand(), imagesPushCommand(), imagesSaveCommand(), imagesNodeCommand())
	return cmd
}

func imagesListCommand() *cobra.Command {
	var versions string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the workloads and how their images are made",
		Example: "  wi-e2e images list --sdk-versions minimum",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			set, err := parseVersions(versions)
			if err != nil {
				return err
			}
			out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "NAME\tLANGUAGE\tLIBRARY\tMINIMUM\tOS\tIMAGE")
			for _, w := range workloads.All() {
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", w.Name, w.Language, w.Library, orDash(w.Minimum), strings.Join(w.OS, ","), howMade(w, set))
			}
			return out.Flush()
		},
	}
	versionsFlag(cmd, &versions)
	return cmd
}

// howMade says how a workload's image comes about, and why it does not.
func howMade(w workloads.Workload, versions workloads.Versions) string {
	switch err := w.Available(versions); {
	case errors.Is(err, workloads.ErrUnavailable) && w.Published() != "":
		return "not here: fetch it by wi-e2e images pull " + w.Name + " (" + w.Published() + ")"
	case errors.Is(err, workloads.ErrUnavailable):
		return "not here: build it by wi-e2e images build " + w.Name + " --engine docker|podman|buildah"
	case err != nil:
		return "none: " + err.Error()
	case w.Published() != "":
		return "kept, " + w.Published()
	case versions == workloads.Newest && w.Kept():
		return "kept, built by its Containerfile"
	case w.Containerfile:
		return "built when it is needed; of the newest versions by its Containerfile: wi-e2e images build " + w.Name + " --engine docker|podman|buildah"
	}
	return "built when it is needed"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func imagesBuildCommand() *cobra.Command {
	var versions, engine string
	cmd := &cobra.Command{
		Use:   "build [NAME...]",
		Short: "Build images of workloads and print their names and IDs",
		Long: `Build images of workloads and print their names and IDs.

Without names: every image that takes no container engine. Those are made of Debian packages and of the packages of
their language, once; the same inputs give the same image.

With an engine: every image that has a Containerfile is built by that. Of a workload whose newest versions take it, the
image is kept, and used by the runs that follow.`,
		Example: `  wi-e2e images build
  wi-e2e images build java-msal --sdk-versions newest
  wi-e2e images build dotnet-azidentity dotnet-msal --engine podman`,
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := parseVersions(versions)
			if err != nil {
				return err
			}
			if engine != "" {
				return buildContainerfiles(cmd, args, set, engine)
			}
			return eachImage(cmd, args, availableAs(set), func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error) {
				return workloads.Build(ctx, w.Name, set, note)
			})
		},
	}
	versionsFlag(cmd, &versions)
	cmd.Flags().StringVar(&engine, "engine", "", "build by Containerfile with this `ENGINE`: docker, podman or buildah")
	return cmd
}

// buildContainerfiles has an engine build the named workloads, or all that have a Containerfile.
func buildContainerfiles(cmd *cobra.Command, names []string, versions workloads.Versions, engine string) error {
	if versions != workloads.Newest {
		return fmt.Errorf("an engine builds the newest versions: leave --engine or --sdk-versions out (%w)", errUsage)
	}
	for _, name := range names {
		if w, err := workloads.Find(name); err != nil || !w.HasContainerfile() {
			return fmt.Errorf("%w (%w)", cmp.Or(err, errors.New(name+" has no Containerfile: leave --engine out")), errUsage)
		}
	}
	found, err := images.FindEngine(engine)
	if errors.Is(err, images.ErrUnknownEngine) {
		return fmt.Errorf("--engine: %w (%w)", err, errUsage)
	}
	if err != nil {
		return err
	}
	return eachImage(cmd, names, workloads.Workload.HasContainerfile,
		func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error) {
			return workloads.BuildContainerfile(ctx, w.Name, found, note)
		})
}

func imagesPullCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "pull NAME...",
		Short:   "Fetch the images of workloads that others publish, for the runs that follow",
		Example: "  wi-e2e images pull upstream-msal-go",
		Args:    publishedWorkloads,
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachImage(cmd, args, nil, func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error) {
				return workloads.Pull(ctx, w.Name, runtime.GOARCH, note)
			})
		},
	}
}

func imagesPushCommand() *cobra.Command {
	var versions, repository string
	cmd := &cobra.Command{
		Use:   "push [NAME...]",
		Short: "Build images of workloads and push them to a repository",
		Long: `Build images of workloads and push them to a repository, each as an image below it. Credentials are those of docker login.

A run on an existing cluster pushes what it needs by itself: wi-e2e run --image-repository.`,
		Example: "  wi-e2e images push --repository registry.example.com/wi-e2e",
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := parseVersions(versions)
			if err != nil {
				return err
			}
			if err := registry.CheckRepository(repository); err != nil {
				return fmt.Errorf("--repository: %w (%w)", err, errUsage)
			}
			return eachImage(cmd, args, availableAs(set), func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error) {
				img, ref, err := workloads.Build(ctx, w.Name, set, note)
				if err != nil {
					return nil, "", err
				}
				ref = registry.InRepository(repository, ref)
				return img, ref, registry.Push(ctx, img, ref, note)
			})
		},
	}
	versionsFlag(cmd, &versions)
	cmd.Flags().StringVar(&repository, "repository", "", "`REPOSITORY` to push to")
	return cmd
}

func imagesSaveCommand() *cobra.Command {
	var versions, output string
	cmd := &cobra.Command{
		Use:     "save [NAME...]",
		Short:   "Build images of workloads and write them to a docker-archive",
		Example: "  wi-e2e images save --output workloads.tar && docker load -i workloads.tar",
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := parseVersions(versions)
			if err != nil {
				return err
			}
			if output == "" {
				return fmt.Errorf("--output names the file to write (%w)", errUsage)
			}
			all := map[string]v1.Image{}
			err = eachImage(cmd, args, availableAs(set), func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error) {
				img, ref, err := workloads.Build(ctx, w.Name, set, note)
				all[ref] = img
				return img, ref, err
			})
			if err != nil {
				return err
			}
			return images.SaveAll(cmd.Context(), output, all)
		},
	}
	versionsFlag(cmd, &versions)
	cmd.Flags().StringVar(&output, "output", "", "docker-archive `FILE` to write")
	return cmd
}

func versionsFlag(cmd *cobra.Command, versions *string) {
	cmd.Flags().StringVar(versions, "sdk-versions", string(workloads.Newest), "SDK `VERSIONS`: newest or minimum")
}

func parseVersions(text string) (workloads.Versions, error) {
	if v := workloads.Versions(text); slices.Contains(workloads.AllVersions, v) {
		return v, nil
	}
	return "", fmt.Errorf("unknown SDK versions %q: there are newest and minimum (%w)", text, errUsage)
}

// publishedWorkloads wants the names of workloads whose images others publish.
func publishedWorkloads(_ *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("name a workload: see wi-e2e images list (%w)", errUsage)
	}
	for _, name := range names {
		if w, err := workloads.Find(name); err == nil && w.Published() == "" {
			return fmt.Errorf("nobody publishes the image of %s: it is built (%w)", name, errUsage)
		}
	}
	return nil
}

// availableAs picks the workloads whose images can be made here.
func availableAs(versions workloads.Versions) func(workloads.Workload) bool {
	return func(w workloads.Workload) bool { return w.Available(versions) == nil }
}

// eachImage makes the image of each named workload or, without names, of each one picked, and prints a line for it. Unknown
// names are found before anything is made.
func eachImage(cmd *cobra.Command, names []string, picked func(workloads.Workload) bool,
	do func(ctx context.Context, w workloads.Workload, note func(string)) (v1.Image, string, error)) error {
	var selected []workloads.Workload
	for _, name := range names {
		w, err := workloads.Find(name)
		if err != nil {
			return fmt.Errorf("%w (%w)", err, errUsage)
		}
		selected = append(selected, w)
	}
	if len(names) == 0 {
		selected = slices.DeleteFunc(workloads.Catalogue(), func(w workloads.Workload) bool { return !picked(w) })
	}
	console := newConsole()
	defer console.Close()
	for _, w := range selected {
		var img v1.Image
		var ref string
		err := shown(console, w.Name, func() (err error) {
			img, ref, err = do(cmd.Context(), w, console.PhaseNote)
			return err
		})
		if err != nil {
			return err
		}
		id, err := img.ConfigName()
		if err != nil {
			return fmt.Errorf("name the image of %s: %w", w.Name, err)
		}
		fmt.Printf("%s %s\n", ref, id)
	}
	return nil
}
