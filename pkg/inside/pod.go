package inside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Bench is where a snapshot is opened in a cluster: on the node of a member, with its image and that of an API server.
type Bench struct {
	Clients   *reach.Clients
	Member    controlplane.Member
	APIServer controlplane.APIServer
	Options   reach.Options
}

// ChooseBench takes a member and an API server that are on one node, where both images are then; else any of either.
func ChooseBench(p controlplane.ControlPlane) (m controlplane.Member, a controlplane.APIServer, err error) {
	best := -1
	for _, member := range p.Members {
		for _, server := range p.APIServers {
			rank := 0
			if member.Node == server.Node {
				rank += 4
			}
			if member.Ready {
				rank += 2
			}
			if server.Ready {
				rank++
			}
			if rank > best && member.Node != "" && server.Image != "" {
				best, m, a = rank, member, server
			}
		}
	}
	if best < 0 {
		err = fmt.Errorf("open snapshot in a pod: %s has %d members and %d API servers; it takes an image of each", p.ID(), len(p.Members), len(p.APIServers))
	}
	return m, a, err
}

// inPod is a snapshot that is open in a pod, with a port of this machine that leads there.
type inPod struct {
	*reach.Opened
	dir      string
	after    *child.Remover
	listener net.Listener
}

func openInPod(ctx context.Context, c Config, prefix string) (_ opened, err error) {
	f, err := os.Open(c.Etcd.Snapshot)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	req := reach.OpenRequest{Report: c.Etcd.Report, Prefix: prefix, Progress: c.Uploaded}
	if c.EncryptionConfig != "" {
		e, err := os.Open(c.EncryptionConfig)
		if err != nil {
			return nil, err
		}
		defer func() { _ = e.Close() }()
		st, err := e.Stat()
		if err != nil {
			return nil, err
		}
		req.EncryptionConfig, req.EncryptionSize = io.ReaderAt(e), st.Size()
	}
	x := &inPod{}
	defer func() {
		if err != nil {
			err = errors.Join(err, x.Close())
		}
	}()
	if x.dir, err = os.MkdirTemp("", "kubectl-etcd-open-*"); err != nil {
		return nil, fmt.Errorf("create temporary folder: %w", err)
	}
	x.after = child.RemoveAfterUs(x.dir)
	if x.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("find free port: %w", err)
	}
	c.Etcd.Progress("compress")
	packed, err := x.pack(f, c.Etcd.Report)
	if err != nil {
		return nil, err
	}
	defer func() { _ = packed.Close(); _ = os.Remove(filepath.Join(x.dir, packedName)) }()
	if req.Snapshot, req.Size, err = smaller(f, packed); err != nil {
		return nil, err
	}
	b := c.Bench
	if x.Opened, err = reach.OpenSnapshot(ctx, b.Clients, b.Member, b.APIServer, b.Options, req, c.Etcd.Progress); err != nil {
		return nil, fmt.Errorf("open snapshot in a pod: %w", err)
	}
	go x.Forward(x.listener)
	return x, nil
}

const packedName = "snapshot.db.zst"

// pack compresses what is sent: it is a fraction of what goes through the API server otherwise. It is checked once more on the way.
func (x *inPod) pack(f *os.File, r *verify.Report) (*os.File, error) {
	packed, err := os.OpenFile(filepath.Join(x.dir, packedName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil || r.Compression != snapshot.None {
		return packed, err
	}
	sum, err := snapshot.Compress(packed, io.NewSectionReader(f, 0, r.Size))
	if err != nil { // no room, mostly: it goes as it is
		return packed, packed.Truncate(0)
	}
	if r.Plain.SHA256 != "" && sum != r.Plain.SHA256 {
		return nil, errors.Join(errors.New("open snapshot: it is not any more what was proven"), packed.Close())
	}
	return packed, nil
}

// smaller is the smaller of a file and what it was packed as; an empty one was not.
func smaller(f, packed *os.File) (io.ReaderAt, int64, error) {
	plain, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	small, err := packed.Stat()
	if err == nil && small.Size() > 0 && small.Size() < plain.Size() {
		return packed, small.Size(), nil
	}
	return f, plain.Size(), err
}

func (x *inPod) Access() apiserver.Access {
	a := x.API.Access
	a.Port = x.listener.Addr().(*net.TCPAddr).Port
	return a
}

func (x *inPod) Versions() (etcd, kubernetes string) { return x.Etcd.Version, x.API.Version }
func (x *inPod) Dir() string                         { return x.dir }

func (x *inPod) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-x.Ended():
		return fmt.Errorf("what is open in a pod ended: %w", err)
	}
}

func (x *inPod) Close() error {
	if x.listener != nil {
		_ = x.listener.Close()
	}
	var err error
	if x.Opened != nil {
		err = reach.Release(context.Background(), x.Opened)
	}
	x.after.Stop()
	if x.dir != "" {
		err = errors.Join(err, os.RemoveAll(x.dir))
	}
	return err
}
