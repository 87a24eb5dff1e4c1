package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// unpackFile can be repeated. What it makes has its name only when it is whole, what was announced, and on the disk.
func unpackFile(ctx context.Context, r agentapi.UnpackRequest, _ func(string)) (*frame.WriteReply, error) {
	done := &frame.WriteReply{Size: r.Size, SHA256: r.SHA256}
	from, err := os.Open(r.From)
	if errors.Is(err, fs.ErrNotExist) {
		if info, serr := os.Stat(r.To); serr == nil && info.Size() == r.Size {
			return done, nil // an earlier try was whole, and its reply got lost
		}
	}
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	defer from.Close()
	part, err := openPart(ctx, r.To+partSuffix)
	if err != nil {
		return nil, err
	}
	defer part.Close()
	if err := unpack(ctx, r, from, part); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack %s: %w", r.From, err), part.Truncate(0))
	}
	if err := commit(part, frame.WriteRequest{Path: r.To, Mode: 0o600}); err != nil {
		return nil, err
	}
	return done, os.Remove(r.From)
}

func unpack(ctx context.Context, r agentapi.UnpackRequest, from io.Reader, part *os.File) error {
	if err := part.Truncate(0); err != nil {
		return err
	}
	plain, _, err := snapshot.Reader(from)
	if err != nil {
		return err
	}
	defer plain.Close()
	var to io.Writer = &steady{File: part}
	sum := sha256.New()
	if r.SHA256 != "" {
		to = io.MultiWriter(to, sum)
	}
	n, err := io.Copy(to, snapshot.WithContext(ctx, io.LimitReader(plain, r.Size+1)))
	switch {
	case err != nil:
		return err
	case n != r.Size:
		return frame.Errorf(frame.CodeCorrupt, "%d bytes or more came, %d were announced", n, r.Size)
	case r.SHA256 != "" && hex.EncodeToString(sum.Sum(nil)) != r.SHA256:
		return frame.Errorf(frame.CodeCorrupt, "its sha256 is not the one that was announced")
	}
	return nil
}
