package survey

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// rounds is how often hashes are asked for again when a compaction, or a
// member that lags, came in between.
const rounds = 3

// compare asks all healthy voters for their hash at the lowest of their
// revisions. Only equal revisions with equal compactions can be compared, and
// only between equal minor versions: what a compaction keeps has changed
// between releases, so a difference there would be a false alarm.
func (t *taker) compare(ctx context.Context) {
	voters := t.voters()
	if len(voters) < 2 {
		t.s.Consistency = NotAsked
		if len(t.s.Members) > 1 { // one member alone has nothing to differ from
			t.s.Note = "fewer than two voters answer"
		}
		return
	}
	if minors := t.minors(voters); len(minors) > 1 {
		t.s.Consistency, t.s.Note = NotComparable, "members run different versions: "+strings.Join(minors, ", ")
		return
	}
	for round := range rounds {
		if round > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			t.refresh(ctx, voters)
		}
		if t.s.Note = t.askHashes(ctx, voters); t.s.Note == "" {
			t.judge(voters)
			return
		}
	}
	t.s.Consistency = NotComparable
}

// voters are those that can be asked, each once: two endpoints may be one member's.
func (t *taker) voters() []int {
	var out []int
	seen := map[etcd.ID]bool{}
	for i := range t.links { // members beyond these have no way to be asked
		if m := t.s.Members[i]; m.Healthy && !m.Learner && !seen[m.ID] {
			seen[m.ID] = true
			out = append(out, i)
		}
	}
	return out
}

func (t *taker) minors(voters []int) []string {
	var out []string
	seen := map[string]bool{}
	for _, i := range voters {
		parts := strings.SplitN(t.s.Members[i].Status.Version, ".", 3)
		minor := strings.Join(parts[:min(2, len(parts))], ".")
		if !seen[minor] {
			seen[minor] = true
			out = append(out, minor)
		}
	}
	return out
}

// refresh reads the revisions anew, so that the next round asks at a newer one.
func (t *taker) refresh(ctx context.Context, voters []int) {
	for _, i := range voters {
		if r, err := t.links[i].Query(ctx, reach.Question{Status: true}); err == nil {
			t.s.Members[i].Status = r.Status
		}
	}
}

// askHashes returns why the answers cannot be compared, or "".
func (t *taker) askHashes(ctx context.Context, voters []int) string {
	// Revisions go on: the lowest that was seen before is there on all members now, unless it was compacted.
	rev := t.s.Members[voters[0]].Status.Revision
	for _, i := range voters {
		rev = min(rev, t.s.Members[i].Status.Revision)
	}
	errs := make([]string, len(voters))
	var wg sync.WaitGroup
	for n, i := range voters {
		wg.Go(func() { errs[n] = t.askHash(ctx, i, rev) })
	}
	wg.Wait()
	for _, e := range errs {
		if e != "" {
			return e
		}
	}
	for _, i := range voters[1:] {
		a, b := t.s.Members[voters[0]], t.s.Members[i]
		if a.Hash.CompactRevision != b.Hash.CompactRevision {
			return fmt.Sprintf("members %s and %s have compacted to different revisions (%d and %d)", a.Name, b.Name, a.Hash.CompactRevision, b.Hash.CompactRevision)
		}
	}
	return ""
}

func (t *taker) askHash(ctx context.Context, i int, rev int64) string {
	m := &t.s.Members[i]
	r, err := t.links[i].Query(ctx, reach.Question{HashAt: &rev})
	if err != nil {
		return fmt.Sprintf("member %s gave no hash: %v", m.Name, err)
	}
	if r.NotNow { // compacted meanwhile, or not there yet
		return fmt.Sprintf("member %s cannot give a hash at revision %d now", m.Name, rev)
	}
	m.Hash = r.Hash
	return ""
}

// judge marks the members whose hash is not the majority's; without a majority
// all of them, since none can be told to be the right one.
func (t *taker) judge(voters []int) {
	count := map[uint32]int{}
	for _, i := range voters {
		count[t.s.Members[i].Hash.Hash]++
	}
	if len(count) == 1 {
		t.s.Consistency, t.s.Majority = Equal, true
		return
	}
	t.s.Consistency = Differs
	var right uint32
	majority := false
	for h, n := range count {
		if 2*n > len(voters) {
			right, majority = h, true
		}
	}
	t.s.Majority = majority
	var names []string
	for _, i := range voters {
		m := &t.s.Members[i]
		if m.Differs = !majority || m.Hash.Hash != right; m.Differs {
			names = append(names, m.Name)
		}
	}
	if !majority {
		t.s.Note = "the members' data differs, and no majority agrees: " + strings.Join(names, ", ")
		return
	}
	t.s.Note = fmt.Sprintf("the data of %s differs from the other members' at revision %d", strings.Join(names, ", "), t.hashRevision(voters))
}

func (t *taker) hashRevision(voters []int) int64 { return t.s.Members[voters[0]].Hash.Revision }
