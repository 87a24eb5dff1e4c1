package agent

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// staged is a real etcd, its snapshot, and what to build of it.
type staged struct {
	*etcdtest.Member
	place    datadir.Place
	snapshot []byte
	build    datadir.BuildRequest
}

// stage is not for parallel tests: the handler finds etcdutl on the PATH, as it does in the member's image.
func stage(t *testing.T) *staged {
	t.Helper()
	cl := oneMember(t, "3.6", false)
	m := &staged{Member: cl.Members[0]}
	t.Setenv("PATH", filepath.Dir(m.Etcd))
	cl.Put(t, "a", "b")
	path := filepath.Join(t.TempDir(), "snapshot.db")
	etcdtest.Tool(t, m.Etcdctl, "--endpoints", m.Endpoint, "snapshot", "save", path)
	var err error
	if m.snapshot, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	m.place = datadir.Place{DataDir: filepath.Dir(filepath.Dir(filepath.Dir(m.DB))), Op: "op-1"}
	peer := "unix://" + m.Name + "-peer.sock:0"
	m.build = datadir.BuildRequest{Place: m.place, Name: m.Name, InitialCluster: m.Name + "=" + peer, Token: "kubectl-etcd-op-1",
		PeerURLs: []string{peer}, Bump: 100}
	return m
}

// put uploads the snapshot as a client does.
func (m *staged) put(t *testing.T) {
	t.Helper()
	var p datadir.Prepared
	ask(t, agentapi.RequestPrepare, agentapi.PrepareRequest{Place: m.place, Size: int64(len(m.snapshot))}).reply(&p)
	if p.Size != -1 || p.Built != nil || p.Free == 0 {
		t.Errorf("%+v", p)
	}
	write := upload(t, frame.WriteRequest{Path: p.Path, Size: int64(len(m.snapshot)), Mode: 0o600}, m.snapshot, sumOf(m.snapshot))
	write.wait(frame.TypeEnd, nil)
	write.in.Close()
}

func (m *staged) inspect(t *testing.T) (s datadir.State) {
	t.Helper()
	ask(t, agentapi.RequestInspect, m.place).reply(&s)
	return s
}

func TestRestoreHandlers(t *testing.T) {
	m := stage(t)
	running := m.inspect(t)
	if !running.Exists || !running.Locked || running.Inode == 0 || running.ClusterID == "" {
		t.Errorf("%+v", running)
	}
	m.put(t)
	if s := m.inspect(t); len(s.Operations) != 1 || !s.Operations[0].HasSnapshot {
		t.Errorf("%+v", s.Operations)
	}
	var b datadir.Built
	p := ask(t, agentapi.RequestBuild, m.build)
	p.waitLong(frame.TypeEnd)
	p.reply(&b)
	var step string
	if p.wait(frame.TypeProgress, &step); step != "sync" || b.Inode == 0 || b.Revision < 100 || b.ClusterID == running.ClusterID {
		t.Errorf("%q, %+v", step, b)
	}

	to := datadir.ExchangeRequest{Place: m.place, Inode: b.Inode, Exists: true}
	if e := ask(t, agentapi.RequestExchange, to).refusal(`db is locked by process `); e.Code != agentapi.CodeLocked {
		t.Errorf("%+v", e)
	}
	m.Stop()
	var e datadir.Exchanged
	ask(t, agentapi.RequestExchange, to).reply(&e)
	if !e.Exchanged || e.Inode != b.Inode || e.Other != running.Inode {
		t.Errorf("%+v", e)
	}
	m.Start(t)
	m.Wait(t)
	if s := m.inspect(t); s.ClusterID != b.ClusterID || s.Inode != b.Inode || s.Operations[0].Inode != running.Inode {
		t.Errorf("%+v", s)
	}
	m.Stop()
	if s := m.inspect(t); s.Revision != b.Revision || !s.RevisionKnown {
		t.Errorf("%+v", s)
	}
	var d datadir.Discarded
	ask(t, agentapi.RequestDiscard, m.place).reply(&d)
	if d.Freed == 0 || len(m.inspect(t).Operations) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestRestoreRefusals(t *testing.T) {
	m := stage(t)
	if e := ask(t, agentapi.RequestBuild, m.build).refusal("nothing has been uploaded"); e.Code != frame.CodeNotFound {
		t.Errorf("%+v", e)
	}
	if e := ask(t, agentapi.RequestPrepare, agentapi.PrepareRequest{Place: m.place, Size: 1 << 55}).refusal("are free", "MiB"); e.Code != frame.CodeNoSpace {
		t.Errorf("%+v", e)
	}
	elsewhere := m.build
	elsewhere.WALDir = "/wal"
	if e := ask(t, agentapi.RequestBuild, elsewhere).refusal("--wal-dir"); e.Code != agentapi.CodeSeparateLog {
		t.Errorf("%+v", e)
	}
	m.put(t)
	t.Run("no tool", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if e := ask(t, agentapi.RequestBuild, m.build).refusal("etcdutl"); e.Code != agentapi.CodeNoTool {
			t.Errorf("%+v", e)
		}
	})
	t.Run("old tool", func(t *testing.T) {
		tool(t, "echo 'etcdutl version: 3.5.9'")
		if e := ask(t, agentapi.RequestBuild, m.build).refusal("3.5.9"); e.Code != agentapi.CodeTooOld {
			t.Errorf("%+v", e)
		}
	})
	m.Stop()
	if e := ask(t, agentapi.RequestExchange, datadir.ExchangeRequest{Place: m.place, Inode: 1, Exists: true}).refusal("in neither place"); e.Code != agentapi.CodeInode {
		t.Errorf("%+v", e)
	}
	if e := ask(t, agentapi.RequestDiscard, datadir.Place{DataDir: m.place.DataDir, Op: ".."}).refusal(".."); e.Code != frame.CodeBadRequest {
		t.Errorf("%+v", e)
	}
	broken := append([]byte("broken"), m.snapshot[6:]...)
	if err := os.WriteFile(filepath.Join(m.place.DataDir, ".kubectl-etcd", "op-1", "snapshot.db"), broken, 0o600); err != nil {
		t.Fatal(err)
	}
	p := ask(t, agentapi.RequestBuild, m.build)
	if e := p.refusal("etcdutl"); e.Code != agentapi.CodeBadSnapshot {
		t.Errorf("%+v", e)
	}
	if e := ask(t, agentapi.RequestBuild, map[string]any{"dataDir": m.place.DataDir, "somethingNew": 1}).refusal("somethingNew"); e.Code != frame.CodeBadRequest {
		t.Errorf("%+v", e)
	}
}

