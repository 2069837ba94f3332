package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/attestation"
)

func attestCommand() *cobra.Command {
	var keyFile, output string
	cmd := &cobra.Command{
		Use:   "attest --key FILE RECORD",
		Short: "Sign what a run came to, bound to the images that it tested",
		Long: `Sign what a run came to, bound to the images that it tested: an in-toto statement with the predicate
` + attestation.PredicateType + `, in a DSSE envelope.

The key is an ed25519 key in PKCS #8 (PEM), as 'openssl genpkey -algorithm ed25519' makes it.`,
		Example: `  openssl genpkey -algorithm ed25519 -out release.pem && openssl pkey -in release.pem -pubout -out release.pub.pem
  wi-e2e report attest --key release.pem --output record.intoto.json wi-e2e-results/record.json
  wi-e2e report verify --key release.pub.pem --record wi-e2e-results/record.json record.intoto.json`,
		Args: oneArgument("RECORD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" {
				return fmt.Errorf("an attestation needs a key: --key FILE (%w)", errUsage)
			}
			key, err := attestation.ReadPrivateKey(keyFile)
			if err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			record, data, err := oneRecord(args[0])
			if err != nil {
				return err
			}
			envelope, err := attestation.Sign(cmd.Context(), record, data, key)
			if err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			return writeOutput(cmd.OutOrStdout(), output, envelope)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`FILE` of the private key (PEM)")
	cmd.Flags().StringVar(&output, "output", "", "`FILE` to write to (default: stdout)")
	return cmd
}

func verifyCommand() *cobra.Command {
	var keyFile, recordFile string
	var secrets bool
	cmd := &cobra.Command{
		Use:   "verify {ATTESTATION | PATH...}",
		Short: "Verify an attestation, or that nothing in files is secret, before they are published",
		Long: `Verify the signature of an attestation, and print what it says. With a record: also that it is the one that was attested.

Exit codes: 0 it can be relied on, 1 it cannot. What it says, be it FAILED, is for 'wi-e2e gate' to judge.

With --secrets: verify that no token, key, credential or secret of a run is in files, or in files below directories, be they packed (gzip, tar,
zip) or not. What is found is named by file, line and kind, and never shown.

Exit codes: 0 nothing was found, 1 something was, 2 usage, 3 not everything could be looked at: a file that cannot be read, is too large or
compressed in another way, a directory without files.`,
		Example: `  wi-e2e report verify --key release.pub.pem --record wi-e2e-results/record.json record.intoto.json
  wi-e2e report verify --secrets wi-e2e-results && upload wi-e2e-results`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case !secrets:
				return oneArgument("ATTESTATION")(cmd, args)
			case keyFile != "" || recordFile != "":
				return fmt.Errorf("--secrets looks into files, and --key and --record are about an attestation: one at a time (%w)", errUsage)
			case len(args) == 0:
				return fmt.Errorf("%s --secrets takes files or directories: name the output directory of a run (%w)", cmd.CommandPath(), errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if secrets {
				return verifySecrets(cmd, args)
			}
			if keyFile == "" {
				return fmt.Errorf("a signature is verified with a public key: --key FILE (%w)", errUsage)
			}
			key, err := publicKey(keyFile)
			if err != nil {
				return err
			}
			envelope, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the attestation: %w (%w)", err, errUsage)
			}
			var record *reports.Record
			var data []byte
			if recordFile != "" {
				if record, data, err = oneRecord(recordFile); err != nil {
					return err
				}
			}
			a, err := attestation.Verify(cmd.Context(), envelope, key)
			if err == nil && record != nil {
				err = a.About(record, data)
			}
			if err != nil {
				complain(cmd.ErrOrStderr(), fmt.Errorf("%s: %w", args[0], err))
				return exitError(reports.ExitFailed)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", a.Result(), strings.Join(a.Subjects(), " "))
			return err
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "`FILE` of the public key (PEM)")
	cmd.Flags().StringVar(&recordFile, "record", "", "`RECORD` that the attestation has to be about")
	cmd.Flags().BoolVar(&secrets, "secrets", false, "look for secrets in files and directories")
	return cmd
}

// oneRecord reads a file of one record, with its bytes.
func oneRecord(path string) (*reports.Record, []byte, error) {
	files, err := recordFiles([]string{path})
	if err != nil {
		return nil, nil, err
	}
	if n := len(files[0].Records); n != 1 {
		return nil, nil, fmt.Errorf("%s holds %d records, want one (%w)", path, n, errUsage)
	}
	return files[0].Records[0], files[0].Data, nil
}
