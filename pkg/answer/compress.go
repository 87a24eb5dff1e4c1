package answer

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// chunk and chunks bound what stands between etcd's stream and its compression
// (8 MiB): enough that neither waits for the other, small enough for the
// agent's 64 MiB.
const (
	chunk  = 256 << 10
	chunks = 32
)

// queue is an io.Writer whose bytes another goroutine hands on to a writer, so
// that receiving, hashing and compressing run side by side. After Close all
// bytes have been handed on, or the error says why not.
type queue struct {
	free chan []byte
	full chan []byte
	fail chan struct{} // closed when the consumer gave up
	done chan struct{}
	cur  []byte
	err  error // of the consumer; read after fail or done
}

func newQueue(w io.Writer) *queue {
	q := &queue{free: make(chan []byte, chunks), full: make(chan []byte, chunks), fail: make(chan struct{}), done: make(chan struct{})}
	for range chunks {
		q.free <- nil // allocated at first use: a small database needs one
	}
	go q.run(w)
	return q
}

func (q *queue) run(w io.Writer) {
	defer close(q.done)
	for b := range q.full {
		if q.err != nil {
			continue
		}
		if _, err := w.Write(b); err != nil {
			q.err = err
			close(q.fail)
			continue
		}
		q.free <- b[:0]
	}
}

// Write copies p, so that the caller may reuse it.
func (q *queue) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if q.cur == nil {
			select {
			case b := <-q.free:
				if b == nil {
					b = make([]byte, 0, chunk)
				}
				q.cur = b
			case <-q.fail:
				return 0, q.err
			}
		}
		k := min(len(p), cap(q.cur)-len(q.cur))
		q.cur = append(q.cur, p[:k]...)
		p = p[k:]
		if len(q.cur) == cap(q.cur) {
			q.full <- q.cur // never blocks: there are no more buffers than room
			q.cur = nil
		}
	}
	return n, nil
}

// Close hands on what is left and waits for the consumer.
func (q *queue) Close() error {
	if len(q.cur) > 0 {
		q.full <- q.cur
	}
	q.cur = nil
	close(q.full)
	<-q.done
	return q.err
}

// newEncoder compresses at the fastest level with a checksum in every frame.
// Two workers: a control-plane node has other work to do.
func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<20))
}
