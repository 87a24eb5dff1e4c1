package agent

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// quota of the members that are filled, in bytes.
const quota = 16 << 20

// fillUp writes until etcd has no space left: new keys each time, or the same one over and over. Values are small, so that it is
// keys that fill it: where every write is a commit of its own, a large one leaves as much free behind it as it takes.
func fillUp(t *testing.T, m *etcdtest.Member, anew bool) {
	t.Helper()
	c, value := m.Client(t), strings.Repeat("x", 64<<10)
	for i := range 1000 {
		key := "/a"
		if anew {
			key = fmt.Sprint("/", i)
		}
		if _, err := c.Put(t.Context(), key, value); err != nil {
			if err != rpctypes.ErrNoSpace {
				t.Fatal(err)
			}
			// etcd passes over it when raising the alarm takes too long; the next write raises it again.
			alarms, err := c.AlarmList(t.Context())
			if err != nil || len(alarms.Alarms) == 0 {
				continue
			}
			st, err := c.Status(t.Context(), m.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if !anew || st.DbSizeInUse > quota*9/10 {
				return
			}
			// It is free pages that fill it, not keys: how many there are depends on how many writes share a commit.
			if _, err := c.Defragment(t.Context(), m.Endpoint); err != nil {
				t.Fatal(err)
			}
			if _, err := c.AlarmDisarm(t.Context(), (*clientv3.AlarmMember)(alarms.Alarms[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("etcd takes more than its quota")
}

// TestDisarm: history that fills the quota goes, and writes are taken again; live data that fills it is left alone, with its
// alarm.
func TestDisarm(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		for _, live := range []bool{false, true} {
			if live && minor == "3.5" {
				continue // it does not tell its quota: nobody can say that it is still full
			}
			t.Run(fmt.Sprintf("etcd-%s, live data: %t", minor, live), func(t *testing.T) {
				t.Parallel()
				cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}, Args: []string{"--quota-backend-bytes", fmt.Sprint(quota)}})
				m := cl.Members[0]
				fillUp(t, m, live)
				e := agentapi.DisarmRequest{Endpoint: agentapi.Endpoint{URL: m.Endpoint}}
				if live {
					if refused := ask(t, agentapi.RequestDisarm, e).refusal("raise --quota-backend-bytes"); refused.Code != agentapi.CodeQuota {
						t.Errorf("%+v", refused)
					}
					if _, err := m.Client(t).Put(t.Context(), "b", "c"); err != rpctypes.ErrNoSpace {
						t.Errorf("the alarm is gone: %v", err)
					}
					return
				}
				var did agentapi.DisarmReply
				ask(t, agentapi.RequestDisarm, e).reply(&did)
				if did.Disarmed != 1 || did.Freed < 8<<20 {
					t.Errorf("%+v", did)
				}
				if _, err := m.Client(t).Put(t.Context(), "b", "c"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestDisarmCorrupt: an alarm that a snapshot brought along goes, also one that names nobody; that of a member stays, and
// so does a new one.
func TestDisarmCorrupt(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			m := oneMember(t, minor, false).Members[0]
			c := m.Client(t)
			e := agentapi.DisarmRequest{Endpoint: agentapi.Endpoint{URL: m.Endpoint}, Corrupt: true}
			status, err := c.Status(t.Context(), m.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			raise := func(id uint64) {
				t.Helper()
				if _, err := pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(t.Context(), &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_CORRUPT}); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Put(t.Context(), "b", "c"); err != rpctypes.ErrCorrupt {
					t.Fatalf("the alarm stops nothing: %v", err)
				}
			}
			for _, nobody := range []uint64{0xbad, 0} {
				raise(nobody)
				unseen := agentapi.DisarmRequest{Endpoint: e.Endpoint}
				if refused := ask(t, agentapi.RequestDisarm, unseen).refusal("etcd has found data corrupt"); refused.Code != agentapi.CodeAlarm {
					t.Errorf("%+v", refused)
				}
				var did agentapi.DisarmReply
				ask(t, agentapi.RequestDisarm, e).reply(&did)
				if did.Disarmed != 0 {
					t.Errorf("%+v", did)
				}
				if _, err := c.Put(t.Context(), "b", "c"); err != nil {
					t.Error(err)
				}
			}
			raise(status.Header.MemberId)
			if refused := ask(t, agentapi.RequestDisarm, e).refusal("etcd has found data corrupt"); refused.Code != agentapi.CodeAlarm {
				t.Errorf("%+v", refused)
			}
		})
	}
}

// TestPutsAndIdentity: the first key that is written is named, and nothing where nobody writes; whose data it is is told by the
// UID in it.
func TestPutsAndIdentity(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", false)
	e := agentapi.Endpoint{URL: cl.Members[0].Endpoint}
	var r agentapi.PutsReply
	ask(t, agentapi.RequestPuts, agentapi.PutsRequest{Endpoint: e, Seconds: 0.3}).reply(&r)
	if r.Key != "" {
		t.Errorf("nobody has written: %+v", r)
	}
	p := ask(t, agentapi.RequestPuts, agentapi.PutsRequest{Endpoint: e, Seconds: 20})
	seen, ended := make(chan struct{}), make(chan struct{})
	go func() { // goes on writing until it is seen: the watch may not have begun yet
		defer close(ended)
		for again := time.NewTicker(50 * time.Millisecond); ; {
			cl.Put(t, "/stranger", "x")
			select {
			case <-seen:
				again.Stop()
				return
			case <-again.C:
			}
		}
	}()
	p.reply(&r)
	close(seen)
	<-ended
	if r.Key != "/stranger" || r.Revision < 2 {
		t.Errorf("%+v", r)
	}
	var id agentapi.IdentityReply
	ask(t, agentapi.RequestIdentity, agentapi.IdentityRequest{Endpoint: e, Prefixes: []string{"/registry"}}).reply(&id)
	if len(id.KubeSystemUIDs) != 0 {
		t.Errorf("no cluster's data, and yet %+v", id)
	}
	// Several control planes in one etcd, of which one has a prefix of two parts, and one is encrypted.
	for _, prefix := range []string{"/registry", "/tenant-a", "/two/parts"} {
		cl.Put(t, prefix+"/namespaces/kube-system", string(etcdtest.Namespace("kube-system", "uid-of"+strings.ReplaceAll(prefix, "/", "-"))))
	}
	for _, key := range []string{"a", "/b", "/c/d", "/tenant-a-b/x", "/tenant-a0", "~"} {
		cl.Put(t, key, "x")
	}
	cl.Put(t, "/secret/namespaces/kube-system", "k8s:enc:aescbc:v1:key1:x")
	want := map[string]string{"/registry": "uid-of-registry", "/tenant-a": "uid-of-tenant-a"}
	id = agentapi.IdentityReply{}
	ask(t, agentapi.RequestIdentity, agentapi.IdentityRequest{Endpoint: e}).reply(&id)
	if !maps.Equal(id.KubeSystemUIDs, want) {
		t.Errorf("found %v", id.KubeSystemUIDs)
	}
	want["/two/parts"] = "uid-of-two-parts"
	id = agentapi.IdentityReply{}
	ask(t, agentapi.RequestIdentity, agentapi.IdentityRequest{Endpoint: e, Prefixes: []string{"/two/parts", "/gone"}}).reply(&id)
	if !maps.Equal(id.KubeSystemUIDs, want) {
		t.Errorf("asked for one, found %v", id.KubeSystemUIDs)
	}
}
