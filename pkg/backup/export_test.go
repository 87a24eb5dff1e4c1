package backup

import (
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

func init() { retryPause = 50 * time.Millisecond }

func rawReply() *agentapi.SnapshotReply {
	return &agentapi.SnapshotReply{Plain: snapshot.Proof{Size: 4096, SHA256: "ab"}}
}
