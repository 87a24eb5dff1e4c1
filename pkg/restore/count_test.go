package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// counted is an API server that shows so many objects, at one revision only.
type counted struct {
	site.Cluster
	API
	shown map[string]int64 // nil: it cannot be asked
	at    int64
}

func (c counted) Pods(context.Context, site.Workload) ([]site.Pod, error) {
	return []site.Pod{{Name: "kube-apiserver-0", Ready: true}}, nil
}

func (c counted) Objects(_ context.Context, _ userapi.Access, _, _ string, _ int, rev int64, _ []string) (map[string]int64, error) {
	switch {
	case c.shown == nil:
		return nil, errors.New("it does not answer")
	case rev != c.at:
		return nil, userapi.ErrCompacted
	}
	return c.shown, nil
}

// TestCount: what the API has at the restored revision is compared, and what it has not, or does not tell, is told.
func TestCount(t *testing.T) {
	t.Parallel()
	want := map[string]int64{"pods": 3, "secrets": 2}
	const unknown = "! whether the API shows what the snapshot has is not known: "
	for name, c := range map[string]struct {
		shown map[string]int64
		at    int64 // how far the API's revision is from the restored one
		wrong string
		says  string
	}{
		"all are there":   {map[string]int64{"pods": 3, "secrets": 2}, 0, "", "the API shows what the snapshot has: 5 objects of 2 kinds"},
		"one is not":      {map[string]int64{"pods": 2, "secrets": 2}, 0, "2 pods of 3", "! the API does not show what the snapshot has: 2 pods of 3"},
		"two are others":  {map[string]int64{"pods": 0, "secrets": 4}, 0, "0 pods of 3, 4 secrets of 2", "! the API does not show what the snapshot has: 0 pods of 3, 4 secrets of 2"},
		"not to be seen":  {map[string]int64{"pods": 3}, 0, "", "! the API does not say how many it has of: secrets|the API shows what the snapshot has: 3 objects of 1 kinds"},
		"compacted":       {map[string]int64{"pods": 2}, 1, "", unknown + "etcd has been compacted since"},
		"does not answer": {nil, 0, "", unknown + "wait until an API server counts its objects: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := &told{}
			r := NewRun(site.Deps{Report: user}, counted{shown: c.shown, at: 500 + c.at}, Config{}, &plan.Operation{}, &site.Shared{Bump: 100, Outcome: site.Outcome{Miscounted: "left by an earlier try"}, Snapshot: site.SnapshotRecord{Revision: 400, Objects: want},
				Access: &userapi.Access{Servers: []userapi.Server{{Object: "team-a/StatefulSet/kube-apiserver", Port: 6443}}}})
			r.CountFor = 500 * time.Millisecond
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.Shared.Flaw(); r.Shared.Miscounted != c.wrong || errors.Is(err, site.ErrMiscounted) != (c.wrong != "") {
				t.Errorf("%q, %v; want %q", r.Shared.Miscounted, err, c.wrong)
			}
			if said := strings.Join(user.steps, "|"); !strings.HasPrefix(said, c.says) {
				t.Errorf("the user reads %q, not %q", said, c.says)
			}
		})
	}
}
