package operations

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// carryOut replaces the member, with nobody disturbed.
func (h *replaceWorld) carryOut(t *testing.T) *member.Replacement {
	t.Helper()
	c := h.client(-1)
	r, err := h.replace(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	h.isReplaced(r)
	for _, s := range r.Operation.Steps {
		t.Logf("%-12s %v", s.ID, s.Ended.Sub(*s.Started).Round(time.Millisecond))
	}
	return r
}

// TestReplaceRunning replaces a member that is well, in a cluster whose log no longer begins at its beginning, with
// writers going on and etcd's own checks of such changes.
func TestReplaceRunning(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			t.Parallel()
			h := newReplaceWorld(t, hostedConfig{minor: minor, etcd: etcdtest.Config{Args: []string{"--strict-reconfig-check=true", "--snapshot-count=500"}}})
			h.x.Wait(t)
			h.fill(t, 6000)
			w := h.write(t)
			h.carryOut(t)
			w.neverFailed(t)
			if log, err := os.ReadFile(h.kubelet.log.Name()); err != nil || !strings.Contains(string(log), "received and saved database snapshot") {
				t.Errorf("the member was not sent a snapshot: %v", err)
			}
		})
	}
}

// fill writes so many keys, several at once.
func (h *replaceWorld) fill(t *testing.T, n int) {
	t.Helper()
	const at = 60
	client := h.others[0].Client(t)
	var wg sync.WaitGroup
	for i := range at {
		wg.Go(func() {
			for k := range n / at {
				if _, err := client.Put(t.Context(), fmt.Sprintf("/fill/%d/%d", i, k%20), "x"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestReplaceLeader(t *testing.T) {
	t.Parallel()
	h := newReplaceWorld(t, hostedConfig{minor: "3.6", leader: true})
	w := h.write(t)
	if !h.leads(t) {
		t.Fatal("another member leads: nothing would be handed over")
	}
	h.carryOut(t)
	w.failedAtMost(t, len(h.others))
}

func TestReplaceWithPeerTLS(t *testing.T) {
	t.Parallel()
	h := newReplaceWorld(t, hostedConfig{minor: "3.6", etcd: etcdtest.Config{TLS: true, PeerTLS: true}})
	w := h.write(t)
	h.carryOut(t)
	w.neverFailed(t)
}

// TestReplaceMoved: the member has another address than its certificate says, as after its node got a new one. The others
// refuse it, and it would be waited for in vain: why is said, and with another certificate it goes on.
func TestReplaceMoved(t *testing.T) {
	t.Parallel()
	h := newReplaceWorld(t, hostedConfig{minor: "3.6", etcd: etcdtest.Config{TLS: true, PeerTLS: true}})
	h.x.Wait(t)
	args := h.kubelet.args
	h.kubelet.while(func() {
		h.kubelet.args = append(slices.Clone(args), "--peer-cert-file", h.etcd.TLS.MovedCert, "--peer-key-file", h.etcd.TLS.MovedKey)
	})
	c := h.client(-1)
	r, err := h.replace(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Timeout = 2*member.LookEvery + 20*time.Second // its etcd may be slow to start
	err = runnerOf(r, c).Run(t.Context(), r.Operation)
	var refused *site.Refusal
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint(), "certificate") {
		t.Fatalf("no way out: %v", err)
	}
	for _, says := range []string{"not after", "192.0.2.7", "no snapshot was sent to it", "which was asked, says: "} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("does not say %q: %v", says, err)
		}
	}
	t.Log(err)
	h.kubelet.while(func() { h.kubelet.args = args })
	r.Timeout = 30 * time.Second
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	h.isReplaced(r)
}

// TestReplaceBroken replaces members that do not run any more, each in its own way.
func TestReplaceBroken(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		breaks func(t *testing.T, h *replaceWorld)
	}{
		"damaged database": {breaks: func(t *testing.T, h *replaceWorld) {
			if err := os.WriteFile(h.x.DB, []byte(strings.Repeat("not a database", 10000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"no log": {breaks: func(t *testing.T, h *replaceWorld) {
			if err := os.RemoveAll(filepath.Join(h.volume(), "member", "wal")); err != nil {
				t.Fatal(err)
			}
		}},
		"empty volume": {breaks: emptied},
		// Such a pod joins by itself, as soon as the cluster expects it.
		"empty volume, existing cluster": {args: []string{"--initial-cluster-state", "existing"}, breaks: emptied},
		"removed by hand": {breaks: func(t *testing.T, h *replaceWorld) {
			if _, err := h.others[0].Client(t).MemberRemove(t.Context(), h.id(t)); err != nil {
				t.Fatal(err)
			}
		}},
		"a learner that somebody added": {breaks: func(t *testing.T, h *replaceWorld) {
			emptied(t, h)
			client := h.others[0].Client(t)
			if _, err := client.MemberRemove(t.Context(), h.id(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := client.MemberAddAsLearner(t.Context(), []string{h.x.PeerURL}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, static := range []bool{false, true} {
			if static && name != "damaged database" && name != "empty volume" {
				continue
			}
			t.Run(fmt.Sprintf("%s, static %t", name, static), func(t *testing.T) {
				t.Parallel()
				h := newReplaceWorld(t, hostedConfig{static: static, minor: "3.6", args: c.args})
				h.x.Wait(t)
				h.kubelet.while(func() { c.breaks(t, h) })
				w := h.write(t)
				r := h.carryOut(t)
				w.neverFailed(t)
				t.Logf("joined by itself: %t, had data: %t", r.Shared.Replace.Joined, r.Shared.Members[0].HadData)
			})
		}
	}
}

func emptied(t *testing.T, h *replaceWorld) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(h.volume(), "member")); err != nil {
		t.Fatal(err)
	}
}

// id is the replaced member's, as the cluster lists it.
func (h *replaceWorld) id(t *testing.T) uint64 {
	t.Helper()
	list, err := h.others[0].Client(t).MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Members {
		if m.Name == h.x.Name {
			return m.ID
		}
	}
	t.Fatalf("%s is not listed: %v", h.x.Name, list.Members)
	return 0
}

// TestReplaceCorrupt replaces a member whose CORRUPT alarm has stopped the whole cluster.
func TestReplaceCorrupt(t *testing.T) {
	h := newReplaceWorld(t, hostedConfig{minor: "3.6"})
	h.x.Wait(t)
	client := h.others[0].Client(t)
	maint := pb.NewMaintenanceClient(client.ActiveConnection())
	if _, err := maint.Alarm(t.Context(), &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: h.id(t), Alarm: pb.AlarmType_CORRUPT}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), "x", "y"); err == nil {
		t.Fatal("a corrupt cluster takes writes")
	}
	h.carryOut(t)
	if _, err := client.Put(t.Context(), "x", "y"); err != nil {
		t.Error(err)
	}
}

// TestReplaceRefuses leaves everything as it is where the others could not go on, or etcd would not take the member in.
func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	h := newReplaceWorld(t, hostedConfig{minor: "3.6"})
	h.x.Wait(t)
	was := h.id(t)
	refused := func(want string) {
		t.Helper()
		c := h.client(-1)
		r, err := h.replace(c)
		if err == nil {
			err = runnerOf(r, c).Run(t.Context(), r.Operation)
			if !errors.Is(err, plan.ErrUndone) {
				t.Errorf("not undone: %v", err)
			}
		}
		var refusal *site.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	learner, err := h.others[0].Client(t).MemberAddAsLearner(t.Context(), []string{"unix://elsewhere.sock:0"})
	if err != nil {
		t.Fatal(err)
	}
	refused("that has no pod here")
	if _, err := h.others[0].Client(t).MemberRemove(t.Context(), learner.Member.ID); err != nil {
		t.Fatal(err)
	}
	if h.id(t) != was {
		t.Error("the member was removed")
	}
	h.others[1].Stop()
	refused("is not healthy")
	h.others[0].Stop()
	refused("is not healthy")
}

// TestReplaceInterrupted kills the client at a share of all points, a different one for each seed; see TestInterrupted.
func TestReplaceInterrupted(t *testing.T) {
	t.Parallel()
	h := newReplaceWorld(t, hostedConfig{minor: "3.6"})
	c := h.client(1 << 20)
	r, err := h.replace(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	saves := 1<<20 - c.saves
	share, seed := 4, time.Now().UnixNano()
	if s := os.Getenv("RESTORE_SEED"); s != "" {
		if seed, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getenv("RESTORE_CELLS") == "all" {
		share = 2 * saves
	}
	t.Logf("%d of %d cells, seed %d", share, 2*saves, seed)
	for i, n := range rand.New(rand.NewPCG(uint64(seed), 0)).Perm(2 * saves)[:share] {
		for _, static := range []bool{false, true} {
			if share < 2*saves && static != (i%2 == 1) { // of a share, each is run in one of the two worlds
				continue
			}
			t.Run(fmt.Sprintf("killed at save %d, volume %s, static %t", n/2, []string{"full", "empty"}[n%2], static), func(t *testing.T) {
				t.Parallel()
				interruptReplace(t, n/2, n%2 == 1, static)
			})
		}
	}
}

func interruptReplace(t *testing.T, saves int, empty, static bool) {
	h := newReplaceWorld(t, hostedConfig{static: static, minor: "3.6"})
	h.x.Wait(t)
	if empty {
		h.kubelet.while(func() { emptied(t, h) })
	}
	w := h.write(t)
	first := h.client(-1)
	r, err := h.replace(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Journal("", r.Shared).Save(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	first.saves = saves
	if err := runnerOf(r, first).Run(first.ctx, r.Operation); !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
		t.Fatalf("the killed client ended with %v", err)
	}
	second, c := h.goOn()
	if !second.Operation.Committed() {
		if err := runnerOf(second, c).Undo(t.Context(), second.Operation); err != nil {
			t.Fatal(err)
		}
		if got, err := h.others[0].Client(t).MemberList(t.Context(), clientv3.WithSerializable()); err != nil || len(got.Members) != 3 {
			t.Errorf("%v, %v", got, err)
		}
		return
	}
	if err := runnerOf(second, c).Undo(t.Context(), second.Operation); err == nil {
		t.Error("what cannot be taken back was undone")
	}
	if err := runnerOf(second, c).Run(t.Context(), second.Operation); err != nil {
		t.Fatal(err)
	}
	h.isReplaced(second)
	w.neverFailed(t)
}
