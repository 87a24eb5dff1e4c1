package agent

import (
	"context"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// dial connects with the first files that are there and that etcd accepts.
// Where none is, the error is of the first.
func dial(ctx context.Context, e agentapi.Endpoint) (*etcd.Conn, error) {
	var failed error
	var tries etcd.Tries
	for _, f := range append([]agentapi.Files{{CA: e.CA, Cert: e.Cert, Key: e.Key}}, e.Alternatives...) {
		if !tries.Worth(f.CA, f.Cert, f.Key) {
			continue
		}
		c, err := dialWith(ctx, e, f, len(e.Alternatives) > 0)
		if err == nil {
			return c, nil
		}
		if failed == nil {
			failed = err
		}
		if !tries.Failed(f.CA, f.Cert, f.Key, err) {
			break
		}
	}
	return nil, failed
}

func dialWith(ctx context.Context, e agentapi.Endpoint, f agentapi.Files, try bool) (*etcd.Conn, error) {
	t, err := etcd.ReadTLS(f.CA, f.Cert, f.Key)
	if err != nil {
		return nil, err
	}
	c, err := etcd.Dial(ctx, etcd.Config{Endpoint: e.URL, TLS: t.With(e.Given), ServerName: e.ServerName, Username: e.Username, Password: e.Password})
	if err != nil || !try {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, answer.QueryTimeout)
	defer cancel()
	if _, err := c.Status(ctx); err != nil && etcd.IsTLS(err) {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func query(ctx context.Context, s *Session) error {
	var req agentapi.QueryRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	c, err := dial(ctx, req.Endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	reply, err := answer.Query(ctx, c, req)
	if err != nil {
		return err
	}
	return s.End(reply)
}

func takeSnapshot(ctx context.Context, s *Session) error {
	var req agentapi.SnapshotRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	c, err := dial(ctx, req.Endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	reply, err := answer.Snapshot(ctx, c, req.Compress, s.Data(), func(p agentapi.SnapshotProgress) { s.Progress(p) })
	if err != nil {
		return err
	}
	reply.Usage = usage()
	return s.End(reply)
}
