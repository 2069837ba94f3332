package reports

import (
	"syscall"
	"time"
)

// CPUSeconds is the processor time (user and system) that this process has taken; 0 if the system does not tell.
func CPUSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
