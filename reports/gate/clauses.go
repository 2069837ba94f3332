package gate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/reports/attestation"
	"github.com/wi-e2e/wi-e2e/reports/compare"
)

// refuse adds a reason.
func (c *Clause) refuse(format string, args ...any) {
	c.Refused = append(c.Refused, fmt.Sprintf(format, args...))
}

// executed: a record of no test proves nothing, and a shard not what the others did.
func executed(e Evidence) Clause {
	c := Clause{Name: "tests", Wants: "every record is of a whole run that executed tests"}
	records := 0
	e.each(func(name string, r *reports.Record) {
		records++
		if s := r.Run.Shard; s != nil {
			c.refuse("%s: is shard %d/%d: merge the shards first", name, s.Index, s.Total)
		}
		if !slices.ContainsFunc(r.Tests, func(t reports.Test) bool { return len(t.Cases) > 0 }) {
			c.refuse("%s: no test was executed", name)
		}
	})
	if records == 0 {
		c.refuse("there is no record")
	}
	return c
}

// coherent: somebody may have edited a record.
func coherent(e Evidence) Clause {
	c := Clause{Name: "integrity", Wants: "statuses, counts and verdict are what tests and findings come to"}
	e.each(func(name string, r *reports.Record) {
		for _, problem := range r.Problems() {
			c.refuse("%s: %s", name, problem)
		}
	})
	return c
}

// finished: a run that broke off, or left something behind, was not the whole of it.
func finished(e Evidence) Clause {
	c := Clause{Name: "finished", Wants: "no run was interrupted, broke in its environment or left something behind"}
	e.each(func(name string, r *reports.Record) {
		if v := r.Verdict; v.ExitCode != reports.ExitPass && v.ExitCode != reports.ExitFailed {
			c.refuse("%s: exit code %d: %s", name, v.ExitCode, v.Reason)
		}
	})
	return c
}

// oneSubject: what is proved of one subject says nothing about another.
func oneSubject(e Evidence) Clause {
	c := Clause{Name: "subject", Wants: "all records are of the same subject"}
	first, of := "", ""
	e.each(func(name string, r *reports.Record) {
		parts := []string{r.Subject.Kind, r.Subject.Version}
		for _, i := range r.Subject.Images {
			parts = append(parts, i.Digest)
		}
		slices.Sort(parts[2:])
		switch is := strings.Join(slices.Compact(parts), " "); {
		case of == "":
			first, of = is, name
		case is != first:
			c.refuse("%s: %s, but %s: %s", name, is, of, first)
		}
	})
	return c
}

// held: the requirements of the policy's levels are fulfilled. A violated SHOULD is only a warning of a run.
func held(p Policy, e Evidence) Clause {
	c := Clause{Name: "levels", Wants: "every requirement of level " + strings.Join(p.Levels, ", ") + " holds"}
	e.each(func(name string, r *reports.Record) {
		for _, q := range r.Requirements {
			if slices.Contains(p.Levels, q.Level) {
				if why := violated(r, q); why != "" {
					c.refuse("%s: %s (%s) %s", name, q.ID, q.Level, why)
				}
			}
		}
	})
	return c
}

// violated says how a requirement was, or "". What was waived and what was skipped are other clauses' business.
func violated(r *reports.Record, q reports.Requirement) string {
	if status := reports.Worst(q.Status); status == reports.Fail || status == reports.Error {
		return "is " + string(status)
	}
	for _, t := range r.Tests {
		if !slices.Contains(t.Requirements, q.ID) {
			continue
		}
		about := t.About(q.ID)
		switch status, _ := about.Of(q.ID); {
		case status == reports.Fail || status == reports.Error:
			return fmt.Sprintf("is %s in test %s", status, t.ID)
		case status == reports.Flake && about.SubjectFailed():
			return fmt.Sprintf("did not hold in every attempt of test %s", t.ID)
		}
		if q.Level == "MUST" {
			continue
		}
		for _, f := range about.Found(reports.Warn) {
			if f.Waiver == "" {
				return fmt.Sprintf("is violated in test %s: %s", t.ID, f.Message)
			}
		}
	}
	return ""
}

// explained: a skip is a hole in the proof, and the policy says which are known.
func explained(p Policy, e Evidence) Clause {
	c := Clause{Name: "skips", Wants: "no test is skipped"}
	if len(p.Skips) > 0 {
		c.Wants = "tests are skipped for no other reason than " + strings.Join(p.Skips, ", ")
	}
	e.each(func(name string, r *reports.Record) {
		for _, t := range r.Tests {
			switch {
			case t.Status != reports.Skip:
			case t.Skip == nil || t.Skip.Reason == "":
				c.refuse("%s: test %s is skipped for no reason", name, t.ID)
			case !slices.Contains(p.Skips, t.Skip.Reason):
				c.refuse("%s: test %s is skipped (%s): %s", name, t.ID, t.Skip.Reason, t.Skip.Text)
			}
		}
	})
	return c
}

