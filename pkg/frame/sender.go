package frame

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"
)

// flushDelay bounds how long a few bytes wait in a Sender for company.
const flushDelay = 100 * time.Millisecond

// Sender is an io.Writer that sends Data frames, counts and hashes them, and never has more of them on the way than the
// other side has given credit for. While it waits for credit, other frames pass.
type Sender struct {
	ctx  context.Context
	stop context.CancelFunc
	w    *Writer

	mu    sync.Mutex // held while sending, also while waiting for credit
	buf   []byte     // room for the header, then data not yet sent
	timer *time.Timer
	hash  hash.Hash
	sent  int64
	err   error

	creditMu sync.Mutex
	credit   int64
	granted  chan struct{}
}

// NewSender sends through w until ctx is done. It may send nothing before the first Grant.
func NewSender(ctx context.Context, w *Writer) *Sender {
	ctx, stop := context.WithCancel(ctx)
	return &Sender{ctx: ctx, stop: stop, w: w, hash: sha256.New(), granted: make(chan struct{}, 1)}
}

// Stop makes every send fail from now on.
func (s *Sender) Stop() { s.stop() }

// Seed puts the bytes before a resumed transfer's offset into the checksum.
func (s *Sender) Seed(prefix io.Reader) error {
	_, err := io.Copy(s.hash, prefix)
	return err
}

// Grant is called with the total of a Credit frame.
func (s *Sender) Grant(total int64) {
	s.creditMu.Lock()
	s.credit = max(s.credit, total)
	s.creditMu.Unlock()
	select {
	case s.granted <- struct{}{}:
	default:
	}
}

// Write sends p, or keeps it for a moment when it is too small for a frame.
func (s *Sender) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room()
	written := 0
	for written < len(p) {
		if s.err != nil {
			return written, s.err
		}
		if len(s.buf) == headerSize {
			s.armTimer()
		}
		n := copy(s.buf[len(s.buf):cap(s.buf)], p[written:])
		s.buf = s.buf[:len(s.buf)+n]
		written += n
		if len(s.buf) == cap(s.buf) {
			s.flush()
		}
	}
	return written, s.err
}

// ReadFrom sends what r has, each read as a frame, without copying it once more.
func (s *Sender) ReadFrom(r io.Reader) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room()
	s.flush()
	var total int64
	for s.err == nil {
		n, err := r.Read(s.buf[headerSize:cap(s.buf)])
		s.buf = s.buf[:headerSize+n]
		total += int64(n)
		s.flush()
		if err == io.EOF {
			break
		}
		if err != nil {
			return total, err
		}
	}
	return total, s.err
}

// Flush sends what is kept.
func (s *Sender) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room()
	s.flush()
	return s.err
}

// End flushes and describes all that was sent.
func (s *Sender) End() (End, error) {
	if err := s.Flush(); err != nil {
		return End{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return End{Size: s.sent, SHA256: hex.EncodeToString(s.hash.Sum(nil))}, nil
}

func (s *Sender) room() {
	if s.buf == nil {
		s.buf = make([]byte, headerSize, headerSize+dataSize)
	}
}

func (s *Sender) armTimer() {
	if s.timer == nil {
		// The timer's own failure is kept in s.err and met by the next Write.
		s.timer = time.AfterFunc(flushDelay, func() { _ = s.Flush() })
		return
	}
	s.timer.Reset(flushDelay)
}

func (s *Sender) flush() {
	data := s.buf[headerSize:]
	if len(data) == 0 || s.err != nil {
		return
	}
	if s.err = s.take(int64(len(data))); s.err != nil {
		return
	}
	s.hash.Write(data)
	if s.err = s.w.data(s.buf); s.err != nil {
		return
	}
	s.sent += int64(len(data))
	s.buf = s.buf[:headerSize]
}

// take waits until n more bytes are within the credit.
func (s *Sender) take(n int64) error {
	for {
		s.creditMu.Lock()
		enough := s.sent+n <= s.credit
		s.creditMu.Unlock()
		if enough {
			return s.ctx.Err()
		}
		select {
		case <-s.granted:
		case <-s.ctx.Done():
			return fmt.Errorf("send data: %w", context.Cause(s.ctx))
		}
	}
}
