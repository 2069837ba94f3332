// Package merge puts the records of a divided run together, and proves that nothing is missing between them.
//
// It adds no result and judges none anew: the merged record is what one run of the whole plan would have saved. Records of several
// runs, such as a matrix, are not merged but listed (reports.List).
package merge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Shards merges the records of all shards of a run. They have to be of one plan, of one subject, complete and disjoint: each test of the
// plan is in one shard, and no other test in any.
func Shards(records []*reports.Record) (*reports.Record, error) {
	ordered, err := complete(records)
	if err != nil {
		return nil, err
	}
	first := ordered[0]
	merged := &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind, Run: first.Run, Cluster: first.Cluster, Subject: first.Subject, Untested: first.Untested,
	}
	merged.Run.Shard = nil
	var ids []string
	for _, r := range ordered {
		ids = append(ids, r.Run.ID)
		if r.Run.Started.Before(merged.Run.Started) {
			merged.Run.Started = r.Run.Started
		}
		if r.Run.Finished.After(merged.Run.Finished) {
			merged.Run.Finished = r.Run.Finished
		}
		if r.Run.Seed != first.Run.Seed {
			merged.Run.Seed = 0 // each test says how it is repeated
		}
		if merged.Azure == nil {
			merged.Azure = r.Azure
		}
		for _, p := range r.Phases {
			p.Name = fmt.Sprintf("shard %d/%d: %s", r.Run.Shard.Index, r.Run.Shard.Total, p.Name)
			merged.Phases = append(merged.Phases, p)
		}
		for _, c := range r.Cluster.Capabilities {
			if !slices.Contains(merged.Cluster.Capabilities, c) {
				merged.Cluster.Capabilities = append(slices.Clone(merged.Cluster.Capabilities), c)
			}
		}
		merged.Waivers = joinWaivers(merged.Waivers, r.Waivers)
	}
	merged.Run.ID = strings.Join(ids, "+")
	merged.Run.Seconds = merged.Run.Finished.Sub(merged.Run.Started).Seconds()

	for _, id := range first.Run.Shard.Plan {
		for _, r := range ordered {
			for _, t := range r.Tests {
				if t.ID == id {
					merged.Tests = append(merged.Tests, t)
				}
			}
		}
	}
	for _, r := range ordered {
		for _, q := range r.Requirements {
			if slices.ContainsFunc(merged.Requirements, func(have reports.Requirement) bool { return have.ID == q.ID }) {
				continue
			}
			q.Status, q.Tests, q.Cases = merged.Fared(q.ID)
			merged.Requirements = append(merged.Requirements, q)
		}
	}
	merged.Count()
	merged.Verdict = verdict(merged, ordered)
	return merged, nil
}

// complete is the proof. It returns the shards in their order.
func complete(records []*reports.Record) ([]*reports.Record, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("there is no shard")
	}
	first := records[0]
	if first.Run.Shard == nil {
		return nil, fmt.Errorf("run %s is no shard", first.Run.ID)
	}
	total, plan := first.Run.Shard.Total, first.Run.Shard.Plan
	ordered := make([]*reports.Record, max(total, 0))
	owner := map[string]int{}
	for _, r := range records {
		s := r.Run.Shard
		switch {
		case s == nil:
			return nil, fmt.Errorf("run %s is no shard", r.Run.ID)
		case s.Total != total || s.Index < 1 || s.Index > total:
			return nil, fmt.Errorf("run %s is shard %d/%d, want one of %d", r.Run.ID, s.Index, s.Total, total)
		case ordered[s.Index-1] != nil:
			return nil, fmt.Errorf("runs %s and %s are both shard %d/%d", ordered[s.Index-1].Run.ID, r.Run.ID, s.Index, total)
		case !slices.Equal(s.Plan, plan):
			return nil, fmt.Errorf("runs %s and %s are shards of different plans", first.Run.ID, r.Run.ID)
		}
		if err := sameRun(first, r); err != nil {
			return nil, err
		}
		if problems := r.Problems(); len(problems) > 0 {
			return nil, fmt.Errorf("the record of run %s contradicts itself: %s", r.Run.ID, problems[0])
		}
		ordered[s.Index-1] = r
		for _, t := range r.Tests {
			if other, taken := owner[t.ID]; taken {
				return nil, fmt.Errorf("shards %d and %d both have test %s", other, s.Index, t.ID)
			}
			if !slices.Contains(plan, t.ID) {
				return nil, fmt.Errorf("shard %d has test %s, which is not in the plan", s.Index, t.ID)
			}
			owner[t.ID] = s.Index
		}
	}
	for i, r := range ordered {
		if r == nil {
			return nil, fmt.Errorf("shard %d/%d is missing", i+1, total)
		}
	}
	seen := map[string]bool{}
	for _, id := range plan {
		if owner[id] == 0 {
			return nil, fmt.Errorf("no shard has test %s of the plan", id)
		}
		if seen[id] {
			return nil, fmt.Errorf("the plan has test %s twice", id)
		}
		seen[id] = true
	}
	return ordered, nil
}

// sameRun says what two shards differ in that a run has only one of.
func sameRun(a, b *reports.Record) error {
	for _, c := range []struct{ what, a, b string }{
		{"version of wi-e2e", a.Run.Version, b.Run.Version},
		{"subject", describe(a.Subject), describe(b.Subject)},
		{"cluster provider", a.Cluster.Provider, b.Cluster.Provider},
		{"Kubernetes version", a.Cluster.Kubernetes, b.Cluster.Kubernetes},
	} {
		if c.a != c.b {
			return fmt.Errorf("shards %d and %d have not the same %s: %q and %q", a.Run.Shard.Index, b.Run.Shard.Index, c.what, c.a, c.b)
		}
	}
	return nil
}

func describe(s reports.Subject) string {
	parts := []string{s.Kind, s.Version, s.Profile}
	for _, i := range s.Images {
		parts = append(parts, i.Name+"@"+i.Digest)
	}
	return strings.Join(parts, " ")
}

// joinWaivers sums what became of the waivers up. A shard that did not come to a waiver's tests has nothing to say about it.
func joinWaivers(have, more []reports.Waiver) []reports.Waiver {
	have = slices.Clone(have)
	for _, w := range more {
		i := slices.IndexFunc(have, func(h reports.Waiver) bool { return h.Name == w.Name })
		if i < 0 {
			have = append(have, w)
			continue
		}
		have[i].Findings += w.Findings
		if weight(w.State) > weight(have[i].State) {
			have[i].State = w.State
		}
	}
	return have
}

// weight orders what shards say about a waiver: one that is used anywhere is used.
func weight(s reports.WaiverState) int {
	return slices.Index([]reports.WaiverState{
		reports.WaiverOtherSubject, reports.WaiverNotTested, reports.WaiverPassed, reports.WaiverUnused, reports.WaiverUsed, reports.WaiverExpired,
	}, s)
}

// verdict is that on the whole, or that of a shard that was interrupted or left something behind.
func verdict(merged *reports.Record, shards []*reports.Record) reports.Verdict {
	for _, r := range shards {
		if v := r.Verdict; v.ExitCode == reports.ExitInterrupted || v.ExitCode == reports.ExitLeaked {
			v.Reason = fmt.Sprintf("shard %d/%d: %s", r.Run.Shard.Index, r.Run.Shard.Total, v.Reason)
			return v
		}
	}
	return merged.Judge(false, nil)
}