// waived: a deviation is known for a time. A waiver that was good when the run began may not be any more.
func waived(p Policy, e Evidence) Clause {
	c := Clause{Name: "waivers", Wants: fmt.Sprintf("at most %d are made use of, none of them expired or needless", p.Waivers)}
	e.each(func(name string, r *reports.Record) {
		used := 0
		for _, w := range r.Waivers {
			expiry, err := time.Parse(time.DateOnly, w.Expiry)
			switch {
			case w.State == reports.WaiverOtherSubject, w.State == reports.WaiverNotTested:
				continue
			case w.State != reports.WaiverUsed:
				c.refuse("%s: %s (%s) is %s", name, w.Name, w.About(), w.State)
			case err != nil:
				c.refuse("%s: %s (%s) has no day on which it expires: %q", name, w.Name, w.About(), w.Expiry)
			case !e.Now.Before(expiry.AddDate(0, 0, 1)):
				c.refuse("%s: %s (%s) expired after %s: ask its owner, %s", name, w.Name, w.About(), w.Expiry, w.Owner)
			}
			used++
		}
		if used > p.Waivers {
			c.refuse("%s: %d waivers are made use of", name, used)
		}
		for _, t := range r.Tests {
			for _, f := range t.Found(reports.Warn) {
				if f.Waiver != "" && !slices.ContainsFunc(r.Waivers, func(w reports.Waiver) bool { return w.Name == f.Waiver }) {
					c.refuse("%s: test %s: %s, which the record does not have, waives: %s", name, t.ID, f.Waiver, f.Message)
				}
			}
		}
	})
	return c
}

// covered: what the records do not speak of is not proved. The catalogue says what there is.
func covered(p Policy, e Evidence) Clause {
	c := Clause{Name: "coverage", Idle: len(p.Coverage) == 0, Wants: "requirements are decided, in per cent of the catalogue's"}
	decided := map[string]bool{}
	e.each(func(_ string, r *reports.Record) {
		for _, q := range r.Requirements {
			switch reports.Worst(q.Status) {
			case reports.Skip, reports.Error:
			default:
				decided[q.ID] = decided[q.ID] || q.Cases > 0
			}
		}
	})
	for _, level := range slices.Sorted(maps.Keys(p.Coverage)) {
		want := p.Coverage[level]
		c.Wants += fmt.Sprintf("; %s: %d", level, want)
		all, have := 0, 0
		var missing []string
		for _, rule := range e.Rules {
			if rule.Level != level {
				continue
			}
			all++
			if decided[rule.ID] {
				have++
			} else {
				missing = append(missing, rule.ID)
			}
		}
		if all == 0 || 100*have < want*all {
			c.refuse("%d of %d requirements of level %s are decided, want %d per cent; not %s", have, all, level, want, strings.Join(missing, ", "))
		}
	}
	return c
}

// ran are the workloads that read their secrets, in tests that the subject did not fail.
func (e Evidence) ran() []reports.Workload {
	var all []reports.Workload
	e.each(func(_ string, r *reports.Record) {
		for _, t := range r.Tests {
			if status := reports.Worst(t.Status); status == reports.Error || t.SubjectFailed() {
				continue
			}
			for _, c := range t.Cases {
				for _, w := range c.Workloads {
					if w.SecretSHA256 != "" {
						all = append(all, w)
					}
				}
			}
		}
	})
	return all
}

func spoken(p Policy, e Evidence) Clause {
	return among("languages", p.Languages, e.ran(), func(w reports.Workload) string { return w.Language })
}

func ranOn(p Policy, e Evidence) Clause {
	return among("os", p.OS, e.ran(), func(w reports.Workload) string {
		if w.OS == "" {
			return "linux"
		}
		return w.OS
	})
}

// among wants each of the names to be had by a workload that ran.
func among(name string, wanted []string, ran []reports.Workload, of func(reports.Workload) string) Clause {
	c := Clause{Name: name, Idle: len(wanted) == 0, Wants: "a workload read its secret for each of: " + strings.Join(wanted, ", ")}
	for _, want := range wanted {
		if !slices.ContainsFunc(ran, func(w reports.Workload) bool { return of(w) == want }) {
			c.refuse("none did for %s", want)
		}
	}
	return c
}

