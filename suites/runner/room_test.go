package runner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wi-e2e/wi-e2e/reports"
)

// smallDisk is an empty directory with room for so much.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp leaves no room on a disk.
func fillUp(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "somebody else's"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// passed is a run whose record is that of one that passed.
func passed(output string) *run {
	r := &run{output: output, record: &reports.Record{
		APIVersion: reports.APIVersion, Kind: reports.Kind, Tests: []reports.Test{{ID: "t", Status: reports.Pass, Cases: []reports.Case{{Status: reports.Pass, Checks: 1}}}},
	}}
	r.record.Verdict = r.record.Judge(false, nil)
	return r
}

func TestAFullDiskIsToldBeforeTheReportsOfAnEarlierRunAreGone(t *testing.T) {
	dir := smallDisk(t, "1m")
	earlier := filepath.Join(dir, RecordFile)
	if err := os.WriteFile(earlier, []byte("earlier"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := Config{Output: dir}
	_, err := config.prepareOutput()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want one that names the directory and says that the disk is full", err)
	}
	if mistake := (*UsageError)(nil); errors.As(err, &mistake) {
		t.Errorf("it is called a mistake of the user's: %v", err)
	}
	if kept, err := os.ReadFile(earlier); string(kept) != "earlier" {
		t.Errorf("the earlier record is %q, %v", kept, err)
	}
	if _, err := os.Stat(filepath.Join(dir, roomFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what took the room is there still: %v", err)
	}
}

func TestReportsAreWrittenThoughTheDiskFillsUp(t *testing.T) {
	dir := smallDisk(t, "8m")
	config := Config{Output: dir}
	if _, err := config.prepareOutput(); err != nil {
		t.Fatal(err)
	}
	fillUp(t, dir)
	r := passed(dir)
	r.save()
	if r.record.Verdict.ExitCode != reports.ExitPass {
		t.Errorf("the verdict is %+v: %+v", r.record.Verdict, r.record.Phases)
	}
	for _, name := range []string{RecordFile, JUnitFile, HTMLFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARunWhoseReportsCannotBeWrittenDoesNotPassAndTheRecordBeforeStays(t *testing.T) {
	dir := smallDisk(t, "8m")
	r := passed(dir)
	r.save()
	before, err := os.ReadFile(filepath.Join(dir, RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	fillUp(t, dir)
	r.save()
	if v := r.record.Verdict; v.Status != reports.Error || v.ExitCode != reports.ExitEnvironment {
		t.Errorf("the verdict is %+v", v)
	}
	if p := r.record.Phases; len(p) != 1 || !strings.Contains(p[0].Message, RecordFile) || !strings.Contains(p[0].Message, syscall.ENOSPC.Error()) {
		t.Errorf("phases: %+v", p)
	}
	if after, err := os.ReadFile(filepath.Join(dir, RecordFile)); err != nil || string(after) != string(before) {
		t.Errorf("the record of before is not whole: %v", err)
	}
}

func TestReportsAreWrittenThoughTheirDirectoryWasRemoved(t *testing.T) {
	config := Config{Output: filepath.Join(t.TempDir(), "results")}
	dir, err := config.prepareOutput()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r := passed(dir)
	r.save()
	if record, err := reports.Load(filepath.Join(dir, RecordFile)); err != nil || record.Verdict.ExitCode != reports.ExitPass {
		t.Errorf("%+v, %v", record, err)
	}
}
