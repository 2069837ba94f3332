package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// gitHubJobs is how many jobs GitHub makes of one matrix.
const gitHubJobs = 256

// GitHub writes the matrix of a GitHub Actions job on one line, for fromJSON.
func GitHub(w io.Writer, jobs []Job) error {
	if len(jobs) > gitHubJobs {
		return fmt.Errorf("the matrix has %d jobs, GitHub takes %d: exclude some, or have fewer shards", len(jobs), gitHubJobs)
	}
	return write(w, map[string][]Job{"include": jobs})
}

// AzurePipelines writes the matrix of an Azure Pipelines job on one line: its legs by name. Variables of a leg are strings.
func AzurePipelines(w io.Writer, jobs []Job) error {
	legs := map[string]Job{}
	for _, j := range jobs {
		legs[j.Name] = j
	}
	return write(w, legs)
}

func write(w io.Writer, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the matrix: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// Table writes the jobs for people, with what they take and cost where the matrix says so.
func Table(w io.Writer, jobs []Job) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tMINUTES\tNODE-HOURS\tCOST\tARGUMENTS")
	var minutes, longest, hours, price float64
	unknown := 0
	for _, j := range jobs {
		if j.cost == (Cost{}) {
			unknown++
			fmt.Fprintf(t, "%s\t-\t-\t-\t%s\n", j.Name, j.Args)
			continue
		}
		nodeHours := j.minutes / 60 * j.cost.Nodes
		fmt.Fprintf(t, "%s\t%.1f\t%.2f\t%.2f\t%s\n", j.Name, j.minutes, nodeHours, nodeHours*j.cost.Price, j.Args)
		minutes, longest, hours, price = minutes+j.minutes, max(longest, j.minutes), hours+nodeHours, price+nodeHours*j.cost.Price
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d jobs: %.1f minutes in all, %.1f the longest; %.2f node-hours, cost %.2f\n", len(jobs), minutes, longest, hours, price)
	if err == nil && unknown > 0 {
		_, err = fmt.Fprintf(w, "%d of them not counted: the file has no cost of their provider\n", unknown)
	}
	return err
}
