package soak

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// usage is what the processes of a pod have together.
type usage struct {
	Descriptors, Memory float64 // open file descriptors; resident bytes
	processes           int
}

// usageOf looks at the processes of a pod that runs on this machine, as it does on the nodes that wi-e2e makes. A pod of another
// machine has none here. A process that ends while it is looked at is none either.
func usageOf(proc string, uid types.UID) (usage, error) {
	// The kubelet's cgroup driver decides between dashes and underscores.
	names := [][]byte{[]byte("pod" + string(uid)), []byte("pod" + strings.ReplaceAll(string(uid), "-", "_"))}
	entries, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cgroup"))
	if err != nil {
		return usage{}, err
	}
	var sum usage
	for _, path := range entries {
		cgroup, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(cgroup, names[0]) && !bytes.Contains(cgroup, names[1]) {
			continue
		}
		dir := filepath.Dir(path)
		statm, err := os.ReadFile(filepath.Join(dir, "statm"))
		if err != nil {
			continue
		}
		descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
		if os.IsPermission(err) {
			return usage{}, fmt.Errorf("count the open files of the pod's processes: %w", err)
		}
		fields := strings.Fields(string(statm))
		if err != nil || len(fields) < 2 {
			continue
		}
		pages, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return usage{}, fmt.Errorf("read %s/statm: %w", dir, err)
		}
		sum.processes++
		sum.Descriptors += float64(len(descriptors))
		sum.Memory += pages * float64(os.Getpagesize())
	}
	return sum, nil
}
