package backup

import (
	"bytes"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
)

// shown keeps what a meter reports.
type shown struct {
	Reporter
	got [][3]int64
}

func (s *shown) Progress(done, total, wire int64) { s.got = append(s.got, [3]int64{done, total, wire}) }

// TestMeter: what has come goes before what was sent, in each attempt; where that is not known, what was sent is all there is.
func TestMeter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		compressed bool
		want       int64
	}{{"plain", false, 10}, {"zstd kept", true, 100}} {
		o := &output{stdout: &bytes.Buffer{}, compressed: c.compressed}
		o.written.Store(70) // by an attempt before
		s := o.sink(c.compressed, Pacer(t.Context(), 0))
		report := &shown{}
		m := newMeter(report, s)
		m.show(nil) // nothing is known yet
		if _, err := s.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		m.show(&agentapi.SnapshotProgress{Done: 100, Total: 100})
		m.stop()
		if want := [3]int64{c.want, 100, 10}; len(report.got) == 0 || report.got[0] != want {
			t.Errorf("%s: %v, want %v", c.name, report.got, want)
		}
	}
}
