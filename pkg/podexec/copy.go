package podexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// corruptRestarts is how often a copy whose checksum disagrees is begun again at its first byte.
const corruptRestarts = 2

// CopyOptions are the details of CopyFrom and CopyTo.
type CopyOptions struct {
	// Progress is told how many bytes are over, which falls when something has to be sent again. total is 0 until it is
	// known.
	Progress func(done, total int64)
	// Retried is told why, when an attempt failed and another will be made.
	Retried func(err error)
	// Mode is the permissions of a file that CopyTo makes; 0 means 0600.
	Mode fs.FileMode
}

// Copied describes a copy whose length and sha256 both sides agree on.
type Copied struct {
	Size    int64
	SHA256  string // hex, of the whole file
	Mode    fs.FileMode
	Retries int
}

// CopyFrom copies the file remote, which must be at rest: that of a node, such as a key that a snapshot needs. After a cut it
// continues where it stopped; the checksum of the whole file proves that the pieces fit. It gives up after
// Timing.Attempts failures in a row that brought nothing. dst may hold stale bytes after Copied.Size.
func (t Talk) CopyFrom(ctx context.Context, remote string, dst io.WriterAt, opts CopyOptions) (*Copied, error) {
	x := &copyFrom{t: t, remote: remote, dst: dst, opts: opts, hash: sha256.New()}
	copied, err := t.persist(ctx, x, opts)
	if err != nil {
		return nil, fmt.Errorf("copy %s from %v: %w", remote, t.Runner, err)
	}
	return copied, nil
}

// CopyTo copies size bytes of src to the file remote, which appears, complete and synced, only once its checksum agrees.
// It continues and gives up like CopyFrom.
func (t Talk) CopyTo(ctx context.Context, src io.ReaderAt, size int64, remote string, opts CopyOptions) (*Copied, error) {
	x := &copyTo{t: t, remote: remote, src: src, size: size, opts: opts}
	copied, err := t.persist(ctx, x, opts)
	if err != nil {
		return nil, fmt.Errorf("copy to %s in %v: %w", remote, t.Runner, err)
	}
	return copied, nil
}

// resumable is a copy that keeps what it has between attempts.
type resumable interface {
	// attempt goes on with the copy and tells how many bytes further it got, whether or not it failed.
	attempt(ctx context.Context) (*Copied, int64, error)
	// restart forgets everything.
	restart()
}

