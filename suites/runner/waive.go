package runner

import (
	"fmt"
	"strings"
	"time"

	"github.com/wi-e2e/wi-e2e/reports"
)

// judgeWaivers is the phase in which the waivers are held to what the tests came to. It does not wait for anything, so that it is
// had of an interrupted run as well.
func (r *run) judgeWaivers() {
	p := reports.Phase{Name: "waivers", Status: reports.Pass, Started: time.Now().UTC()}
	r.observer.PhaseStarted(p.Name)
	problems := r.waivers.Judge(r.record, r.record.Run.Started)
	for _, w := range r.record.Waivers {
		p.Notes = append(p.Notes, fmt.Sprintf("%s (%s): %s", w.Name, w.About(), w.State))
	}
	if len(problems) > 0 {
		p.Status = reports.Warn
		if r.config.Waivers.strict() {
			p.Status = reports.Fail
		}
		p.Message = strings.Join(problems, "\n")
	}
	p.Seconds = time.Since(p.Started).Seconds()
	r.record.Phases = append(r.record.Phases, p)
	r.observer.PhaseFinished(p)
}
