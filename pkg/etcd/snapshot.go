package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Snapshot writes the member's snapshot stream to w, etcd's own sha256 trailer
// included, and reports after each chunk how many bytes came and how many
// remain. It proves nothing: put a snapshot.Checker behind w. version is empty before etcd 3.6.
func (c *Conn) Snapshot(ctx context.Context, w io.Writer, progress func(done, remaining int64)) (version string, err error) {
	ctx, cancel := context.WithCancel(c.auth(ctx))
	defer cancel()
	stream, err := c.startSnapshot(ctx)
	if err != nil {
		return "", fmt.Errorf("start snapshot of %s: %w", c.endpoint, c.plain(err))
	}
	r := part{to: w}
	for {
		err := stream.RecvMsg(&r)
		if errors.Is(err, io.EOF) {
			return r.version, nil
		}
		if r.failed != nil {
			return "", r.failed
		}
		if status.Code(err) == codes.Unavailable && r.done > 0 {
			err = fmt.Errorf("%w: %w", ErrCut, c.plain(err))
		}
		if err != nil {
			return "", fmt.Errorf("receive snapshot of %s after %d bytes: %w", c.endpoint, r.done, c.plain(err))
		}
		progress(r.done, r.remaining)
	}
}

func (c *Conn) startSnapshot(ctx context.Context) (grpc.ClientStream, error) {
	stream, err := c.grpc.NewStream(ctx, &grpc.StreamDesc{StreamName: "Snapshot", ServerStreams: true}, pb.Maintenance_Snapshot_FullMethodName,
		grpc.ForceCodecV2(partCodec{encoding.GetCodecV2(proto.Name)}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&pb.SnapshotRequest{}); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg says why
		return nil, err
	}
	return stream, stream.CloseSend()
}

// part takes the SnapshotResponses of one stream: the blobs go where they are
// meant to go without ever being copied into a message.
type part struct {
	to        io.Writer
	done      int64 // bytes written
	remaining int64 // as the last message says
	version   string
	failed    error // of the writer
}

// partCodec is gRPC's own for protocol buffers, but for a part.
type partCodec struct{ encoding.CodecV2 }

func (c partCodec) Unmarshal(data mem.BufferSlice, v any) error {
	p, ok := v.(*part)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	p.remaining = 0 // absent means zero
	r := data.Reader()
	defer func() { _ = r.Close() }()
	for r.Remaining() > 0 {
		if err := p.field(r); err != nil {
			return err
		}
	}
	return nil
}

// Fields of a SnapshotResponse (etcd's api/etcdserverpb/rpc.proto).
const (
	fieldRemaining = 2
	fieldBlob      = 3
	fieldVersion   = 4
)

func (p *part) field(r *mem.Reader) error {
	tag, err := binary.ReadUvarint(r)
	if err != nil {
		return fmt.Errorf("decode field: %w", err)
	}
	num, typ := protowire.DecodeTag(tag)
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return fmt.Errorf("decode field %d: %w", num, err)
	}
	switch {
	case typ == protowire.VarintType:
		if num == fieldRemaining {
			p.remaining = int64(n)
		}
		return nil
	case typ != protowire.BytesType:
		return fmt.Errorf("decode field %d: wire type %d is in no snapshot", num, typ)
	case n > uint64(r.Remaining()):
		return fmt.Errorf("decode field %d: %w", num, io.ErrUnexpectedEOF)
	}
	switch num {
	case fieldBlob:
		return p.blob(r, int(n))
	case fieldVersion:
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		p.version = string(b)
	default:
		_, err = r.Discard(int(n))
	}
	return err
}

func (p *part) blob(r *mem.Reader, n int) error {
	pieces, err := r.Peek(n, nil)
	if err != nil {
		return err
	}
	for _, b := range pieces {
		if _, p.failed = p.to.Write(b); p.failed != nil {
			return p.failed
		}
		p.done += int64(len(b))
	}
	_, err = r.Discard(n)
	return err
}
