package reports

import (
	"fmt"
	"html"
)

// Badge renders the verdict as a small picture (SVG) for a README. Its text says what its colour says.
func Badge(r *Record) []byte {
	const label = "workload identity"
	status := Worst(r.Verdict.Status)
	message := "not judged"
	switch {
	case r.Run.Shard != nil:
		status, message = Error, "a shard only"
	case status == Fail, status == Flake && r.Verdict.ExitCode != ExitPass:
		message = count(r.brokenRules(), "rule") + " broken"
	case status != Error && status != Skip:
		message = joined(labelled("conformant ", r.Subject.Version), count(r.decidedRules(), "rule"))
		if r.Subject.Version == "" {
			message = "conformant, " + message
		}
		if waived := r.waivedFindings(); waived > 0 {
			message += fmt.Sprintf(", %d waived", waived)
		}
	}
	// Colours against white text have a contrast of at least 4.5.
	color := map[Status]string{Pass: "#1a7f37", Warn: "#8a6100", Flake: "#8a6100", Fail: "#cf222e"}[status]
	if color == "" {
		color = "#57606a"
	}
	left, right := badgeWidth(label), badgeWidth(message)
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="%[2]s: %[3]s">
  <title>%[2]s: %[3]s</title>
  <clipPath id="r"><rect width="%[1]d" height="20" rx="3"/></clipPath>
  <g clip-path="url(#r)"><rect width="%[4]d" height="20" fill="#3d444d"/><rect x="%[4]d" width="%[5]d" height="20" fill="%[6]s"/></g>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
    <text x="%[7]d" y="14" textLength="%[8]d">%[2]s</text>
    <text x="%[9]d" y="14" textLength="%[10]d">%[3]s</text>
  </g>
</svg>
`, left+right, label, html.EscapeString(Visible(message)), left, right, color, left/2, left-badgePadding, left+right/2, right-badgePadding)
}

const badgePadding = 12

// badgeWidth is that of a text of Verdana at 11 pixels, about; textLength makes it so.
func badgeWidth(text string) int { return 7*len([]rune(text)) + badgePadding }

func (r *Record) brokenRules() int {
	n := 0
	for _, q := range r.Requirements {
		if broke(Worst(q.Status)) {
			n++
		}
	}
	return n
}
