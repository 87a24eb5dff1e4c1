package restore

import (
	"errors"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// TestRoomy: what counts is what is sent, and what of this operation lies there already.
func TestRoomy(t *testing.T) {
	const whole, sent = 4 << 30, 1 << 20
	need := datadir.Room(sent)
	for name, c := range map[string]struct {
		state   datadir.State
		discard bool
		resumed bool // without the snapshot: nobody knows how much of it was sent
		refused string
	}{
		"just enough without history":     {state: datadir.State{Writable: true, Free: need}},
		"a byte less":                     {state: datadir.State{Writable: true, Free: need - 1}, refused: "162 MiB are free"},
		"enough for that only":            {state: datadir.State{Writable: true, Free: need}, resumed: true, refused: "are free"},
		"of an earlier try":               {state: datadir.State{Writable: true, Free: need - 5, Operations: []datadir.Operation{{Op: "this", Size: 5}}}},
		"of another operation":            {state: datadir.State{Writable: true, Free: need - 5, Operations: []datadir.Operation{{Op: "that", Size: 5}}}, refused: "are free"},
		"the old data goes first":         {state: datadir.State{Writable: true, Free: need - 5, TreeSize: 5}, discard: true},
		"the old data stays":              {state: datadir.State{Writable: true, Free: need - 5, TreeSize: 5}, refused: "are free"},
		"read-only":                       {state: datadir.State{Writable: true, ReadOnly: true, Free: need}, refused: "cannot be written"},
		"not writable by the utility pod": {state: datadir.State{Free: need}, refused: "cannot be written"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRun(site.Deps{}, nil, Config{}, &plan.Operation{ID: "this"}, &site.Shared{DiscardOld: c.discard, Snapshot: site.SnapshotRecord{Size: whole}})
			if !c.resumed {
				r.Source = &source{sent: snapshot.Plain{Size: sent}}
			}
			err := r.roomy(&site.MemberRecord{Name: "m1"}, &c.state)
			var refusal *site.Refusal
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &refusal) || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("%v, want %q", err, c.refused)
			}
		})
	}
}
