package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// parcel is a snapshot on its way into a store, encrypted or not. What comes is kept in a file without a name, from which it is sent
// while it comes, and read for its proof: the transfer never waits for the store. Without room for that file it does.
type parcel struct {
	ctx    context.Context
	url    string
	create func(context.Context) (store.Writer, error)
	to     seal.Recipients
	spool  *store.Spool // nil: no room

	w      store.Writer
	line   *line
	cancel context.CancelCauseFunc // ends what w does

	mu    sync.Mutex
	news  *sync.Cond
	come  int64 // bytes in the spool
	gone  int64 // of these, given to the line
	ended bool
	err   error         // of sending
	again error         // why it could not be begun anew
	sent  chan struct{} // closed when nothing is being sent any more; nil before
}

func newParcel(ctx context.Context, url string, to seal.Recipients, spool *store.Spool, create func(context.Context) (store.Writer, error)) (*parcel, error) {
	p := &parcel{ctx: ctx, url: url, to: to, spool: spool, create: create}
	p.news = sync.NewCond(&p.mu)
	return p, p.begin()
}

// begin opens the store's end. Encryption begins with the first byte.
func (p *parcel) begin() (err error) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	p.cancel = cancel
	if p.w, err = p.create(ctx); err == nil {
		p.line = &line{inner: sha256.New(), to: p.to, w: p.w}
	}
	return err
}

func (p *parcel) Write(b []byte) (int, error) {
	if p.spool == nil {
		return p.line.Write(b)
	}
	n, err := p.spool.Write(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.come += int64(n)
	if err != nil {
		return n, fmt.Errorf("keep the snapshot for its proof: %w", err)
	}
	if p.sent == nil {
		p.sent = make(chan struct{})
		go p.send(p.sent)
	}
	p.news.Signal()
	return n, p.err
}

// send follows what comes.
func (p *parcel) send(sent chan struct{}) {
	defer close(sent)
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		come, ended := p.wait(at)
		if at == come && ended {
			return
		}
		n, err := p.spool.ReadAt(buf[:min(int64(len(buf)), come-at)], at)
		if n > 0 {
			at += int64(n)
			_, err = p.line.Write(buf[:n])
		}
		p.mu.Lock()
		p.gone = at
		p.mu.Unlock()
		if err != nil {
			p.mu.Lock()
			p.err, p.ended = err, true
			p.mu.Unlock()
			return
		}
	}
}

// wait returns when there is more than that, or no more comes.
func (p *parcel) wait(at int64) (come int64, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.come == at && !p.ended {
		p.news.Wait()
	}
	if p.err != nil {
		return at, true
	}
	return p.come, p.ended
}

// stop ends the sending: what has come is sent first, unless there is an error.
func (p *parcel) stop(err error) error {
	p.mu.Lock()
	p.ended = true
	if p.err == nil {
		p.err = err
	}
	sent := p.sent
	p.news.Broadcast()
	p.mu.Unlock()
	if sent != nil {
		<-sent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

var errRewound = errors.New("the upload was given up")

// rewind gives up what was sent, for another attempt; a stream that has begun cannot.
func (p *parcel) rewind() bool {
	if p.url == store.Stdout && p.line.size > 0 { // nothing else writes there
		return false
	}
	p.drop()
	if p.spool != nil {
		_, err := p.spool.Seek(0, io.SeekStart)
		if errors.Join(err, p.spool.Truncate(0)) != nil {
			return false
		}
	}
	p.come, p.gone, p.ended, p.err, p.sent = 0, 0, false, nil, nil
	p.again = p.begin()
	return p.again == nil
}

func (p *parcel) abort() {
	p.drop()
	p.close()
}

// drop ends the sending first: a writer is one goroutine's at a time.
func (p *parcel) drop() {
	p.cancel(errRewound)
	_ = p.stop(errRewound)
	if p.w != nil { // another attempt could not be begun
		p.w.Abort()
	}
}

func (p *parcel) close() {
	if p.spool != nil {
		_ = p.spool.Close()
	}
}

// left is how much of what has come has not been sent, in bytes.
func (p *parcel) left() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.come - p.gone
}

// finish sends what remains. sum is the sha256, in hex, of what was proven: nothing else may have been sent. It returns size and
// sha256 of the object, which differ from that where it is encrypted.
func (p *parcel) finish(sum string) (size int64, sha string, err error) {
	if err := p.stop(nil); err != nil {
		return 0, "", err
	}
	if err := p.line.close(); err != nil {
		return 0, "", err
	}
	if got := hex.EncodeToString(p.line.inner.Sum(nil)); got != sum {
		return 0, "", fmt.Errorf("write %s: what was sent has sha256 %s, what came had %s", p.url, got, sum)
	}
	return p.line.size, p.line.sum(), nil
}

// line is what bytes go through on their way to the store.
type line struct {
	to    seal.Recipients
	w     io.Writer
	inner hash.Hash
	outer hash.Hash // nil: it is not encrypted
	seal  io.WriteCloser
	size  int64 // bytes that have gone to the store
}

func (l *line) Write(b []byte) (int, error) {
	l.inner.Write(b)
	if !l.to.Any() {
		return l.out(b)
	}
	if l.seal == nil {
		l.outer = sha256.New()
		s, err := l.to.Writer(writerFunc(l.out))
		if err != nil {
			return 0, fmt.Errorf("encrypt: %w", err)
		}
		l.seal = s
	}
	return l.seal.Write(b)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func (l *line) out(b []byte) (int, error) {
	if l.outer != nil {
		l.outer.Write(b)
	}
	n, err := l.w.Write(b)
	l.size += int64(n)
	return n, err
}

func (l *line) close() error {
	if l.seal == nil {
		return nil
	}
	if err := l.seal.Close(); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	return nil
}

func (l *line) sum() string {
	if l.outer == nil {
		return hex.EncodeToString(l.inner.Sum(nil))
	}
	return hex.EncodeToString(l.outer.Sum(nil))
}

// streamed is standard output as the end of a parcel.
type streamed struct{ io.Writer }

func (streamed) Commit(context.Context) (store.Info, error) { return store.Info{}, nil }
func (streamed) Abort()                                     {}
