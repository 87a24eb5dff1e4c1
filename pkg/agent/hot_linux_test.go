package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// hotPeer is the client of a hot exchange.
type hotPeer struct {
	*peer
	send *frame.Sender
}

func (m *staged) hot(t *testing.T, inode uint64) *hotPeer {
	t.Helper()
	p := ask(t, agentapi.RequestHot, datadir.HotRequest{Place: m.place, Inode: inode, HoldMillis: 5000})
	p.wait(frame.TypeCredit, nil)
	h := &hotPeer{p, frame.NewSender(t.Context(), p.w)}
	h.send.Grant(uploadWindow)
	h.at(datadir.Ready)
	return h
}

func (h *hotPeer) at(want datadir.Point) (s datadir.HotState) {
	h.t.Helper()
	h.until("the agent is "+string(want), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return json.Unmarshal(h.last[frame.TypeProgress], &s) == nil && s.Point == want
	})
	return s
}

func (h *hotPeer) order(o datadir.Order) {
	h.t.Helper()
	if _, err := fmt.Fprintln(h.send, o); err != nil {
		h.t.Fatal(err)
	}
	if err := h.send.Flush(); err != nil {
		h.t.Fatal(err)
	}
}

// writes tells whether etcd takes a write in time.
func (m *staged) writes(t *testing.T, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := m.Client(t).Put(ctx, "a", "c")
	return err == nil
}

// built uploads a snapshot and builds data of it.
func (m *staged) built(t *testing.T) datadir.Built {
	t.Helper()
	m.put(t)
	return m.buildIt(t)
}

func (m *staged) buildIt(t *testing.T) (b datadir.Built) {
	t.Helper()
	p := ask(t, agentapi.RequestBuild, m.build)
	p.waitLong(frame.TypeEnd)
	p.reply(&b)
	return b
}

func TestHotHandlers(t *testing.T) {
	m := stage(t)
	var check datadir.HotState
	ask(t, agentapi.RequestHotCheck, m.place).reply(&check)
	pid := m.Process().Pid
	if check.PID != pid || len(m.inspect(t).Operations) != 0 {
		t.Errorf("%+v, left %+v", check, m.inspect(t).Operations)
	}
	b := m.built(t)

	// The client goes while etcd is frozen.
	h := m.hot(t, b.Inode)
	h.order(datadir.OrderFreeze)
	if s := h.at(datadir.Frozen); s.PID != pid || m.writes(t, 300*time.Millisecond) {
		t.Errorf("not frozen: %+v", s)
	}
	h.in.Close()
	if err := h.ended(5 * time.Second); err == nil {
		t.Error("the agent thinks that all is well")
	}
	if !m.writes(t, 20*time.Second) || m.Process().Pid != pid || m.inspect(t).Inode == b.Inode {
		t.Errorf("etcd does not run on: %+v", m.inspect(t))
	}

	// It says something else.
	h = m.hot(t, b.Inode)
	h.order(datadir.OrderFreeze)
	h.at(datadir.Frozen)
	h.order("what")
	if e := h.refusal("etcd was left as it was", `"what"`); e.Code != frame.CodeBadRequest || !m.writes(t, 20*time.Second) {
		t.Errorf("%+v", e)
	}

	h = m.hot(t, b.Inode)
	h.order(datadir.OrderFreeze)
	h.at(datadir.Frozen)
	h.order(datadir.OrderGo)
	var done datadir.Switched
	h.reply(&done)
	if done.Killed != pid || done.Inode != b.Inode {
		t.Errorf("%+v", done)
	}
	m.Start(t)
	m.Wait(t)
	if s := m.inspect(t); s.ClusterID != b.ClusterID || !s.Elected {
		t.Errorf("%+v", s)
	}
	var thawed datadir.Thawed
	if ask(t, agentapi.RequestThaw, m.place).reply(&thawed); thawed.PID != 0 {
		t.Errorf("%+v", thawed)
	}
}

// TestHotRefusals: the codes by which a client knows why.
func TestHotRefusals(t *testing.T) {
	m := stage(t)
	b := m.built(t)
	h := m.hot(t, b.Inode)
	h.order(datadir.OrderFreeze)
	h.at(datadir.Frozen)
	if e := h.refusal("none came in 5s"); e.Code != agentapi.CodeThawed {
		t.Errorf("%+v", e)
	}
	if e := ask(t, agentapi.RequestHot, datadir.HotRequest{Place: m.place, Inode: 1, HoldMillis: 1000}).refusal("in neither place"); e.Code != agentapi.CodeInode {
		t.Errorf("%+v", e)
	}
	m.Stop()
	if e := ask(t, agentapi.RequestHotCheck, m.place).refusal("no process"); e.Code != agentapi.CodeHolder {
		t.Errorf("%+v", e)
	}
}
