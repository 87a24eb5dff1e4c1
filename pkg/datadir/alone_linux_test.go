package datadir

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// TestAlone: a member that is left alone after the exchange stays where its log says that a new cluster may have served, and goes back
// where it cannot have.
func TestAlone(t *testing.T) {
	for name, c := range map[string]struct {
		starts, quorum bool
		ends           bool // before the deadline
		stays          bool
	}{
		"it votes":            {starts: true, quorum: true, stays: true},
		"it votes and ends":   {starts: true, quorum: true, ends: true, stays: true},
		"it never starts":     {quorum: true},
		"it meets no others":  {starts: true},
		"it ends before that": {starts: true, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMember(t, "3.6")
			m.upload(t)
			r := m.request(1000)
			if !c.quorum {
				r.InitialCluster += ",other=unix://other-peer.sock:0"
			}
			b, err := Build(t.Context(), r, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			was := m.inspect(t)
			h := m.hot(t, here, b.Inode)
			h.at(Ready)
			h.order(OrderFreeze)
			h.at(Frozen)
			h.order(OrderGo)
			if _, err := h.end(); err != nil {
				t.Fatal(err)
			}
			if c.starts {
				m.Start(t)
			}
			if c.starts && c.quorum {
				m.Wait(t)
			}
			deadline := time.Now().Add(3 * time.Second)
			ctx, decided := context.WithCancel(t.Context())
			stopped := make(chan error, 1)
			if c.ends {
				deadline = time.Now().Add(time.Hour)
				go func() { stopped <- m.stopWatched(ctx) }()
			} else {
				close(stopped)
			}
			req := HotRequest{Place: m.place, Inode: b.Inode}
			fate, err := here.alone(t.Context(), req, was.Inode, deadline)
			decided() // what has voted may be known to stay before it ends
			if serr := <-stopped; serr != nil {
				t.Error(serr)
			}
			if err != nil || fate == nil || fate.Stays != c.stays {
				t.Fatalf("%+v, %v", fate, err)
			}
			now := m.inspect(t)
			if (now.Inode == b.Inode) != c.stays || len(now.Operations) != 1 || now.Operations[0].Fate == nil || now.Operations[0].Fate.Stays != c.stays {
				t.Errorf("%+v", now)
			}
			if c.stays {
				return
			}
			m.restart(t)
			if got, err := m.Client(t).Get(t.Context(), "after"); err != nil || len(got.Kvs) != 1 {
				t.Errorf("the old data: %v, %v", got, err)
			}
			if fate, err := here.alone(t.Context(), req, was.Inode, time.Now()); fate != nil || err != nil {
				t.Errorf("once more: %+v, %v", fate, err)
			}
		})
	}
}

// stopWatched ends etcd once it has its database, and somebody watches that: what ends before is noticed by the deadline only.
// It ends it, too, when nobody is to watch any more.
func (m *member) stopWatched(ctx context.Context) error {
	defer m.Stop()
	err := await.Until(ctx, time.Minute, "etcd has its database, and is watched", func(context.Context) (string, bool, error) {
		pid, err := lockedBy(database(m.place.member()))
		if pid == 0 || err != nil {
			return "etcd has not", false, err
		}
		infos, err := filepath.Glob("/proc/self/fdinfo/*")
		for _, f := range infos {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "inotify wd:") {
				return "", true, nil
			}
		}
		return "nobody watches", false, err
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// TestNote: a journal is beside the data, only its owner's, and written over at once.
func TestNote(t *testing.T) {
	t.Parallel()
	p := folders(t, memberFolder+"/snap", stagedFolder+"/snap")
	for _, text := range []string{`{"a":1}`, `{"a":2}`} {
		if _, err := Note(t.Context(), NoteRequest{Place: p, Journal: json.RawMessage(text)}); err != nil {
			t.Fatal(err)
		}
		s, err := Inspect(t.Context(), p)
		if err != nil || len(s.Operations) != 1 || string(s.Operations[0].Journal) != text {
			t.Errorf("%+v, %v", s, err)
		}
	}
	info, err := os.Stat(p.op(journalName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for name, text := range map[string]string{"nothing": "", "too much": `"` + string(make([]byte, maxJournal)) + `"`} {
		if _, err := Note(t.Context(), NoteRequest{Place: p, Journal: json.RawMessage(text)}); err == nil {
			t.Errorf("%s is written", name)
		}
	}
}
