package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wi-e2e/wi-e2e/reports"
	"github.com/wi-e2e/wi-e2e/suites/runner"
)

// failureFile has the error of a run that has no reports, beside where they would be.
const failureFile = "error.txt"

// tellDone writes the path of the JUnit report into a file, for whoever waits for that. A run that came to no report tells its error
// instead: nobody is to wait in vain.
func tellDone(path, output string, reported bool, failure error) error {
	dir, err := filepath.Abs(output)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	result := filepath.Join(dir, runner.JUnitFile)
	if !reported {
		result = filepath.Join(dir, failureFile)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := reports.WriteFile(result, fmt.Appendf(nil, "wi-e2e: %v\n", failure)); err != nil {
			return err
		}
	}
	return reports.WriteFile(path, []byte(result))
}