// fresh: what was proved of an image long ago, it was proved by rules and libraries of then. Clocks may differ by some minutes.
func fresh(p Policy, e Evidence) Clause {
	c := Clause{Name: "age", Idle: p.MaxAge.Duration == 0, Wants: fmt.Sprintf("no run finished more than %s ago", p.MaxAge.Duration)}
	e.each(func(name string, r *reports.Record) {
		age := e.Now.Sub(r.Run.Finished)
		switch {
		case c.Idle:
		case r.Run.Finished.IsZero():
			c.refuse("%s: it does not say when the run finished", name)
		case age < -5*time.Minute:
			c.refuse("%s: the run finishes %s from now", name, (-age).Round(time.Minute))
		case age > p.MaxAge.Duration:
			c.refuse("%s: the run finished %s ago", name, age.Round(time.Minute))
		}
	})
	return c
}

// candidate: the images that were tested are those that are to be released, and all of them.
func candidate(p Policy, e Evidence) Clause {
	c := Clause{
		Name: "digest", Idle: !p.SubjectDigest && len(e.Digests) == 0,
		Wants: "the images that were tested are the release candidate's: " + strings.Join(e.Digests, ", "),
	}
	if c.Idle {
		return c
	}
	if len(e.Digests) == 0 {
		c.refuse("the release candidate's digest was not named")
		return c
	}
	tested := map[string]bool{}
	e.each(func(name string, r *reports.Record) {
		if len(r.Subject.Images) == 0 {
			c.refuse("%s: it names no image", name)
		}
		for _, i := range r.Subject.Images {
			tested[i.Digest] = true
			if !slices.Contains(e.Digests, i.Digest) {
				c.refuse("%s: image %s has the digest %q", name, i.Name, i.Digest)
			}
		}
	})
	for _, d := range e.Digests {
		if !tested[d] {
			c.refuse("%s was not tested", d)
		}
	}
	return c
}

// noWorse: nothing that the baseline proved is lost.
func noWorse(p Policy, e Evidence) Clause {
	c := Clause{Name: "baseline", Idle: !p.Baseline && len(e.Baseline) == 0, Wants: "nothing is worse than in the baseline, and nothing of it is missing"}
	if c.Idle {
		return c
	}
	if len(e.Baseline) == 0 {
		c.refuse("no baseline was named")
		return c
	}
	var records []*reports.Record
	var names []string
	e.each(func(name string, r *reports.Record) { records, names = append(records, r), append(names, name) })
	single := len(records) == 1 && len(e.Baseline) == 1
	for _, before := range e.Baseline {
		i := slices.IndexFunc(records, func(r *reports.Record) bool { return single || environment(r) == environment(before) })
		if i < 0 {
			c.refuse("the baseline has a run on %s, the records have none", environment(before))
			continue
		}
		comparison := compare.Compare(before, records[i])
		for _, kind := range []struct {
			name    string
			changes []compare.Change
		}{{"worse", comparison.Regressions}, {"skipped", comparison.Skipped}, {"missing", comparison.Lost}} {
			for _, change := range kind.changes {
				c.refuse("%s: %s %s is %s: it was %s", names[i], change.Kind, change.ID, kind.name, change.Was)
			}
		}
	}
	return c
}

// environment tells the runs of a matrix apart: the provider and the minor version of Kubernetes.
func environment(r *reports.Record) string {
	version := strings.SplitN(r.Cluster.Kubernetes, ".", 3)
	name := r.Cluster.Provider + " " + strings.Join(version[:min(2, len(version))], ".")
	if r.Azure != nil {
		name += " " + r.Azure.Mode
	}
	return name
}

// attested: each record is the one that somebody signed.
func attested(ctx context.Context, p Policy, e Evidence) Clause {
	c := Clause{Name: "attestation", Idle: !p.Attestation && len(e.Attestations) == 0 && e.Key == nil, Wants: "every record is attested, by the key that was named"}
	if c.Idle {
		return c
	}
	if e.Key == nil {
		c.refuse("no key was named")
		return c
	}
	var valid []*attestation.Attestation
	for i, envelope := range e.Attestations {
		a, err := attestation.Verify(ctx, envelope, e.Key)
		if err != nil {
			c.refuse("attestation %d: %v", i+1, err)
			continue
		}
		valid = append(valid, a)
	}
	for _, f := range e.Files {
		if len(f.Records) != 1 {
			c.refuse("%s: it holds several records, which are attested one by one", f.Name)
			continue
		}
		why := fmt.Errorf("there is no attestation")
		for _, a := range valid {
			if why = a.About(f.Records[0], f.Data); why == nil {
				break
			}
		}
		if why != nil {
			c.refuse("%s: %v", f.Name, why)
		}
	}
	return c
}