// persist tries until the copy is done, a failure is final, or nothing moves any more.
func (t Talk) persist(ctx context.Context, x resumable, opts CopyOptions) (*Copied, error) {
	pause := newBackoff(t.Timing)
	retries, barren, corrupt := 0, 0, 0
	for {
		copied, moved, err := x.attempt(ctx)
		if err == nil {
			copied.Retries = retries
			return copied, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !retryable(err) {
			return nil, err
		}
		if isCorrupt(err) {
			if corrupt++; corrupt > corruptRestarts {
				return nil, err
			}
			x.restart()
		} else if barren++; moved > 0 {
			barren = 0
			pause.reset()
		} else if barren >= t.Timing.Attempts {
			return nil, fmt.Errorf("gave up after %d attempts that brought nothing: %w", barren, err)
		}
		if opts.Retried != nil {
			opts.Retried(err)
		}
		retries++
		if err := pause.wait(ctx); err != nil {
			return nil, err
		}
	}
}

func isCorrupt(err error) bool {
	var refusal *frame.Error
	return errors.Is(err, frame.ErrCorrupt) || errors.As(err, &refusal) && refusal.Code == frame.CodeCorrupt
}

type copyFrom struct {
	t      Talk
	remote string
	dst    io.WriterAt
	opts   CopyOptions

	offset int64
	hash   hash.Hash // of the bytes before offset
	total  atomic.Int64
}

func (x *copyFrom) restart() { x.offset, x.hash = 0, sha256.New() }

func (x *copyFrom) attempt(ctx context.Context) (*Copied, int64, error) {
	before := x.offset
	sink := io.NewOffsetWriter(x.dst, x.offset)
	reply, err := x.t.Call(ctx, Request{frame.RequestRead, frame.ReadRequest{Path: x.remote, Offset: x.offset}}, CallOptions{
		Sink:     sink,
		Progress: x.learnSize,
		seed:     x.hash,
		moved: func(n int64) {
			x.offset += n
			if x.opts.Progress != nil {
				x.opts.Progress(x.offset, x.total.Load())
			}
		},
	})
	moved := x.offset - before
	if err != nil {
		return nil, moved, err
	}
	var file frame.ReadReply
	if err := json.Unmarshal(reply.Extra, &file); err != nil {
		return nil, moved, &localError{fmt.Errorf("decode the agent's reply: %w", err)}
	}
	if file.Size != x.offset {
		return nil, moved, fmt.Errorf("%w: %d bytes of a file of %d", frame.ErrCorrupt, x.offset, file.Size)
	}
	return &Copied{Size: file.Size, SHA256: reply.SHA256, Mode: file.Mode}, moved, nil
}

// learnSize reads what the agent says about the file before it sends it.
func (x *copyFrom) learnSize(p json.RawMessage) {
	var file frame.ReadReply
	if json.Unmarshal(p, &file) == nil {
		x.total.Store(file.Size)
	}
}

type copyTo struct {
	t      Talk
	remote string
	src    io.ReaderAt
	size   int64
	opts   CopyOptions

	tried  bool // so that a part on the other side is ours
	offset int64
}

func (x *copyTo) restart() { x.tried, x.offset = false, 0 }

func (x *copyTo) attempt(ctx context.Context) (*Copied, int64, error) {
	before := x.offset
	if x.tried {
		done, err := x.findOffset(ctx)
		if done != nil || err != nil {
			return done, 0, err
		}
	}
	x.tried = true
	mode := x.opts.Mode
	if mode == 0 {
		mode = 0o600
	}
	sent := x.offset
	request := Request{frame.RequestWrite, frame.WriteRequest{Path: x.remote, Offset: x.offset, Size: x.size, Mode: mode}}
	reply, err := x.t.Call(ctx, request, CallOptions{
		Upload:       io.NewSectionReader(x.src, x.offset, x.size-x.offset),
		uploadPrefix: io.NewSectionReader(x.src, 0, x.offset),
		moved: func(n int64) {
			sent += n
			if x.opts.Progress != nil {
				x.opts.Progress(sent, x.size)
			}
		},
	})
	// What was sent may not have arrived; what had arrived before is known now.
	moved := x.offset - before
	if err != nil {
		return nil, moved, err
	}
	var file frame.WriteReply
	if err := json.Unmarshal(reply.Extra, &file); err != nil {
		return nil, moved, &localError{fmt.Errorf("decode the agent's reply: %w", err)}
	}
	if file.Size != x.size {
		return nil, moved, fmt.Errorf("%w: the agent wrote %d bytes of %d", frame.ErrCorrupt, file.Size, x.size)
	}
	return &Copied{Size: file.Size, SHA256: file.SHA256, Mode: mode}, moved, nil
}

// findOffset asks how much has arrived. It may be all of it, when only the answer was lost.
func (x *copyTo) findOffset(ctx context.Context) (*Copied, error) {
	stat, err := x.stat(ctx, false)
	if err != nil {
		return nil, err
	}
	if stat.Part >= 0 {
		x.offset = min(stat.Part, x.size)
		return nil, nil
	}
	x.offset = 0
	if !stat.Exists || stat.Size != x.size {
		return nil, nil
	}
	if stat, err = x.stat(ctx, true); err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(x.src, 0, x.size)); err != nil {
		return nil, &localError{fmt.Errorf("read what was sent: %w", err)}
	}
	if sum := hex.EncodeToString(h.Sum(nil)); stat.SHA256 == sum {
		return &Copied{Size: stat.Size, SHA256: sum, Mode: stat.Mode.Perm()}, nil
	}
	return nil, nil
}

func (x *copyTo) stat(ctx context.Context, sum bool) (*frame.StatReply, error) {
	request := Request{frame.RequestStat, frame.StatRequest{Path: x.remote, Sum: sum}}
	reply, err := x.t.Call(ctx, request, CallOptions{})
	if err != nil {
		return nil, err
	}
	var stat frame.StatReply
	if err := json.Unmarshal(reply.Extra, &stat); err != nil {
		return nil, &localError{fmt.Errorf("decode the agent's reply: %w", err)}
	}
	return &stat, nil
}
