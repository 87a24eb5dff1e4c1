package frame

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
)

// Window is how many bytes of data may wait at a receiver for a slow consumer. It bounds memory, and it bounds speed on
// a long way: 16 MiB at 100 ms round trip are 160 MB/s.
const Window = 16 << 20

// Receiver takes Data as it comes, without ever making the reader of the connection wait, and gives it to a consumer as
// slow as it likes: the sender gets credit only for what has been consumed, so no more than the window ever waits.
// The consumer sees io.EOF only after an End whose length and checksum agree with what it was given.
type Receiver struct {
	grant  func(total int64) error
	window int64
	hash   hash.Hash

	mu       sync.Mutex
	changed  sync.Cond
	queue    [][]byte
	free     [][]byte
	received int64
	granted  int64
	end      *End
	err      error

	// Only the consumer's:
	consumed int64
	current  []byte // what Read has not given out of chunk
	chunk    []byte
}

// NewReceiver calls grant from the consumer's goroutine whenever the sender may send more.
func NewReceiver(window int64, grant func(total int64) error) *Receiver {
	r := &Receiver{grant: grant, window: window, hash: sha256.New()}
	r.changed.L = &r.mu
	return r
}

// SendCredit is a grant function that writes Credit frames.
func SendCredit(w *Writer) func(total int64) error {
	return func(total int64) error {
		return w.Control(TypeCredit, binary.BigEndian.AppendUint64(nil, uint64(total)))
	}
}

// ParseCredit reads the payload of a Credit frame.
func ParseCredit(payload []byte) (int64, error) {
	if len(payload) != 8 {
		return 0, fmt.Errorf("%w: a Credit frame of %d bytes", ErrProtocol, len(payload))
	}
	return int64(binary.BigEndian.Uint64(payload)), nil
}

// SetHash replaces the checksum, for a resumed transfer one that has already seen the bytes before the offset.
func (r *Receiver) SetHash(h hash.Hash) { r.hash = h }

// Open gives the sender its first credit.
func (r *Receiver) Open() error {
	r.mu.Lock()
	r.granted = r.window
	r.mu.Unlock()
	return r.grant(r.window)
}

// Put takes the next bytes. It never waits.
func (r *Receiver) Put(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return fmt.Errorf("%w: data after the end", ErrProtocol)
	}
	if r.received += int64(len(p)); r.received > r.granted {
		return fmt.Errorf("%w: %d bytes of data where %d were allowed", ErrProtocol, r.received, r.granted)
	}
	for len(p) > 0 {
		last := len(r.queue) - 1
		if last < 0 || len(r.queue[last]) == cap(r.queue[last]) {
			r.queue = append(r.queue, r.newChunk())
			last++
		}
		tail := r.queue[last]
		n := copy(tail[len(tail):cap(tail)], p)
		r.queue[last] = tail[:len(tail)+n]
		p = p[n:]
	}
	r.changed.Signal()
	return nil
}

func (r *Receiver) newChunk() []byte {
	if n := len(r.free); n > 0 {
		chunk := r.free[n-1]
		r.free = r.free[:n-1]
		return chunk[:0]
	}
	return make([]byte, 0, dataSize)
}

// Finish is called with the sender's End.
func (r *Receiver) Finish(end End) {
	r.mu.Lock()
	r.end = &end
	r.mu.Unlock()
	r.changed.Broadcast()
}

// Fail ends the stream with err, after what has already arrived. It does nothing after Finish.
func (r *Receiver) Fail(err error) {
	r.mu.Lock()
	if r.end == nil && r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.changed.Broadcast()
}

// Abort ends the stream with err at once: what waits is dropped.
func (r *Receiver) Abort(err error) {
	r.mu.Lock()
	r.err, r.end, r.queue = err, nil, nil
	r.mu.Unlock()
	r.changed.Broadcast()
}

// Ended returns the sender's End once it has come.
func (r *Receiver) Ended() (End, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		return End{}, false
	}
	return *r.end, true
}

// Received counts the bytes that have arrived.
func (r *Receiver) Received() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

// Read gives out data; see Receiver for what io.EOF means.
func (r *Receiver) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.current) == 0 {
		r.release()
		chunk, err := r.next()
		if err != nil {
			return 0, err
		}
		r.hash.Write(chunk)
		r.current, r.chunk = chunk, chunk
	}
	n := copy(p, r.current)
	r.current = r.current[n:]
	return n, nil
}

// WriteTo gives everything to w, without a copy.
func (r *Receiver) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		chunk, err := r.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(chunk)
		total += int64(n)
		r.hash.Write(chunk[:n])
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, &ConsumerError{Err: err}
		}
		r.chunk = chunk
		r.release()
	}
}

// ConsumerError is a failure of the writer given to WriteTo, not of the transfer.
type ConsumerError struct{ Err error }

func (e *ConsumerError) Error() string { return e.Err.Error() }
func (e *ConsumerError) Unwrap() error { return e.Err }

// next waits for a chunk.
func (r *Receiver) next() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 {
		switch {
		case r.end != nil:
			return nil, r.verify()
		case r.err != nil:
			return nil, r.err
		}
		r.changed.Wait()
	}
	chunk := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return chunk, nil
}

func (r *Receiver) verify() error {
	sum := hex.EncodeToString(r.hash.Sum(nil))
	if r.received != r.end.Size {
		return fmt.Errorf("%w: %d bytes of %d arrived", ErrCorrupt, r.received, r.end.Size)
	}
	if sum != r.end.SHA256 {
		return fmt.Errorf("%w: its sha256 is %s, the sender's %s", ErrCorrupt, sum, r.end.SHA256)
	}
	return io.EOF
}

// release takes back the chunk that has been consumed and, now and then, gives credit for it. When that fails the
// connection is gone, which the consumer hears after what has already arrived.
func (r *Receiver) release() {
	if r.chunk == nil {
		return
	}
	r.consumed += int64(len(r.chunk))
	r.mu.Lock()
	r.free = append(r.free, r.chunk)
	r.chunk = nil
	total := r.consumed + r.window
	due := r.end == nil && total-r.granted >= r.window/8
	if due {
		r.granted = total
	}
	r.mu.Unlock()
	if due {
		if err := r.grant(total); err != nil {
			r.Fail(err)
		}
	}
}
