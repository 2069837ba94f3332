package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// workloads is a line for every program that read the secret, or did not: with which SDK, and how long that took at most.
func (s *summary) workloads() []string {
	type row struct {
		Workload
		status        Status
		token, secret float64
		credentials   []string
	}
	var rows []*row
	for _, t := range s.record.Tests {
		for _, c := range t.Cases {
			for _, w := range c.Workloads {
				i := slices.IndexFunc(rows, func(r *row) bool { return r.Name == w.Name })
				if i < 0 {
					i = len(rows)
					rows = append(rows, &row{Workload: w, status: Pass})
				}
				r := rows[i]
				r.status = Worst(r.status, t.Status)
				r.token, r.secret = max(r.token, w.TokenSeconds), max(r.secret, w.SecretSeconds)
				if w.Credential != "" {
					r.credentials = append(r.credentials, w.Credential)
				}
			}
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.Name, b.Name) })
	var lines []string
	for _, r := range rows {
		sdk := r.Version
		if sdk == "" && r.Exchange != nil {
			sdk = r.Exchange.UserAgent
		}
		line := fmt.Sprintf("%s %-18s %s", s.mark(r.status), Visible(r.Name+labelled(" on ", r.OS)), Visible(sdk))
		line += Visible(labelled("  ", strings.Join(r.credentials, ", ")))
		if r.token > 0 {
			line += fmt.Sprintf("  token %.2fs, secret %.2fs", r.token, r.secret)
		}
		lines = append(lines, line)
	}
	return lines
}
