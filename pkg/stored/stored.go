// Package stored brings a snapshot from where it is stored to where it can be read: a file that has no name, of which every byte is
// what its sidecar says. What is encrypted is plain there, and nowhere else.
package stored

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Snapshot is one that was brought here. Close gives its room back.
type Snapshot struct {
	*store.Spool
	URL  string // where it is from
	Info store.Info
	// Sidecar is that of the file here, so of one that is not encrypted; nil: there is none.
	Sidecar *snapshot.Sidecar
	// Encrypted says that it is encrypted where it is stored.
	Encrypted bool
}

// Options are the details of Fetch.
type Options struct {
	Identities seal.Identities
	// Progress is told of bytes that have come, of how many.
	Progress func(done, total int64)
	// Cut is told why a read goes on anew.
	Cut func(error)
}

// Error is why a snapshot is not brought here, with the way out.
type Error struct {
	URL    string
	Reason string
	Way    string
	Cause  error
}

func (e *Error) Error() string { return "read " + e.URL + ": " + e.Reason }
func (e *Error) Unwrap() error { return e.Cause }

// Hint is the way out.
func (e *Error) Hint() string { return e.Way }

// Sidecar reads the sidecar of an object; nil where there is none, or where it may not be read.
func Sidecar(ctx context.Context, s store.Store, name string) (*snapshot.Sidecar, error) {
	path := snapshot.SidecarPath(name)
	data, err := store.ReadAll(ctx, s, path, snapshot.MaxSidecar)
	if store.Missing(err) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return snapshot.DecodeSidecar(s.URL(path), data)
}

// Fetch reads an object once, whole, and compares it with its sidecar.
func Fetch(ctx context.Context, s store.Store, name string, o Options) (_ *Snapshot, err error) {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	side, err := Sidecar(ctx, s, name)
	if err != nil {
		return nil, err
	}
	got := &Snapshot{URL: s.URL(name), Info: info, Sidecar: side}
	switch {
	case info.Size == 0:
		return nil, &Error{URL: got.URL, Reason: "it is empty"}
	case side != nil && side.Size != info.Size:
		return nil, &Error{URL: got.URL, Reason: fmt.Sprintf("it has %d bytes, and its sidecar says %d: it is not what was written", info.Size, side.Size), Way: "take another backup"}
	}
	if free := store.Free(os.TempDir()); free >= 0 && free < info.Size {
		return nil, &Error{URL: got.URL, Reason: fmt.Sprintf("folder %s has %s free, and it needs %s", os.TempDir(), humanize.IBytes(uint64(free)), humanize.IBytes(uint64(info.Size))), Way: "name a folder with more room with TMPDIR"}
	}
	if got.Spool, err = store.NewSpool(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = got.Close()
		}
	}()
	r := store.Patience.Read(ctx, s, info, o.Cut)
	defer func() { _ = r.Close() }()
	return got, got.read(&counted{ctx: ctx, r: r, h: sha256.New(), total: info.Size, told: o.Progress}, o.Identities)
}

// counted hashes what passes.
type counted struct {
	ctx   context.Context
	r     io.Reader
	h     hash.Hash
	done  int64
	total int64
	told  func(done, total int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	c.done += int64(n)
	if c.told != nil {
		c.told(c.done, c.total)
	}
	return n, err
}

func (s *Snapshot) read(c *counted, ids seal.Identities) error {
	buffered := bufio.NewReaderSize(c, 1<<20)
	head, err := buffered.Peek(int(min(64, c.total)))
	if err != nil {
		return err
	}
	var from io.Reader = buffered
	here := sha256.New()
	if s.Encrypted = seal.Sealed(head); s.Encrypted {
		if from, err = unseal(s.URL, s.Sidecar, buffered, ids); err != nil {
			return err
		}
	} else if s.Sidecar != nil && s.Sidecar.Encryption != nil {
		return &Error{URL: s.URL, Reason: "its sidecar says that it is encrypted, and it is not"}
	}
	kept := &keeper{w: s.Spool}
	size, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(kept, here)}, struct{ io.Reader }{from}, make([]byte, 1<<20))
	if kept.err != nil {
		return fmt.Errorf("write temporary file: %w", kept.err)
	}
	// What is behind the end of the encrypted stream is hashed, too, and what is behind damage to it.
	if _, rerr := io.Copy(io.Discard, buffered); err == nil {
		err = rerr
	}
	sum := hex.EncodeToString(c.h.Sum(nil))
	if s.Sidecar != nil && c.done == c.total && sum != s.Sidecar.SHA256 { // says more than what that has done to the encryption
		return &Error{URL: s.URL, Reason: fmt.Sprintf("its sha256 is %s, and its sidecar says %s: it is not what was written", sum, s.Sidecar.SHA256), Way: "take another backup"}
	}
	if err != nil {
		var own *store.Error
		interrupted := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || c.ctx.Err() != nil
		if s.Encrypted && !interrupted && !errors.As(err, &own) {
			return &Error{URL: s.URL, Reason: "it cannot be decrypted: " + err.Error(), Way: "it is damaged, or was cut: take another backup", Cause: err}
		}
		return err
	}
	if s.Sidecar != nil {
		side := *s.Sidecar
		side.Encryption, side.Size, side.SHA256 = nil, size, hex.EncodeToString(here.Sum(nil))
		s.Sidecar = &side
	}
	return nil
}

// keeper remembers an error of the disk here, which is none of what is read.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// unseal decrypts; side, which may be nil, says for whom it is.
func unseal(url string, side *snapshot.Sidecar, r io.Reader, ids seal.Identities) (io.Reader, error) {
	whom := ""
	if side != nil && side.Encryption != nil {
		whom = " for " + strings.Join(side.Encryption.Recipients, ", ")
	}
	way, other := "name the file of a key for it with --identity", "name the file of another key with --identity"
	if strings.Contains(whom, seal.Passphrase) {
		way = "name the file of its passphrase with --passphrase-file"
		other = way
	}
	if !ids.Any() {
		return nil, &Error{URL: url, Reason: "it is encrypted" + whom, Way: way}
	}
	plain, err := ids.Reader(r)
	switch {
	case errors.Is(err, seal.ErrIdentity):
		return nil, &Error{URL: url, Reason: "it is encrypted" + whom + ", and no identity named is one of these", Way: other, Cause: err}
	case err != nil:
		return nil, &Error{URL: url, Reason: "it cannot be decrypted: " + err.Error(), Cause: err}
	}
	return plain, nil
}
