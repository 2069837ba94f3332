package gate

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// Evidence is what a policy is held against.
type Evidence struct {
	Files []File
	// Rules is the catalogue: what there is to be decided. The records are not asked, for they could leave something out.
	Rules []Rule
	Now   time.Time
	// Digests are those of the release candidate's images.
	Digests []string
	// Baseline are the records of the release before.
	Baseline []*reports.Record
	// Attestations are envelopes, in any order; Key is whose signature counts.
	Attestations [][]byte
	Key          ed25519.PublicKey
}

// File is one with records.
type File struct {
	Name    string
	Data    []byte
	Records []*reports.Record
}

// Rule is a requirement of the catalogue.
type Rule struct{ ID, Level string }

// Decision is what became of each clause.
type Decision struct{ Clauses []Clause }

// Clause is one thing that the policy, or the gate itself, wants.
type Clause struct {
	Name string
	// Wants says what, in words.
	Wants string
	// Refused says why not, a line each; none means that the clause is fulfilled.
	Refused []string
	// Idle: the policy does not ask for it.
	Idle bool
}

// Passed says whether no clause refused.
func (d Decision) Passed() bool { return len(d.refusals()) == 0 }

func (d Decision) refusals() []string {
	var names []string
	for _, c := range d.Clauses {
		if len(c.Refused) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// Decide holds the evidence to the policy. Every clause is evaluated, whatever those before it came to.
func Decide(ctx context.Context, p Policy, e Evidence) Decision {
	return Decision{[]Clause{
		executed(e), coherent(e), finished(e), oneSubject(e),
		held(p, e), explained(p, e), waived(p, e), covered(p, e),
		spoken(p, e), ranOn(p, e), fresh(p, e), candidate(p, e), noWorse(p, e), attested(ctx, p, e),
	}}
}

// Write prints each clause with its verdict, then the decision.
func (d Decision) Write(w io.Writer) error {
	var b strings.Builder
	for _, c := range d.Clauses {
		verdict, wants := "pass", c.Wants
		switch {
		case len(c.Refused) > 0:
			verdict = "REFUSED"
		case c.Idle:
			verdict, wants = "-", "the policy does not ask for it"
		}
		fmt.Fprintf(&b, "%-8s %-12s %s\n", verdict, c.Name, wants)
		for _, why := range c.Refused {
			fmt.Fprintf(&b, "         %-12s %s\n", "", strings.ReplaceAll(reports.Visible(why), "\n", " "))
		}
	}
	if names := d.refusals(); len(names) > 0 {
		fmt.Fprintf(&b, "\nREFUSED by %s\n", strings.Join(names, ", "))
	} else {
		b.WriteString("\nPASSED\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the decision: %w", err)
	}
	return nil
}

// each calls visit with every record, and a name for it.
func (e Evidence) each(visit func(name string, r *reports.Record)) {
	for _, f := range e.Files {
		for i, r := range f.Records {
			name := f.Name
			if len(f.Records) > 1 {
				name = fmt.Sprintf("%s item %d", f.Name, i+1)
			}
			visit(name, r)
		}
	}
}
