package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// roomFile is in the output directory during a run. It takes the room that the reports are going to need, so that they can be written
// though the disk fills up meanwhile.
const roomFile = ".wi-e2e-room"

// roomBytes are twice what the reports of a run of everything take.
const roomBytes = 4 << 20

// takeRoom returns when there is room for the reports. A full disk is no mistake of the user's input, unlike a directory that cannot be
// written to.
func takeRoom(dir string) error {
	path := filepath.Join(dir, roomFile)
	err := os.WriteFile(path, make([]byte, roomBytes), 0o600)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errors.Join(fmt.Errorf("no room for the reports in the output directory %s, which takes %d MiB: %w", dir, roomBytes>>20, err), os.Remove(path))
	default:
		return usage("write to the output directory: %w", err)
	}
}

// giveRoom makes the room free for the reports.
func giveRoom(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, roomFile)); err != nil {
		return fmt.Errorf("make room for the reports: %w", err)
	}
	return nil
}
