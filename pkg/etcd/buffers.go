package etcd

import "sync"

// bufferSizes fit what comes: small messages, HTTP/2 frames of 16 KiB, and
// snapshot messages of 32 KiB of data. Larger ones are rare and not kept.
var bufferSizes = [...]int{1 << 10, 16 << 10, 40 << 10}

// buffers lends gRPC what it reads frames and messages into. Its own pool
// clears a buffer each time it lends it, which was a seventh of the time that
// receiving a snapshot takes; what is read overwrites the whole buffer anyway.
type buffers struct{ pools [len(bufferSizes)]sync.Pool }

func (b *buffers) Get(length int) *[]byte {
	for i, size := range bufferSizes {
		if length > size {
			continue
		}
		p, ok := b.pools[i].Get().(*[]byte)
		if !ok {
			fresh := make([]byte, size)
			p = &fresh
		}
		*p = (*p)[:length]
		return p
	}
	large := make([]byte, length)
	return &large
}

func (b *buffers) Put(p *[]byte) {
	for i, size := range bufferSizes {
		if cap(*p) == size {
			b.pools[i].Put(p)
			return // from here on it is somebody else's
		}
	}
}
