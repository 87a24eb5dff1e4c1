package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// ask holds one conversation with all the agent's handlers.
func ask(t *testing.T, name string, body any) *peer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.Context(), Handlers())
	p.send(frame.TypeRequest, frame.Request{Name: name, Body: raw})
	p.grant(1 << 30)
	return p
}

// reply waits for the end and decodes what goes with it.
func (p *peer) reply(into any) {
	p.t.Helper()
	var end frame.End
	p.wait(frame.TypeEnd, &end)
	if err := json.Unmarshal(end.Extra, into); err != nil {
		p.t.Fatal(err)
	}
	p.send(frame.TypeAck, nil)
	if err := p.ended(time.Minute); err != nil {
		p.t.Error(err)
	}
}

// refusal waits for an error.
func (p *peer) refusal(words ...string) frame.Error {
	p.t.Helper()
	var e frame.Error
	p.wait(frame.TypeError, &e)
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			p.t.Errorf("error %q lacks %q", e.Message, w)
		}
	}
	p.in.Close()
	return e
}

func oneMember(t *testing.T, minor string, tls bool) *etcdtest.Cluster {
	t.Helper()
	return etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}, TLS: tls})
}

func TestQueryHandler(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", true)
	cl.Put(t, "a", "b")
	e := agentapi.Endpoint{URL: cl.Members[0].Endpoint, CA: cl.TLS.CA, Cert: cl.TLS.Cert, Key: cl.TLS.Key, ServerName: etcdtest.ServerName}
	zero, future := int64(0), int64(1e6)
	var r agentapi.QueryReply
	ask(t, agentapi.RequestQuery, agentapi.QueryRequest{Endpoint: e, Status: true, Members: true, Alarms: true, HashAt: &zero}).reply(&r)
	if r.Status == nil || r.Status.Revision != 2 || len(r.Members) != 1 || r.Hash == nil || r.Hash.Revision != 2 || r.NotNow {
		t.Errorf("%+v", r)
	}
	r = agentapi.QueryReply{}
	ask(t, agentapi.RequestQuery, agentapi.QueryRequest{Endpoint: e, HashAt: &future}).reply(&r)
	if !r.NotNow || r.Hash != nil || r.Status != nil {
		t.Errorf("hash of the future: %+v", r)
	}

	e.CA = cl.TLS.OtherCA
	ask(t, agentapi.RequestQuery, agentapi.QueryRequest{Endpoint: e, Status: true}).refusal(e.URL, "unknown authority")
	e.CA = filepath.Join(t.TempDir(), "absent.crt")
	if err := ask(t, agentapi.RequestQuery, agentapi.QueryRequest{Endpoint: e, Status: true}).refusal(e.CA); err.Code != frame.CodeNotFound {
		t.Errorf("absent TLS file: %+v", err)
	}
	ask(t, agentapi.RequestQuery, map[string]any{"url": e.URL, "somethingNew": true}).refusal("somethingNew")
}

func TestSnapshotHandler(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			cl := oneMember(t, minor, false)
			cl.PutBytes(t, 9<<20)
			for _, compress := range []bool{false, true} {
				var r agentapi.SnapshotReply
				p := ask(t, agentapi.RequestSnapshot, agentapi.SnapshotRequest{Endpoint: agentapi.Endpoint{URL: cl.Members[0].Endpoint}, Compress: compress})
				var progress agentapi.SnapshotProgress
				p.wait(frame.TypeProgress, &progress)
				p.reply(&r)
				if progress.Total < 9<<20 {
					t.Errorf("progress: %+v", progress)
				}
				if !r.Plain.Trailer || r.Compressed != compress || r.Before == nil || r.After == nil || r.Before.Revision != r.After.Revision ||
					r.Usage.PeakRSS == 0 {
					t.Errorf("%+v", r)
				}
				proves(t, &p.data, r.Plain)
			}
		})
	}
}

