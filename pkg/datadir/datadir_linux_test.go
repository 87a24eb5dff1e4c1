package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

const op = "20260102-0304-abc"

// member is a real etcd with some keys and a snapshot of it.
type member struct {
	*etcdtest.Member
	place    Place
	snapshot string
	report   *verify.Report
}

func startMember(t *testing.T, minor string) *member {
	t.Helper()
	b := etcdtest.Find(t, minor)
	t.Setenv("PATH", filepath.Dir(b.Etcd))
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}})
	m := &member{Member: c.Members[0]}
	for i := range 20 {
		c.Put(t, fmt.Sprintf("before/%d", i%7), strings.Repeat("x", 1000))
	}
	m.place = Place{DataDir: filepath.Dir(filepath.Dir(filepath.Dir(m.DB))), Op: op}
	m.snapshot = filepath.Join(t.TempDir(), "snapshot.db")
	etcdtest.Tool(t, b.Etcdctl, "--endpoints", m.Endpoint, "snapshot", "save", m.snapshot)
	var err error
	if m.report, err = verify.File(t.Context(), m.snapshot, verify.Options{}); err != nil {
		t.Fatal(err)
	}
	c.Put(t, "after", "the snapshot")
	return m
}

func (m *member) status(t *testing.T) *clientv3.StatusResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := m.Client(t).Status(ctx, m.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (m *member) request(bump int64) BuildRequest {
	peer := "unix://" + m.Name + "-peer.sock:0"
	return BuildRequest{Place: m.place, Name: m.Name, InitialCluster: m.Name + "=" + peer, Token: "kubectl-etcd-" + op,
		PeerURLs: []string{peer}, Bump: bump}
}

// upload puts the snapshot where Prepare says.
func (m *member) upload(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(m.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(t.Context(), m.place, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *member) build(t *testing.T, bump int64) *Built {
	t.Helper()
	m.upload(t)
	b, err := Build(t.Context(), m.request(bump), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (m *member) inspect(t *testing.T) *State {
	t.Helper()
	s, err := Inspect(t.Context(), m.place)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (m *member) exchange(inode uint64) (*Exchanged, error) {
	return Exchange(context.Background(), ExchangeRequest{Place: m.place, Inode: inode, Exists: true})
}

// restart starts etcd on what is there and returns its status.
func (m *member) restart(t *testing.T) *clientv3.StatusResponse {
	t.Helper()
	m.Start(t)
	m.Wait(t)
	return m.status(t)
}

// leftovers are the names in our folder.
func (m *member) leftovers(t *testing.T) (names []string) {
	t.Helper()
	root := m.place.ours()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != root && !strings.Contains(path, "/member/") {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

// TestRestore is the way of a real restore, there and back.
func TestRestore(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			m := startMember(t, minor)
			live := m.status(t)
			s := m.inspect(t)
			if !s.Exists || !s.Locked || s.RevisionKnown || s.ClusterID != fmt.Sprintf("%x", live.Header.ClusterId) ||
				s.MemberID != fmt.Sprintf("%x", live.Header.MemberId) || s.DBSize == 0 || s.TreeSize < s.DBSize || s.Free == 0 || !s.Writable {
				t.Errorf("while it runs: %+v, etcd says %+v", s, live)
			}
			const bump = 1_000_000
			b := m.build(t, bump)
			if b.Revision != m.report.Revision+bump || b.CompactRevision != b.Revision || b.ClusterID == s.ClusterID || !strings.HasPrefix(b.ToolVersion, minor+".") ||
				b.Tool != "etcdutl" || len(b.Notes) != 0 {
				t.Errorf("built %+v of revision %d", b, m.report.Revision)
			}
			if got, want := m.leftovers(t), []string{op, op + "/data", op + "/data/build.json", op + "/data/member"}; !slices.Equal(got, want) {
				t.Errorf("there is %v, want %v", got, want)
			}

			if _, err := m.exchange(b.Inode); !errors.Is(err, ErrLocked) {
				t.Errorf("exchanged while etcd runs: %v", err)
			}
			m.Stop()
			old := m.inspect(t)
			if old.Locked || !old.RevisionKnown || old.Inode != s.Inode {
				t.Errorf("stopped: %+v", old)
			}
			e, err := m.exchange(b.Inode)
			if err != nil || !e.Exchanged || !e.Atomic || e.Inode != b.Inode || e.Other != old.Inode {
				t.Fatalf("exchange: %+v, %v", e, err)
			}
			if e, err = m.exchange(b.Inode); err != nil || e.Exchanged {
				t.Errorf("exchange again: %+v, %v", e, err)
			}
			m.serves(t, b)

			m.Stop()
			if e, err = m.exchange(old.Inode); err != nil || !e.Exchanged || e.Inode != old.Inode || e.Other != b.Inode {
				t.Fatalf("undo: %+v, %v", e, err)
			}
			back := m.restart(t)
			if back.Header.ClusterId != live.Header.ClusterId || back.Header.Revision != live.Header.Revision {
				t.Errorf("after the undo etcd says %+v, before it said %+v", back, live)
			}
			if d, err := Discard(t.Context(), m.place); err != nil || d.Freed < b.Size {
				t.Errorf("discard: %+v, %v", d, err)
			}
			if _, err := os.Stat(m.place.ours()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("left behind: %v", m.leftovers(t))
			}
			if d, err := Discard(t.Context(), m.place); err != nil || d.Freed != 0 {
				t.Errorf("discard again: %+v, %v", d, err)
			}
		})
	}
}

// serves starts etcd on what was built and compares.
func (m *member) serves(t *testing.T, b *Built) {
	t.Helper()
	now := m.restart(t)
	if fmt.Sprintf("%x", now.Header.ClusterId) != b.ClusterID || fmt.Sprintf("%x", now.Header.MemberId) != b.MemberID || now.Header.Revision != b.Revision {
		t.Errorf("etcd says %+v, built was %+v", now.Header, b)
	}
	c := m.Client(t)
	r, err := c.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || r.Count != m.report.LiveKeys {
		t.Errorf("%d keys, want %d: %v", r.Count, m.report.LiveKeys, err)
	}
	if _, err := c.Get(t.Context(), "before/1", clientv3.WithRev(m.report.Revision)); err == nil || !strings.Contains(err.Error(), "compacted") {
		t.Errorf("a read at the snapshot's revision: %v", err)
	}
	p, err := c.Put(t.Context(), "new", "key")
	if err != nil || p.Header.Revision != b.Revision+1 {
		t.Errorf("put: %+v, %v", p, err)
	}
}

// TestSecondRestore builds of the same snapshot again, above what the first restore led to.
func TestSecondRestore(t *testing.T) {
	m := startMember(t, "3.6")
	first := m.build(t, 1_000_000)
	m.Stop()
	if _, err := m.exchange(first.Inode); err != nil {
		t.Fatal(err)
	}
	m.restart(t)
	m.Stop()
	seen := m.inspect(t)
	if seen.Revision != first.Revision || seen.Operations[0].Built.Inode != seen.Inode {
		t.Errorf("%+v", seen)
	}
	m.place.Op = "second"
	second := m.build(t, seen.Revision-m.report.Revision+1_000_000)
	if second.Revision != first.Revision+1_000_000 {
		t.Errorf("revision %d after %d", second.Revision, first.Revision)
	}
	e, err := m.exchange(second.Inode)
	if err != nil || e.Other != first.Inode {
		t.Fatalf("%+v, %v", e, err)
	}
	m.serves(t, second)
}

func TestBuildIsRepeatable(t *testing.T) {
	m := startMember(t, "3.6")
	var steps []string
	m.upload(t)
	first, err := Build(t.Context(), m.request(10), func(step string) { steps = append(steps, step) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(steps, []string{"restore", "check", "sync"}) {
		t.Errorf("steps %v", steps)
	}
	second, err := Build(t.Context(), m.request(10), func(step string) { t.Errorf("it does %s again", step) })
	if err != nil || fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("%+v, %v; first %+v", second, err, first)
	}
	if _, err := Build(t.Context(), m.request(11), func(string) {}); !errors.Is(err, ErrDifferent) {
		t.Errorf("another bump: %v", err)
	}
	p, err := Prepare(t.Context(), m.place, m.report.Size)
	if err != nil || p.Built == nil || p.Built.Inode != first.Inode || p.Size != -1 {
		t.Errorf("prepare after build: %+v, %v", p, err)
	}
	// After the exchange, too, it says what it built.
	old := m.inspect(t).Inode
	m.Stop()
	if _, err := m.exchange(first.Inode); err != nil {
		t.Fatal(err)
	}
	if again, err := Build(t.Context(), m.request(10), func(string) {}); err != nil || again.Inode != first.Inode {
		t.Errorf("after the exchange: %+v, %v", again, err)
	}
	if o := m.inspect(t).Operations; len(o) != 1 || o[0].Inode != old || o[0].Built.Inode != first.Inode || o[0].Op != op || o[0].HasPart || o[0].HasSnapshot {
		t.Errorf("operations %+v", o)
	}
}

// TestPrepareAnotherSize: a client that goes on may send the same snapshot in another form. What came of the first has to go,
// or both would have to have room.
func TestPrepareAnotherSize(t *testing.T) {
	m := startMember(t, "3.6")
	m.upload(t)
	for _, c := range []struct{ size, want int64 }{{m.report.Size, m.report.Size}, {m.report.Size - 512, -1}, {m.report.Size, -1}} {
		if p, err := Prepare(t.Context(), m.place, c.size); err != nil || p.Size != c.want {
			t.Errorf("prepare for %d bytes: %+v, %v; want %d", c.size, p, err, c.want)
		}
	}
	if got, want := m.leftovers(t), []string{op}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	m.build(t, 5)
}

func TestBuildRefuses(t *testing.T) {
	m := startMember(t, "3.6")
	if _, err := Build(t.Context(), m.request(1), func(string) {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without an upload: %v", err)
	}
	m.upload(t)
	snapshot := m.place.op(snapshotName)
	f, err := os.OpenFile(snapshot, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("flip"), 9000)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), m.request(1), func(string) {}); !errors.Is(err, ErrBadSnapshot) || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("damaged: %v", err)
	}
	if got, want := m.leftovers(t), []string{op, op + "/snapshot.db"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
	for name, change := range map[string]func(*BuildRequest){
		"no token":  func(r *BuildRequest) { r.Token = "" },
		"no peers":  func(r *BuildRequest) { r.PeerURLs = nil },
		"below":     func(r *BuildRequest) { r.Bump = -1 },
		"elsewhere": func(r *BuildRequest) { r.Op = "../../x" },
		"root":      func(r *BuildRequest) { r.DataDir = "/" },
		"relative":  func(r *BuildRequest) { r.DataDir = "data" },
	} {
		r := m.request(1)
		change(&r)
		if _, err := Build(t.Context(), r, func(string) {}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := m.request(1)
	r.WALDir = "/elsewhere/wal"
	if _, err := Build(t.Context(), r, func(string) {}); !errors.Is(err, ErrSeparateLog) {
		t.Errorf("separate log: %v", err)
	}
}

// TestBuildRaw builds of a copy of the database, which has no sum of etcd's.
func TestBuildRaw(t *testing.T) {
	m := startMember(t, "3.6")
	m.Shutdown(t)
	m.snapshot = m.DB
	m.upload(t)
	if _, err := Build(t.Context(), m.request(5), func(string) {}); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("without being told: %v", err)
	}
	r := m.request(5)
	r.Raw = true
	b, err := Build(t.Context(), r, func(string) {})
	if err != nil || b.Revision != m.inspect(t).Revision+5 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestToolTooOld(t *testing.T) {
	for version, old := range map[string]bool{"3.5.9": true, "3.5.10": false, "3.5.35": false, "3.6.0-rc.1": false, "3.7.3": false, "4.0.0": false,
		"3.4.30": true, "3.5": true, "unknown": true} {
		if before(version, 3, 5, 10) != old {
			t.Errorf("%s", version)
		}
	}
	m := startMember(t, "3.6")
	m.upload(t)
	bin := t.TempDir()
	script := "#!/bin/sh\necho 'etcdutl version: 3.5.9'\n"
	if err := os.WriteFile(filepath.Join(bin, "etcdutl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if _, err := Build(t.Context(), m.request(1), func(string) {}); !errors.Is(err, ErrTooOld) || !strings.Contains(err.Error(), "3.5.9") {
		t.Errorf("%v", err)
	}
}
