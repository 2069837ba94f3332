package reports

import (
	"time"
)

// at is a moment of the sample run, seconds after its start.
func at(seconds float64) time.Time {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

func newRecord(status Status, exitCode int, reason string) *Record {
	return &Record{
		APIVersion: APIVersion, Kind: Kind,
		Run: Run{
			ID: "r-7k2m", Version: "v0.1.0", Command: []string{"wi-e2e", "run"}, Seed: 42,
			Started: at(0), Finished: at(21.5), Seconds: 21.5,
		},
		Verdict: Verdict{Status: status, ExitCode: exitCode, Reason: reason},
		Cluster: Cluster{
			Provider: "local", Name: "wi-e2e", Kubernetes: "v1.36.3", Nodes: 1,
			Issuer: "https://kubernetes.default.svc", Capabilities: []string{"nodes"},
		},
		Subject: Subject{
			Kind: "manifest", Namespace: "azure-workload-identity-system", Version: "v1.5.1",
			Profile: "1.5.1", ProfileBy: "image tag",
			Images: []Image{{Name: "mcr.microsoft.com/oss/azure/workload-identity/webhook:v1.5.1", Digest: "sha256:0123abcd"}},
		},
		Phases: []Phase{
			{Name: "cluster", Status: Pass, Started: at(0), Seconds: 5.91, CPUSeconds: 0.4, Notes: []string{"binaries were cached"}},
			{Name: "subject", Status: Pass, Started: at(6), Seconds: 7.4, CPUSeconds: 0.3},
		},
		Requirements: []Requirement{},
		Tests:        []Test{},
	}
}

func passingRecord() *Record {
	r := newRecord(Pass, ExitPass, "every requirement that was tested holds")
	r.Requirements = []Requirement{
		{ID: "EXP-02", Level: "MUST", Statement: "Integers 3600 … 86400 are accepted.", Source: "section 6", Status: Pass, Tests: []string{"expiration-accepted"}, Cases: 2},
	}
	r.Azure = &Azure{Mode: "emulated", Cloud: "AzurePublicCloud", TenantID: "11111111-2222-4333-8444-555555555555", Vault: "https://wie2e7k2m.vault.azure.net"}
	r.Untested = []Untested{{ID: "PRX-08", Issue: "#5"}, {ID: "EXC-01", Part: "Windows images", Issue: "#8"}}
	r.Tests = []Test{{
		ID: "expiration-accepted", Title: "Both ends of the range are accepted", Tier: "admission",
		Requirements: []string{"EXP-02"}, Status: Pass, Started: at(14), Seconds: 0.02,
		Cases: []Case{
			{Name: "pod annotation 3600", Status: Pass, Seconds: 0.011, Checks: 2},
			{Name: "pod annotation 86400", Status: Pass, Seconds: 0.009, Checks: 2},
		},
	}, {
		ID: "read-secret-python-azidentity", Title: "The workload reads", Tier: "exchange", Requirements: []string{"EXC-01"}, Status: Pass, Started: at(15), Seconds: 2,
		Cases: []Case{
			{Name: "workload", Status: Pass, Checks: 4, Workloads: []Workload{sampleWorkload("WorkloadIdentityCredential", 0.25)}},
			{Name: "default", Status: Pass, Checks: 4, Workloads: []Workload{sampleWorkload("DefaultAzureCredential", 0.125)}},
		},
	}, {
		ID: "read-secret-dotnet-azure-mcp", Title: "The program reads", Tier: "exchange", Requirements: []string{"EXC-01"}, Status: Pass, Started: at(15), Seconds: 3,
		Cases: []Case{{Name: "The program reads", Status: Pass, Checks: 3, Workloads: []Workload{{
			Name: "dotnet-azure-mcp", Language: "dotnet", Library: "azidentity", Image: "wi-e2e.dev/dotnet-azure-mcp:0123",
			Exchange: &Exchange{UserAgent: "azsdk-net-Identity/1.17.1 (.NET 10.0.0; Linux)", Client: "MSAL.CoreCLR 4.82.0"},
		}}}},
	}}
	r.Count()
	return r
}

func sampleWorkload(credential string, seconds float64) Workload {
	return Workload{
		Name: "python-azidentity", Language: "python", Library: "azidentity", Version: "1.27.0", Credential: credential,
		Image: "wi-e2e.dev/python-azidentity:0123", SecretSHA256: "00ff", TokenSeconds: seconds, SecretSeconds: seconds / 2,
		Exchange: &Exchange{
			ClientID: "22222222-2222-4222-8222-222222222222", Subject: "system:serviceaccount:ns:app", Issuer: "https://issuer/",
			UserAgent: "azsdk-python-identity/1.27.0 Python/3.11.2", Client: "MSAL.Python 1.35.0",
		},
	}
}

// mixedRecord has every status, and every place where a finding can be.
func mixedRecord() *Record {
	r := newRecord(Fail, ExitFailed, "2 of 7 tests failed and 1 broke")
	r.Phases = append(r.Phases, Phase{Name: "clean-up", Status: Warn, Started: at(20), Seconds: 1.2, Message: "namespace wi-e2e-x is still terminating"})
	r.Requirements = []Requirement{
		{ID: "EXP-02", Level: "MUST", Statement: "Integers 3600 … 86400 are accepted.", Status: Pass, Tests: []string{"expiration-accepted"}, Cases: 2},
		{
			ID: "EXP-03", Level: "MUST", Status: Fail, Tests: []string{"expiration-refused"}, Cases: 7,
			Statement: "3599, 86401, 0, −1, 100: refused with `token expiration N not valid. Expected value to be between 3600 and 86400`; never clamped. The same for service accounts.",
		},
		{ID: "EXP-05", Level: "MUST", Statement: "It holds for both annotations.", Status: Pass, Tests: []string{"expiration-refused"}, Cases: 7},
		{ID: "SEL-06", Level: "SHOULD", Statement: "Ordinary namespaces are selected.", Status: Warn, Tests: []string{"namespaces"}, Cases: 1},
		{ID: "SA-02", Level: "MUST", Statement: "A fresh service account is found.", Status: Flake, Tests: []string{"fresh-account"}, Cases: 1},
		{ID: "ISS-05", Level: "MUST", Statement: "Signing keys rotate.", Status: Error, Tests: []string{"rotation"}, Cases: 1},
		{ID: "VOL-06", Level: "MUST", Statement: "The file is there.", Status: Skip, Tests: []string{"token-file"}},
		{ID: "ISS-02", Level: "MUST", Statement: "Keys are public.", Status: Fail, Tests: []string{"jwks"}},
	}

	refused := Test{
		ID: "expiration-refused", Title: "Values outside the range are refused", Tier: "admission",
		Requirements: []string{"EXP-03", "EXP-05"}, Status: Fail, Started: at(14.1), Seconds: 0.1,
		Rerun: "wi-e2e run --tier admission --test expiration-refused --seed 42",
	}
	for _, value := range []string{"3599", "86401", "0", "-1", "100", "99"} {
		refused.Cases = append(refused.Cases, Case{
			Name: "pod annotation " + value, Status: Fail, Seconds: 0.01, Checks: 1,
			Findings: []Finding{{
				Status: Fail, Message: "the pod was admitted, want a refusal",
				Diff: "  int64(\n- \t" + value + ",\n+ \t3600,\n  )\n",
			}},
		})
	}
	refused.Cases = append(refused.Cases,
		Case{Name: "positive control", Status: Pass, Seconds: 0.004, Checks: 1, Notes: []string{"admitted with 3600"}},
		Case{Name: "positive control", Status: Pass, Seconds: 0.004, Checks: 1},
	)

	r.Tests = append(passingRecord().Tests[:1], refused,
		Test{
			ID: "namespaces", Title: "Ordinary namespaces are selected", Tier: "admission",
			Requirements: []string{"SEL-06"}, Status: Warn, Started: at(14.2), Seconds: 0.2,
			Cases: []Case{{Name: "team-a", Status: Warn, Seconds: 0.2, Checks: 1, Findings: []Finding{{Status: Warn, Message: "namespace team-a is excluded"}}}},
		},
		Test{
			ID: "fresh-account", Title: "A service account made a moment ago is found", Tier: "admission",
			Requirements: []string{"SA-02"}, Status: Flake, Started: at(14.3), Seconds: 0.3,
			Cases: []Case{{Name: "50 pairs", Status: Flake, Seconds: 0.3, Checks: 50, Findings: []Finding{{Status: Fail, Message: "first attempt: pair 7 was not mutated"}}}},
		},
		Test{
			ID: "token-file", Title: "The token file is readable", Tier: "admission",
			Requirements: []string{"VOL-06"}, Status: Skip, Skip: &Skipped{Reason: "no-nodes", Text: "the cluster has no node that runs pods"},
		},
		Test{
			ID: "rotation", Title: "Old keys verify until they are withdrawn", Tier: "issuer",
			Requirements: []string{"ISS-05"}, Status: Error, Started: at(15), Seconds: 4,
			Findings: []Finding{{Status: Error, Message: "restart kube-apiserver: exit status 1\n\x1b[31mE1122 bad key ]]> \x00\xff<tag>\x1b[0m"}},
			Cases:    []Case{{Name: "before rotation", Status: Pass, Seconds: 0.5, Checks: 3}},
			Rerun:    "wi-e2e run --tier issuer --test rotation",
		},
		Test{
			ID: "jwks", Title: "Every key is public and complete", Tier: "issuer",
			Requirements: []string{"ISS-02"}, Status: Fail, Started: at(15.5), Seconds: 0.02,
			Findings: []Finding{
				{Status: Warn, Message: "two keys have the same kid"},
				{Status: Fail, Message: `key "a1" has the private member "d"`},
			},
		},
	)
	r.Count()
	return r
}

// setUpFailure is a run that never came to its tests.
func setUpFailure() *Record {
	r := newRecord(Error, ExitEnvironment, "the phase subject failed: deployment azure-wi-webhook-controller-manager was not available within 1m0s")
	r.Subject.Images, r.Subject.Version, r.Subject.Profile, r.Subject.ProfileBy = nil, "", "", ""
	r.Phases[1].Status = Error
	r.Phases[1].Message = "deployment azure-workload-identity-system/azure-wi-webhook-controller-manager was not available within 1m0s:\npod azure-wi-webhook-controller-manager-0: ImagePullBackOff"
	r.Phases[1].Seconds = 60.2
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		r.Tests = append(r.Tests, Test{
			ID: "test-" + id, Title: "Test " + id, Tier: "admission", Requirements: []string{"SEL-01"}, Status: Error,
			Findings: []Finding{{Status: Error, Message: "not executed: the phase subject failed"}},
		})
	}
	r.Requirements = []Requirement{{ID: "SEL-01", Level: "MUST", Statement: "Only labelled pods.", Status: Error}}
	r.Count()
	return r
}