// proves checks that what came is what the agent says it sent.
func proves(t *testing.T, came io.Reader, want snapshot.Proof) {
	t.Helper()
	plain, _, err := snapshot.Reader(came)
	if err != nil {
		t.Fatal(err)
	}
	check := snapshot.NewChecker()
	if _, err := io.Copy(check, plain); err != nil {
		t.Fatal(err)
	}
	if got, err := check.Finish(); (err != nil) == want.Trailer || got != want {
		t.Errorf("%+v came (%v), %+v was sent", got, err, want)
	}
}

// brake stops the first write until it is released.
type brake struct {
	bytes.Buffer
	reached, release chan struct{}
	once             bool
}

func (b *brake) Write(p []byte) (int, error) {
	if !b.once {
		b.once = true
		close(b.reached)
		<-b.release
	}
	return b.Buffer.Write(p)
}

func TestSnapshotCancelled(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", false)
	cl.PutBytes(t, 24<<20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := etcd.Dial(ctx, etcd.Config{Endpoint: cl.Members[0].Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := &brake{reached: make(chan struct{}), release: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := answer.Snapshot(ctx, c, true, b, func(agentapi.SnapshotProgress) {})
		done <- err
	}()
	<-b.reached
	cancel()
	close(b.release)
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled snapshot: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a cancelled snapshot goes on")
	}
}

func TestRawHandler(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", false)
	m := cl.Members[0]
	cl.PutBytes(t, 5<<20)
	dataDir := filepath.Dir(filepath.Dir(filepath.Dir(m.DB)))

	ask(t, agentapi.RequestRaw, agentapi.RawRequest{DataDir: dataDir}).refusal("database is in use: its etcd still runs")
	m.Stop()
	want, err := os.ReadFile(m.DB)
	if err != nil {
		t.Fatal(err)
	}
	for _, compress := range []bool{false, true} {
		var r agentapi.SnapshotReply
		p := ask(t, agentapi.RequestRaw, agentapi.RawRequest{DataDir: dataDir, Compress: compress})
		p.reply(&r)
		if r.Plain.Trailer || r.Plain.Size != int64(len(want)) || r.Before != nil {
			t.Errorf("%+v, want %d bytes", r, len(want))
		}
		proves(t, &p.data, r.Plain)
	}

	// The lock is released again: etcd starts.
	m.Start(t)
	m.Wait(t)
	m.Stop()
	if err := ask(t, agentapi.RequestRaw, agentapi.RawRequest{DataDir: t.TempDir()}).refusal("open database", "member/snap/db"); err.Code != frame.CodeNotFound {
		t.Errorf("no data: %+v", err)
	}
	other := t.TempDir()
	if err := os.MkdirAll(filepath.Join(other, "member", "snap", "db"), 0o755); err != nil {
		t.Fatal(err)
	}
	ask(t, agentapi.RequestRaw, agentapi.RawRequest{DataDir: other}).refusal("not a regular file")
}

// TestRehearseHandler is not parallel: the handler finds etcd on the PATH, as it does in the member's image.
func TestRehearseHandler(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	live := s.Fill(t, 50)
	path := s.Save(t)
	report, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}

	t.Setenv("PATH", t.TempDir())
	ask(t, agentapi.RequestRehearse, agentapi.RehearseRequest{Path: path}).refusal("etcd program not found")
	t.Setenv("PATH", filepath.Dir(s.Etcd))
	p := ask(t, agentapi.RequestRehearse, agentapi.RehearseRequest{Path: path})
	var r rehearse.Result
	p.waitLong(frame.TypeEnd)
	p.reply(&r)
	if r.Revision != report.Revision || r.LiveKeys != live || !r.HashKVCompared {
		t.Errorf("%+v; want revision %d, %d keys", r, report.Revision, live)
	}
	ask(t, agentapi.RequestRehearse, agentapi.RehearseRequest{Path: path + ".absent"}).refusal("absent")
}

// waitLong waits for a frame that takes etcd some seconds.
func (p *peer) waitLong(t frame.Type) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		_, ok := p.last[t]
		failed := p.last[frame.TypeError]
		p.mu.Unlock()
		switch {
		case ok:
			return
		case failed != nil:
			p.t.Fatalf("error: %s", failed)
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("no %v frame; seen: %v", t, p.seen)
		}
	}
}
