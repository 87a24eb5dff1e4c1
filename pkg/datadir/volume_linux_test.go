package datadir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
)

// childEnv makes this test program a child that builds until it is killed.
const childEnv = "DATADIR_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		r := BuildRequest{Place: Place{DataDir: os.Args[1], Op: op}, Name: "m1", InitialCluster: "m1=unix://m1-peer.sock:0", Token: "kubectl-etcd-" + op,
			PeerURLs: []string{"unix://m1-peer.sock:0"}, Bump: 5}
		_, err := Build(context.Background(), r, func(step string) { fmt.Println(step) })
		fmt.Println("ended:", err)
		return
	}
	os.Exit(m.Run())
}

// TestKilledInTheMiddle kills the process that builds while etcd's tool is at work.
func TestKilledInTheMiddle(t *testing.T) {
	m := startMember(t, "3.6")
	m.upload(t)
	// The real tool, which then does not end.
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s \"$@\" || exit\n[ \"$1\" = version ] || exec /bin/sleep 600\n", m.Etcdutl)
	if err := os.WriteFile(filepath.Join(bin, "etcdutl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], m.place.DataDir)
	child.Env = append(os.Environ(), childEnv+"=1", "PATH="+bin)
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "restore\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	part := m.place.op(buildingName)
	eventually(t, "the data is built", func() bool { return exists(filepath.Join(part, "member", "wal")) })
	// At first there are two: the script and the tool in it.
	eventually(t, "one process runs, etcd's tool", func() bool { return processesIn(t, m.place.op()) == 1 })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	eventually(t, "etcd's tool ends", func() bool { return processesIn(t, m.place.op()) == 0 })

	if o := m.inspect(t).Operations; len(o) != 1 || !o[0].HasPart || !o[0].HasSnapshot || o[0].Built != nil || o[0].Inode != 0 {
		t.Errorf("after the kill: %+v", o)
	}
	b, err := Build(t.Context(), m.request(5), func(string) {})
	if err != nil || b.Revision != m.report.Revision+5 || exists(part) {
		t.Errorf("the next build: %+v, %v", b, err)
	}
}

// TestCancelledInTheMiddle: a build whose client has gone leaves the snapshot only.
func TestCancelledInTheMiddle(t *testing.T) {
	m := startMember(t, "3.6")
	m.upload(t)
	for _, at := range []string{"restore", "check", "sync"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Build(ctx, m.request(5), func(step string) {
			if step == at {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", at, err)
		}
		if got, want := m.leftovers(t), []string{op, op + "/snapshot.db"}; !slices.Equal(got, want) {
			t.Errorf("%s: there is %v, want %v", at, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Inspect(ctx, m.place); !errors.Is(err, context.Canceled) {
		t.Errorf("inspect: %v", err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("wait until %s: not after 20 s", what)
		}
	}
}

// processesIn counts the processes whose working directory is dir.
func processesIn(t *testing.T, dir string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("list processes: %v, %d found", err, len(links))
	}
	for _, link := range links {
		if cwd, _ := os.Readlink(link); cwd == dir {
			n++
		}
	}
	return n
}

// TestDiskFull: refused before anything; and when the disk becomes full all the same, what was there is left.
func TestDiskFull(t *testing.T) {
	m := startMember(t, "3.6")
	m.place.DataDir = disktest.Small(t, "40m")
	_, err := Prepare(t.Context(), m.place, m.report.Size)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "40 MiB") || !strings.Contains(err.Error(), fmt.Sprint(40<<20)) {
		t.Errorf("prepare: %v", err)
	}
	if left, _ := os.ReadDir(m.place.DataDir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}

	roomy := here
	roomy.free = func(string) (int64, int64, error) { return 1 << 40, 1 << 40, nil }
	p, err := roomy.prepare(t.Context(), m.place, m.report.Size)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(m.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), m.request(5), func(string) {}); !errors.Is(err, ErrNoSpace) || strings.Contains(err.Error(), "became full") {
		t.Errorf("build: %v", err)
	}
	// etcd allocates 64 MiB of log in advance.
	_, err = roomy.build(t.Context(), m.request(5), func(string) {})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "has been removed") {
		t.Errorf("full in the middle: %v", err)
	}
	if got, want := m.leftovers(t), []string{op, op + "/snapshot.db"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	free, _, err := freeSpace(m.place.DataDir)
	if err != nil || free < 40<<20-int64(len(data))-64<<10 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
}

// TestNewVolume restores where there was nothing, not even the data directory, and takes it back.
func TestNewVolume(t *testing.T) {
	m := startMember(t, "3.6")
	m.Stop()
	if err := os.RemoveAll(m.place.DataDir); err != nil {
		t.Fatal(err)
	}
	s := m.inspect(t)
	if s.Exists || s.Inode != 0 || s.Free == 0 || s.RevisionKnown || !s.Writable {
		t.Errorf("%+v", s)
	}
	b := m.build(t, 7)
	r := ExchangeRequest{Place: m.place, Inode: b.Inode}
	for i, want := range []bool{true, false} {
		e, err := Exchange(t.Context(), r)
		if err != nil || e.Exchanged != want || e.Inode != b.Inode || e.Other != 0 {
			t.Errorf("exchange %d: %+v, %v", i, e, err)
		}
	}
	m.serves(t, b)
	r.Inode = 0
	if _, err := Exchange(t.Context(), r); !errors.Is(err, ErrLocked) {
		t.Errorf("undone while etcd runs: %v", err)
	}
	m.Stop()
	for i, want := range []bool{true, false} {
		e, err := Exchange(t.Context(), r)
		if err != nil || e.Exchanged != want || e.Inode != 0 || e.Other != b.Inode {
			t.Errorf("undo %d: %+v, %v", i, e, err)
		}
	}
	if _, err := Discard(t.Context(), m.place); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(m.place.DataDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestOwnerAndModes: new data belongs to whom the old belongs, and nobody else may read it.
func TestOwnerAndModes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("giving files to another user needs root")
	}
	m := startMember(t, "3.6")
	m.Stop()
	err := filepath.WalkDir(m.place.member(), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 1234, 4321))
	})
	if err != nil {
		t.Fatal(err)
	}
	if b := m.build(t, 7); len(b.Notes) != 0 {
		t.Errorf("%+v", b)
	}
	if s := m.inspect(t); s.UID != 1234 || s.GID != 4321 {
		t.Errorf("%+v", s)
	}
	err = filepath.WalkDir(m.place.ours(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		want := os.FileMode(0o600)
		switch {
		case d.IsDir():
			want = 0o700
		case filepath.Ext(path) == ".snap":
			want = 0o644 // so etcd makes it; nobody else comes to it
		}
		if st.Uid != 1234 || st.Gid != 4321 || info.Mode().Perm() != want {
			t.Errorf("%s: %d:%d %v", path, st.Uid, st.Gid, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestInspectDamaged: what cannot be read is a note.
func TestInspectDamaged(t *testing.T) {
	m := startMember(t, "3.6")
	m.Stop()
	logs, _ := filepath.Glob(filepath.Join(m.place.member(), "wal", "*.wal"))
	for _, path := range append(logs, m.DB) {
		if err := os.WriteFile(path, []byte(strings.Repeat("damage", 5000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := m.inspect(t)
	if !s.Exists || s.RevisionKnown || s.ClusterID != "" || len(s.Notes) != 2 || !strings.Contains(fmt.Sprint(s.Notes), "not the log of an etcd") {
		t.Errorf("%+v", s)
	}
	if err := os.RemoveAll(m.place.member()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.place.member(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s = m.inspect(t); s.Exists || len(s.Notes) != 1 {
		t.Errorf("a file: %+v", s)
	}
}
