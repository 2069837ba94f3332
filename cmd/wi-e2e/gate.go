package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/attestation"
	"github.com/wi-e2e/wi-e2e/reports/gate"
	"github.com/wi-e2e/wi-e2e/suites"
)

func gateCommand() *cobra.Command {
	var policyFile, keyFile string
	var digests, attestations, baseline []string
	cmd := &cobra.Command{
		Use:   "gate --policy FILE RECORD...",
		Short: "Decide by a policy whether the records let a release go out",
		Long: `Decide by a policy whether the records let a release go out. Each clause is printed with its verdict.

The policy (GatePolicy of ` + reports.APIVersion + `) says which levels of requirements have to hold, for which reasons tests may be
skipped, how many waivers may be made use of, what has to be covered, and how old a record may be. What belongs to one release
is named by flags: the digests of the candidate's images, the records of the release before, attestations and whose key they
are signed with. What is named is held against the records whether or not the policy asks for it.

Exit codes: 0 every clause is fulfilled, 4 refused, 2 the policy or a record cannot be read.`,
		Example: `  wi-e2e gate --policy gate.yaml wi-e2e-results/record.json
  wi-e2e gate --policy gate.yaml --digest sha256:0123… --baseline v1.5.1.json --attestation record.intoto.json --key release.pub.pem record.json`,
		Args: someRecords,
		RunE: func(cmd *cobra.Command, args []string) error {
			if policyFile == "" {
				return fmt.Errorf("a gate needs a policy: --policy FILE (%w)", errUsage)
			}
			policy, err := gate.LoadPolicy(policyFile)
			if err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			evidence := gate.Evidence{Now: time.Now(), Digests: digests}
			for _, d := range digests {
				if raw, err := hex.DecodeString(strings.TrimPrefix(d, "sha256:")); err != nil || len(raw) != 32 || !strings.HasPrefix(d, "sha256:") {
					return fmt.Errorf("--digest %q is not like sha256:… with 64 hexadecimal digits (%w)", d, errUsage)
				}
			}
			if evidence.Rules, err = rules(); err != nil {
				return err
			}
			if evidence.Files, err = recordFiles(args); err != nil {
				return err
			}
			if len(baseline) > 0 {
				if evidence.Baseline, err = loadRecords(baseline); err != nil {
					return err
				}
			}
			if keyFile != "" {
				if evidence.Key, err = publicKey(keyFile); err != nil {
					return err
				}
			}
			for _, path := range attestations {
				envelope, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("read the attestation: %w (%w)", err, errUsage)
				}
				evidence.Attestations = append(evidence.Attestations, envelope)
			}
			decision := gate.Decide(cmd.Context(), policy, evidence)
			if err := decision.Write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !decision.Passed() {
				return exitError(reports.ExitRefused)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&policyFile, "policy", "", "`FILE` of the policy")
	flags.StringArrayVar(&digests, "digest", nil, "`DIGEST` of an image of the release candidate, sha256:… (repeatable)")
	flags.StringArrayVar(&baseline, "baseline", nil, "`RECORD` of the release before (repeatable)")
	flags.StringArrayVar(&attestations, "attestation", nil, "`FILE` that 'wi-e2e report attest' wrote (repeatable)")
	flags.StringVar(&keyFile, "key", "", "`FILE` of the public key that signed the attestations (PEM)")
	return cmd
}

// rules are the catalogue's requirements.
func rules() ([]gate.Rule, error) {
	catalogue, err := suites.Catalogue()
	if err != nil {
		return nil, err
	}
	var all []gate.Rule
	for _, q := range catalogue {
		all = append(all, gate.Rule{ID: q.ID, Level: string(q.Level)})
	}
	return all, nil
}

// recordFiles reads files with their bytes, which attestations are about.
func recordFiles(paths []string) ([]gate.File, error) {
	var files []gate.File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read record: %w (%w)", err, errUsage)
		}
		records, err := reports.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("read record %s: %w (%w)", path, err, errUsage)
		}
		files = append(files, gate.File{Name: path, Data: data, Records: records})
	}
	return files, nil
}

func publicKey(path string) (ed25519.PublicKey, error) {
	key, err := attestation.ReadPublicKey(path)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	}
	return key, nil
}
