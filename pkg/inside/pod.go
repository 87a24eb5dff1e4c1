package inside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

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
	after    *child.Watcher
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
	packed, err := x.pack(ctx, f, c.Etcd.Report)
	if err != nil {
		return nil, err
	}
	req.Snapshot, req.Size = f, c.Etcd.Report.Size
	if packed != nil {
		defer func() { _ = packed.Close() }()
		req.Snapshot, req.Size = packed, packed.size
	}
	b := c.Bench
	if x.Opened, err = reach.OpenSnapshot(ctx, b.Clients, b.Member, b.APIServer, b.Options, req, c.Etcd.Progress); err != nil {
		return nil, fmt.Errorf("open snapshot in a pod: %w", err)
	}
	go x.Forward(x.listener)
	return x, nil
}

// packed is a file that has no name any more where the system allows that: what is killed leaves no Secrets.
type packed struct {
	*os.File
	size int64 // in bytes
}

// pack compresses what is sent: it is a fraction of what goes through the API server otherwise. It is checked once more on the way. Where there is
// no room, or it makes it no smaller, there is none.
func (x *inPod) pack(ctx context.Context, f *os.File, r *verify.Report) (*packed, error) {
	if r.Compression != snapshot.None {
		return nil, nil
	}
	to, err := os.CreateTemp(x.dir, "snapshot-*.db.zst")
	if err != nil {
		return nil, fmt.Errorf("compress snapshot: %w", err)
	}
	_ = os.Remove(to.Name()) // else it goes with its folder
	sum, err := snapshot.Compress(ctx, to, io.NewSectionReader(f, 0, r.Size))
	size, serr := to.Seek(0, io.SeekEnd)
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(ctx.Err(), to.Close())
	case err != nil || serr != nil || size >= r.Size:
		return nil, to.Close()
	case r.Plain.SHA256 != "" && sum != r.Plain.SHA256: // where it was proven on its way here, it was not summed up again
		return nil, errors.Join(errors.New("open snapshot: it is not any more what was proven"), to.Close())
	}
	return &packed{to, size}, nil
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
