package agent

import (
	"context"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
)

// rehearseFile restores a snapshot that was uploaded, with the tools of the
// image that this pod runs, and starts its etcd on it.
func rehearseFile(ctx context.Context, s *Session) error {
	var req agentapi.RehearseRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	result, err := rehearse.Run(ctx, rehearse.Config{
		Snapshot: req.Path, Raw: req.Raw, Dir: filepath.Dir(req.Path), QuotaBytes: req.QuotaBytes,
		Progress: func(step string) { s.Progress(step) },
	})
	if err != nil {
		return err
	}
	return s.End(result)
}
