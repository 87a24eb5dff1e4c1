// Package answer asks one etcd what a client or the agent wants to know of it, and takes its snapshot. Both do it alike: the agent in the
// pod, a client over a way on which it speaks with etcd itself.
package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// QueryTimeout bounds everything but a hash, which takes time in proportion to the data.
const QueryTimeout = 10 * time.Second

// ProgressEvery is how much data goes by between two reports of progress.
const ProgressEvery = 4 << 20

// Query asks c what req names.
func Query(ctx context.Context, c *etcd.Conn, req agentapi.QueryRequest) (*agentapi.QueryReply, error) {
	var r agentapi.QueryReply
	var err error
	quick, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	if req.Status {
		if r.Status, err = c.Status(quick); err != nil {
			return nil, err
		}
	}
	if req.Members {
		if r.Members, err = c.Members(quick); err != nil {
			return nil, err
		}
	}
	if req.Alarms {
		if r.Alarms, err = c.Alarms(quick); err != nil {
			return nil, err
		}
	}
	if req.HashAt != nil {
		r.Hash, err = c.HashKV(ctx, *req.HashAt)
		if etcd.IsRetryableHash(err) {
			r.NotNow, err = true, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return &r, nil
}

// Snapshot takes a snapshot through c, proves it by etcd's own trailer and
// writes it to w, compressed when asked. On an error what was written is not a
// snapshot.
func Snapshot(ctx context.Context, c *etcd.Conn, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	quick, cancel := context.WithTimeout(ctx, QueryTimeout)
	before, err := c.Status(quick)
	cancel()
	if err != nil {
		return nil, err
	}
	version := ""
	reply, err := Pump(compress, w, func(w io.Writer) error {
		last := int64(-ProgressEvery)
		version, err = c.Snapshot(ctx, w, func(done, remaining int64) {
			if done-last >= ProgressEvery || remaining == 0 {
				last = done
				progress(agentapi.SnapshotProgress{Done: done, Total: done + remaining})
			}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	reply.Before, reply.Version = before, version
	if !reply.Plain.Trailer {
		return nil, errors.New("snapshot stream ended without etcd's sha256 trailer")
	}
	quick, cancel = context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	if reply.After, err = c.Status(quick); err != nil {
		return nil, fmt.Errorf("after the snapshot: %w", err)
	}
	return reply, nil
}

// Pump runs produce, hashes what it writes and hands it to w, compressed when
// asked; the three run side by side. A missing trailer is not an error here (see
// Proof.Trailer); a wrong one is.
func Pump(compress bool, w io.Writer, produce func(io.Writer) error) (*agentapi.SnapshotReply, error) {
	check := snapshot.NewChecker()
	out := io.WriteCloser(nopCloser{w})
	if compress {
		enc, err := newEncoder(w)
		if err != nil {
			return nil, err
		}
		out = enc
	}
	// The consumer takes the encoder's work; hashing stays with the producer, whose TLS work is the lighter half.
	q := newQueue(out)
	err := produce(io.MultiWriter(check, q))
	if cerr := q.Close(); err == nil {
		err = cerr
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	proof, err := check.Finish()
	if err != nil && !errors.Is(err, snapshot.ErrNoTrailer) {
		return nil, err
	}
	return &agentapi.SnapshotReply{Plain: proof, Compressed: compress}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
