package rehearse_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestRunWhereNothingCanBeWritten: the system's folder is taken instead of the snapshot's, but not instead of one that
// was asked for.
func TestRunWhereNothingCanBeWritten(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	f, err := os.Open(etcdtest.Start(t, b).Save(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	temp, err := os.MkdirTemp("", "re")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)
	// Not even root can make a folder beside this name of the file.
	c := rehearse.Config{Snapshot: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), Etcd: b.Etcd, Etcdutl: b.Etcdutl}
	var in []string
	c.Progress = func(step string) {
		if step == "compare" {
			in, _ = filepath.Glob(filepath.Join(temp, "etcd-rehearsal-*", "data"))
		}
	}
	if _, err := rehearse.Run(t.Context(), c); err != nil || len(in) != 1 {
		t.Errorf("data in %v, %v", in, err)
	}
	if left, _ := os.ReadDir(temp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	c.Dir = filepath.Join(temp, "absent")
	if _, err := rehearse.Run(t.Context(), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestRunWithoutSockets: where no folder's name fits a socket's path, the error says what to do.
func TestRunWithoutSockets(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	path := etcdtest.Start(t, b).Save(t)
	dir := filepath.Join(t.TempDir(), "with space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	_, err := rehearse.Run(t.Context(), rehearse.Config{Snapshot: path, Dir: dir, Etcd: b.Etcd, Etcdutl: b.Etcdutl})
	if err == nil || !strings.Contains(err.Error(), "name another folder by TMPDIR") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
