package reach

import (
	"context"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// connLink is a way on which the client itself speaks gRPC with etcd.
type connLink struct {
	way   Way
	conn  *etcd.Conn
	close func()
}

func (l *connLink) Way() Way { return l.way }

func (l *connLink) Query(ctx context.Context, q Question) (*agentapi.QueryReply, error) {
	return answer.Query(ctx, l.conn, q.request(agentapi.Endpoint{}))
}

func (l *connLink) Snapshot(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	return answer.Snapshot(ctx, l.conn, compress, w, progress)
}

func (l *connLink) Close(context.Context) error {
	err := l.conn.Close()
	if l.close != nil {
		l.close()
	}
	return err
}

// DirectConfig is an endpoint that this machine reaches by itself, with files
// that it has.
type DirectConfig struct {
	Endpoint                       string
	CA, Cert, Key                  string // paths of PEM files
	ServerName, Username, Password string
}

// OpenDirect connects to an endpoint without a cluster.
func OpenDirect(ctx context.Context, d DirectConfig) (Link, error) {
	t, err := etcd.ReadTLS(d.CA, d.Cert, d.Key)
	if err != nil {
		return nil, err
	}
	c, err := etcd.Dial(ctx, etcd.Config{Endpoint: d.Endpoint, TLS: t, ServerName: d.ServerName, Username: d.Username, Password: d.Password})
	if err != nil {
		return nil, fmt.Errorf("open direct way: %w", err)
	}
	return &connLink{way: Direct, conn: c}, nil
}
