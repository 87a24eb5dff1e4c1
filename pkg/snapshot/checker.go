package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// TrailerSize is the length of what etcd puts behind the last byte of the database when it streams a snapshot: the
// sha256 of everything before it.
const TrailerSize = sha256.Size

// sector is what every database size is a multiple of: bbolt pages are never smaller than a disk sector. So a size
// that leaves TrailerSize when divided by it is a database with a trailer.
const sector = 512

var (
	// ErrTrailer says that the stream does not end with the sha256 of what came before: bytes were changed, or lost.
	ErrTrailer = errors.New("trailer does not match: the data is damaged or incomplete")

	// ErrNoTrailer says that the length alone excludes a trailer: a raw copy of a database file, or a cut stream.
	// errors.Is(ErrNoTrailer, ErrTrailer) is true.
	ErrNoTrailer = fmt.Errorf("no trailer (%w)", ErrTrailer)

	// ErrEmpty says that there was not a single byte.
	ErrEmpty = errors.New("snapshot is empty")
)

// HasTrailer says whether a plain (not compressed) snapshot of this size ends with a trailer.
func HasTrailer(size int64) bool {
	return size > TrailerSize && size%sector == TrailerSize
}

// Proof is what a Checker found out about a plain snapshot stream.
type Proof struct {
	// Size is the number of bytes, trailer included.
	Size int64 `json:"size"`
	// SHA256 is the hex sha256 of all bytes, trailer included: of the file as `sha256sum` sees it.
	SHA256 string `json:"sha256"`
	// Trailer is true when the stream ended with the sha256 of what came before it.
	Trailer bool `json:"trailer"`
}

// Checker proves a plain snapshot stream that is written to it, hashing every byte exactly once: the last 32 bytes
// are always held back, so that at the end the hash is first compared with them and then completed by them.
// It is not safe for concurrent use.
type Checker struct {
	hash hash.Hash
	size int64
	// tail holds the last len(tail) ≤ TrailerSize bytes, not hashed yet.
	tail []byte

	finished bool
	proof    Proof
	err      error
}

// NewChecker returns a Checker that has seen nothing yet.
func NewChecker() *Checker {
	return &Checker{hash: sha256.New(), tail: make([]byte, 0, 2*TrailerSize)}
}

// Write takes the next bytes of the stream. It fails only after Finish.
func (c *Checker) Write(p []byte) (int, error) {
	if c.finished {
		return 0, errors.New("write to snapshot checker: already finished")
	}
	n := len(p)
	c.size += int64(n)
	if n >= TrailerSize {
		c.hash.Write(c.tail)
		c.hash.Write(p[:n-TrailerSize])
		c.tail = append(c.tail[:0], p[n-TrailerSize:]...)
		return n, nil
	}
	c.tail = append(c.tail, p...)
	if extra := len(c.tail) - TrailerSize; extra > 0 {
		c.hash.Write(c.tail[:extra])
		c.tail = append(c.tail[:0], c.tail[extra:]...)
	}
	return n, nil
}

// Size returns how many bytes were written so far.
func (c *Checker) Size() int64 { return c.size }

// Finish ends the stream and says what it is. The Proof's size and hash are right also when there is an error, which
// is ErrEmpty, ErrNoTrailer or ErrTrailer. Calling it again gives the same answer.
func (c *Checker) Finish() (Proof, error) {
	if c.finished {
		return c.proof, c.err
	}
	c.finished = true
	body := c.hash.Sum(nil)
	match := bytes.Equal(body, c.tail)
	c.hash.Write(c.tail)
	c.proof = Proof{Size: c.size, SHA256: hex.EncodeToString(c.hash.Sum(nil)), Trailer: match && HasTrailer(c.size)}
	switch {
	case c.proof.Trailer:
	case c.size == 0:
		c.err = ErrEmpty
	case HasTrailer(c.size):
		c.err = ErrTrailer
	default:
		c.err = ErrNoTrailer
	}
	return c.proof, c.err
}