// TestRefusalCodes: every refusal of the package has a code of its own.
func TestRefusalCodes(t *testing.T) {
	codes := map[string]bool{}
	for _, r := range refusals {
		codes[r.code] = true
	}
	if len(codes) != len(refusals) {
		t.Errorf("%d codes for %d refusals", len(codes), len(refusals))
	}
	full := fmt.Errorf("%w: %w", datadir.ErrNoSpace, fmt.Errorf("%w: %w", datadir.ErrBadSnapshot, rehearse.ErrRestore))
	p := start(t, t.Context(), map[string]Handler{"x": onDataDir(func(_ context.Context, _ struct{}, _ func(string)) (int, error) { return 0, full })})
	p.send(frame.TypeRequest, frame.Request{Name: "x", Body: json.RawMessage("{}")})
	if e := p.refusal(); e.Code != frame.CodeNoSpace {
		t.Errorf("%+v", e)
	}
}

// tool puts a shell script in the place of etcdutl.
func tool(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "etcdutl"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
}

// TestBuildEndsWithItsClient: when nobody listens any more, etcd's tool is stopped and what it made is removed.
func TestBuildEndsWithItsClient(t *testing.T) {
	m := stage(t)
	m.put(t)
	tool(t, fmt.Sprintf("%s \"$@\" || exit\n[ \"$1\" = version ] || exec /bin/sleep 600", m.Etcdutl))
	part := filepath.Join(m.place.DataDir, ".kubectl-etcd", "op-1", "data.part")
	is := func(there bool) func() bool {
		return func() bool {
			_, err := os.Stat(filepath.Join(part, "member", "wal"))
			return there == (err == nil)
		}
	}
	p := ask(t, agentapi.RequestBuild, m.build)
	p.until("the data is built", is(true))
	p.in.Close()
	if err := p.ended(time.Minute); !errors.Is(err, errStdinClosed) {
		t.Errorf("%v", err)
	}
	p.until("the build is removed", is(false))
	s := m.inspect(t)
	if len(s.Operations) != 1 || s.Operations[0].HasPart || !s.Operations[0].HasSnapshot {
		t.Errorf("%+v", s.Operations)
	}
	sum := sha256.Sum256(m.snapshot)
	var st frame.StatReply
	ask(t, frame.RequestStat, frame.StatRequest{Path: filepath.Join(filepath.Dir(part), "snapshot.db"), Sum: true}).reply(&st)
	if st.SHA256 != fmt.Sprintf("%x", sum) {
		t.Errorf("the snapshot is not what it was: %+v", st)
	}
}

func (p *peer) until(what string, is func() bool) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("wait until %s: not after 20 s", what)
		}
	}
}
