package exchange

import (
	"errors"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

func TestUnserved(t *testing.T) {
	for _, c := range []struct {
		members, voted int
		want           bool
	}{{1, 0, true}, {1, 1, false}, {3, 1, true}, {3, 2, false}, {5, 2, true}, {5, 3, false}, {4, 2, true}, {4, 3, false}} {
		if got := unserved(c.members, c.voted); got != c.want {
			t.Errorf("%d of %d have voted: %t", c.voted, c.members, got)
		}
	}
}

// TestNotSeen: where agents go on alone, any vote for the new cluster keeps a client from going back, unless a majority has never left.
func TestNotSeen(t *testing.T) {
	const old, unvoted, voted, away = "old", "new", "voted", "no answer"
	for name, c := range map[string]struct {
		members      []string
		hosted, here bool // it can go back
	}{
		"nobody has voted":                    {[]string{unvoted, unvoted, unvoted}, true, true},
		"one has, and the others may":         {[]string{voted, unvoted, old}, true, false},
		"one has, and a majority is old":      {[]string{voted, old, old}, true, true},
		"one has, and one does not answer":    {[]string{voted, old, away}, true, false},
		"a majority has":                      {[]string{voted, voted, old}, false, false},
		"the only one has":                    {[]string{voted}, false, false},
		"nobody has, and one does not answer": {[]string{unvoted, old, away}, true, true},
	} {
		sh := &site.Shared{}
		var states []datadir.HotState
		for _, m := range c.members {
			sh.Members = append(sh.Members, site.MemberRecord{NewInode: 2})
			states = append(states, map[string]datadir.HotState{old: {Inode: 1, Elected: true}, unvoted: {Inode: 2}, voted: {Inode: 2, Elected: true}, away: {}}[m])
		}
		for alone, want := range map[time.Duration]bool{0: c.hosted, time.Minute: c.here} {
			r := &Exchange{Run: &restore.Run{Site: &site.Site{Shared: sh}}, Alone: alone}
			if err := r.notSeen(states); (err == nil) != want || err != nil && !errors.Is(err, plan.ErrTooLate) {
				t.Errorf("%s, alone %s: %v", name, alone, err)
			}
		}
	}
}
