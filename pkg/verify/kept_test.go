package verify

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestKept: what is asked for is what a client would read at the snapshot's revision, and whether anything will ever remove it.
func TestKept(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, minor))
			lives, err := s.Client.Grant(t.Context(), 3600)
			if err != nil {
				t.Fatal(err)
			}
			ended, err := s.Client.Grant(t.Context(), 3600)
			if err != nil {
				t.Fatal(err)
			}
			put := func(key, value string, o ...clientv3.OpOption) {
				t.Helper()
				if _, err := s.Client.Put(t.Context(), key, value, o...); err != nil {
					t.Fatal(err)
				}
			}
			put("/wanted/twice", "once")
			put("/wanted/twice", "twice")
			put("/wanted/gone", "x")
			put("/wanted/leased", "x", clientv3.WithLease(lives.ID))
			put("/wanted/was leased", "x", clientv3.WithLease(ended.ID))
			put("/wanted/was leased", "x")
			put("/wanted/deleted with its lease", "x", clientv3.WithLease(ended.ID))
			put("/wanted/no more", "x")
			put("/wanted/no more", "unwanted")
			put("/other", "x")
			if _, err := s.Client.Revoke(t.Context(), ended.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Client.Delete(t.Context(), "/wanted/gone"); err != nil {
				t.Fatal(err)
			}
			wants := func(key, value []byte) bool {
				return bytes.HasPrefix(key, []byte("/wanted/")) && string(value) != "unwanted"
			}
			r, err := File(t.Context(), s.Save(t), Options{Keep: wants})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]Kept{"/wanted/twice": {Value: []byte("twice")}, "/wanted/leased": {[]byte("x"), true}, "/wanted/was leased": {Value: []byte("x")}}
			if diff := cmp.Diff(want, r.Kept); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestKeptTooMuch: nothing is better than a part.
func TestKeptTooMuch(t *testing.T) {
	k := keeper{wants: func(_, _ []byte) bool { return true }, found: map[string]held{}}
	large := make([]byte, maxKept/4)
	for i := range 8 { // again and again the same is not much
		k.take(mvcc.KeyValue{Key: []byte("/a"), Value: large}, i%3 == 0)
	}
	if k.kept(nil) == nil {
		t.Error("one value was too much")
	}
	for i := range 5 {
		k.take(mvcc.KeyValue{Key: fmt.Append(nil, i), Value: large}, false)
	}
	if got := k.kept(nil); got != nil {
		t.Errorf("%d values", len(got))
	}
}
