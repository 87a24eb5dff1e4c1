package etcd

import "sync"

// buffers lends gRPC what it reads frames and messages into. Its own pool
// clears a buffer each time it lends it, which was a seventh of the time that
// receiving a snapshot takes; what is read overwrites the whole buffer anyway.
type buffers struct{ pool sync.Pool }

// bufferSize holds a message of a snapshot, which is 32 KiB of data. Larger
// ones are rare and not kept.
const bufferSize = 64 << 10

func (b *buffers) Get(length int) *[]byte {
	if length > bufferSize {
		large := make([]byte, length)
		return &large
	}
	p, ok := b.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, bufferSize)
		p = &fresh
	}
	*p = (*p)[:length]
	return p
}

func (b *buffers) Put(p *[]byte) {
	if cap(*p) == bufferSize {
		b.pool.Put(p)
	}
}
