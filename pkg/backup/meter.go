package backup

import (
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
)

// meterEvery is how often a transfer is reported when nothing is heard of the other side.
const meterEvery = time.Second

// meter reports how far a transfer is. The other side says what it has read; with a slow destination or --limit-rate
// much of that is still on its way, so that it is done long before the transfer is: what has come here goes before what
// has been sent, and time goes on between two words of the other side.
type meter struct {
	report Reporter
	sink   *sink

	mu    sync.Mutex
	told  *agentapi.SnapshotProgress // nil before the first
	quit  chan struct{}
	ended chan struct{}
}

func newMeter(report Reporter, s *sink) *meter {
	m := &meter{report: report, sink: s, quit: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-m.quit:
				return
			case <-tick.C:
				m.show(nil)
			}
		}
	}()
	return m
}

// stop returns when nothing more will be reported.
func (m *meter) stop() {
	close(m.quit)
	<-m.ended
}

// show reports what the other side has told last.
func (m *meter) show(told *agentapi.SnapshotProgress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if told != nil {
		m.told = told
	}
	if m.told == nil {
		return
	}
	done := m.told.Done
	if come := m.sink.come(); come >= 0 {
		done = min(done, come)
	}
	m.report.Progress(done, m.told.Total, m.sink.count())
}
