package datadir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// rejoining is a cluster of three of which a follower was removed, and added again as a learner that has not started.
type rejoining struct {
	*etcdtest.Cluster
	leader, lost *etcdtest.Member
	request      SeedRequest
}

func rejoin(t *testing.T, minor string, args ...string) *rejoining {
	t.Helper()
	b := etcdtest.Find(t, minor)
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b, b}, Args: args})
	c.Put(t, "before", "x")
	r := &rejoining{Cluster: c, leader: c.Leader(t), lost: c.Followers(t)[0]}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := r.lost.Client(t).Status(ctx, r.lost.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	r.lost.Stop()
	client := r.leader.Client(t)
	if _, err := client.MemberRemove(ctx, s.Header.MemberId); err != nil {
		t.Fatal(err)
	}
	added, err := client.MemberAddAsLearner(ctx, []string{r.lost.PeerURL})
	if err != nil {
		t.Fatal(err)
	}
	r.request = SeedRequest{Place: Place{DataDir: filepath.Dir(filepath.Dir(filepath.Dir(r.lost.DB))), Op: op},
		ClusterID: hexID(s.Header.ClusterId), MemberID: hexID(added.Member.ID)}
	return r
}

func (r *rejoining) seed(t *testing.T) *Built {
	t.Helper()
	b, err := Seed(t.Context(), r.request, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if b.ClusterID != r.request.ClusterID || b.MemberID != r.request.MemberID || b.Inode == 0 {
		t.Fatalf("%+v, asked was %+v", b, r.request)
	}
	return b
}

func (r *rejoining) exchange(t *testing.T, inode uint64) (*Exchanged, error) {
	t.Helper()
	return Exchange(t.Context(), ExchangeRequest{Place: r.request.Place, Inode: inode, Exists: true, Unless: r.request.MemberID})
}

// catchesUp waits until the new member has everything, and promotes it.
func (r *rejoining) catchesUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	client := r.leader.Client(t)
	var last error
	for {
		list, err := client.MemberList(ctx)
		if err == nil {
			for _, m := range list.Members {
				if hexID(m.ID) == r.request.MemberID && m.IsLearner {
					_, err = client.MemberPromote(ctx, m.ID)
				}
			}
		}
		if err == nil {
			break
		}
		last = err
		select {
		case <-ctx.Done():
			t.Fatalf("wait until the member is promoted: %v", last)
		case <-tick.C:
		}
	}
	r.lost.Wait(t)
	for _, key := range []string{"before", "after"} {
		got, err := r.lost.Client(t).Get(ctx, key, clientv3.WithSerializable())
		if err != nil || len(got.Kvs) != 1 {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
}

// TestSeed has a member take part again from a log that says only who it is.
func TestSeed(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			r := rejoin(t, minor)
			b := r.seed(t)
			if again := r.seed(t); fmt.Sprint(again) != fmt.Sprint(b) {
				t.Errorf("again: %+v, first %+v", again, b)
			}
			other := r.request
			other.MemberID = "abc"
			if _, err := Seed(t.Context(), other, func(string) {}); !errors.Is(err, ErrDifferent) {
				t.Errorf("another member: %v", err)
			}
			if e, err := r.exchange(t, b.Inode); err != nil || !e.Exchanged {
				t.Fatalf("%+v, %v", e, err)
			}
			r.Put(t, "after", "x")
			r.lost.Start(t)
			r.catchesUp(t)
			// It is a member like any other: it starts again from its own data.
			r.lost.Shutdown(t)
			r.lost.Start(t)
			r.lost.Wait(t)
		})
	}
}

// TestSeedIsAloneAtFirst ends the new member before it has heard of anybody: what it left must not stand in its way.
func TestSeedIsAloneAtFirst(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			r := rejoin(t, minor)
			b := r.seed(t)
			if _, err := r.exchange(t, b.Inode); err != nil {
				t.Fatal(err)
			}
			r.Put(t, "after", "x")
			others := r.Followers(t)
			others = append(others, r.leader)
			for _, m := range others {
				m.Shutdown(t)
			}
			for range 2 {
				r.lost.Start(t)
				waitFor(t, "the database has been made", func() bool { _, err := os.Stat(r.lost.DB); return err == nil })
				r.lost.Stop()
			}
			for _, m := range others {
				m.Start(t)
			}
			r.leader.Wait(t)
			r.lost.Start(t)
			r.catchesUp(t)
		})
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("wait until %s: not after 20s", what)
		case <-tick.C:
		}
	}
}

// TestSeedIsWhatEtcdWrites compares the head of a log with that of an etcd that joined by itself.
func TestSeedIsWhatEtcdWrites(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			b := etcdtest.Find(t, minor)
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}})
			m := c.AddLearner(t, b)
			m.Shutdown(t)
			folder := filepath.Join(filepath.Dir(filepath.Dir(m.DB)), "wal")
			found, err := readIDs(folder)
			if err != nil {
				t.Fatal(err)
			}
			head, err := SeedRequest{Place: Place{DataDir: "/data", Op: op}, ClusterID: found.cluster, MemberID: found.member}.head()
			if err != nil {
				t.Fatal(err)
			}
			log, err := os.ReadFile(filepath.Join(folder, firstLog))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(log, head) || len(log) != logSize {
				t.Errorf("etcd wrote %x of %d bytes, the seed is %x", log[:len(head)], len(log), head)
			}
		})
	}
}

// TestExchangeUnlessJoined keeps the data of a member that has joined by itself meanwhile.
func TestExchangeUnlessJoined(t *testing.T) {
	r := rejoin(t, "3.6")
	b := r.seed(t)
	if _, err := r.exchange(t, b.Inode); err != nil {
		t.Fatal(err)
	}
	// What is there now is the new member's; a second seed must not get its place.
	r.request.Op = "second"
	if _, err := r.exchange(t, r.seed(t).Inode); !errors.Is(err, ErrJoined) {
		t.Errorf("%v", err)
	}
	if now, err := inodeOf(r.request.member()); err != nil || now != b.Inode {
		t.Errorf("%d, %v", now, err)
	}
}

func TestSeedOnEmptyVolume(t *testing.T) {
	r := SeedRequest{Place: Place{DataDir: filepath.Join(t.TempDir(), "volume", "data"), Op: op}, ClusterID: "abc", MemberID: "123"}
	b, err := Seed(t.Context(), r, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Exchange(t.Context(), ExchangeRequest{Place: r.Place, Inode: b.Inode, Unless: r.MemberID})
	if err != nil || !e.Exchanged || e.Other != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	s, err := Inspect(t.Context(), r.Place)
	if err != nil || s.MemberID != "123" || s.ClusterID != "abc" || !slices.Equal([]uint64{s.Inode}, []uint64{b.Inode}) {
		t.Errorf("%+v, %v", s, err)
	}
	for name, change := range map[string]func(*SeedRequest){
		"no member":             func(r *SeedRequest) { r.MemberID = "" },
		"no cluster":            func(r *SeedRequest) { r.ClusterID = "0" },
		"no number":             func(r *SeedRequest) { r.MemberID = "xyz" },
		"not as etcd writes it": func(r *SeedRequest) { r.MemberID = "00FF" },
		"elsewhere":             func(r *SeedRequest) { r.Op = "../x" },
	} {
		bad := r
		change(&bad)
		if _, err := Seed(t.Context(), bad, func(string) {}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
