package agent

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// changing asks one member of a cluster for changes.
type changing struct {
	t *testing.T
	agentapi.Endpoint
}

func (c changing) change(change string, id etcd.ID, urls ...string) (r agentapi.MembershipReply) {
	c.t.Helper()
	ask(c.t, agentapi.RequestMembership, agentapi.MembershipRequest{Endpoint: c.Endpoint, Change: change, ID: id, PeerURLs: urls}).reply(&r)
	return r
}

// promoted asks until the learner is not behind any more.
func (c changing) promoted(id etcd.ID) {
	c.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r := c.change(agentapi.MemberPromote, id)
		if r.NotNow == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			c.t.Fatalf("wait until the learner is promoted: not after 30s; last seen: %s", r.NotNow)
		}
	}
}

// TestMembershipHandler replaces a member by what the handlers do, each twice: a client may have gone before it heard.
func TestMembershipHandler(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			b := etcdtest.Find(t, minor)
			cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b, b}, TLS: true})
			lost := cl.Leader(t)
			heir := cl.Followers(t)[0]
			of := func(m *etcdtest.Member) changing {
				return changing{t, agentapi.Endpoint{URL: m.Endpoint, CA: cl.TLS.CA, Cert: cl.TLS.Cert, Key: cl.TLS.Key}}
			}
			asked := of(heir)
			ids := map[string]etcd.ID{}
			for _, m := range asked.change("", 0).Members {
				ids[m.Name] = m.ID
			}
			if len(ids) != 3 {
				t.Fatalf("%v", ids)
			}
			if r := of(lost).change(agentapi.LeaderMove, ids[heir.Name]); r.NotNow != "" || cl.Leader(t) != heir {
				t.Fatalf("%+v", r)
			}
			for range 2 {
				if r := asked.change(agentapi.MemberRemove, ids[lost.Name]); r.NotNow != "" || len(r.Members) != 2 {
					t.Errorf("%+v", r)
				}
			}
			lost.Stop()
			first := asked.change(agentapi.MemberAdd, 0, lost.PeerURL)
			if again := asked.change(agentapi.MemberAdd, 0, lost.PeerURL); first.ID == 0 || again.ID != first.ID || len(again.Members) != 3 {
				t.Fatalf("%+v, then %+v", first, again)
			}
			if r := asked.change(agentapi.MemberPromote, first.ID); !strings.Contains(r.NotNow, "in sync with leader") {
				t.Errorf("a learner that has not started: %+v", r)
			}

			var s datadir.State
			place := datadir.Place{DataDir: filepath.Dir(filepath.Dir(filepath.Dir(lost.DB))), Op: "op-1"}
			ask(t, agentapi.RequestInspect, place).reply(&s)
			seed := datadir.SeedRequest{Place: place, ClusterID: s.ClusterID, MemberID: strconv.FormatUint(uint64(first.ID), 16)}
			var built datadir.Built
			ask(t, agentapi.RequestSeed, seed).reply(&built)
			to := datadir.ExchangeRequest{Place: place, Inode: built.Inode, Exists: true, Unless: seed.MemberID}
			var e datadir.Exchanged
			ask(t, agentapi.RequestExchange, to).reply(&e)
			lost.Start(t)
			asked.promoted(first.ID)
			if r := asked.change(agentapi.MemberPromote, first.ID); r.NotNow != "" {
				t.Errorf("promoted again: %+v", r)
			}
			lost.Wait(t)
			to.Inode = s.Inode
			if e := ask(t, agentapi.RequestExchange, to).refusal("joined"); e.Code != agentapi.CodeJoined {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestMembershipRefusals(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", false)
	e := agentapi.Endpoint{URL: cl.Members[0].Endpoint}
	refused := func(r agentapi.MembershipRequest, code string, words ...string) {
		t.Helper()
		r.Endpoint = e
		if e := ask(t, agentapi.RequestMembership, r).refusal(words...); e.Code != code {
			t.Errorf("%+v", e)
		}
	}
	refused(agentapi.MembershipRequest{Change: agentapi.MemberPromote, ID: 5}, agentapi.CodeMembership, "member not found")
	refused(agentapi.MembershipRequest{Change: agentapi.MemberAdd, PeerURLs: []string{cl.Members[0].PeerURL}}, agentapi.CodeMembership, "already exists")
	refused(agentapi.MembershipRequest{Change: "destroy"}, frame.CodeBadRequest, "destroy")
	cl.Members[0].Stop()
	if r := (changing{t, e}).change("", 0); r.NotNow == "" {
		t.Errorf("%+v", r)
	}
}
