package reach

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
)

// Note keeps the operation's journal beside the member's data.
func (s *Stage) Note(ctx context.Context, journal []byte) error {
	_, err := ask[datadir.Noted](ctx, s, agentapi.RequestNote, datadir.NoteRequest{Place: s.place, Journal: journal}, nil)
	return err
}

// EndPod ends the processes of a static pod of the node, by the hash of its manifest.
func (s *Stage) EndPod(ctx context.Context, hash string, grace time.Duration) (*agentapi.EndPodReply, error) {
	return ask[agentapi.EndPodReply](ctx, s, agentapi.RequestEndPod, agentapi.EndPodRequest{Hash: hash, GraceMillis: int(grace / time.Millisecond)}, nil)
}
