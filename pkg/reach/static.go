package reach

import (
	"context"
	"encoding/json"
	"path"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
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

// staticFolders is where products have the manifests of static pods.
var staticFolders = map[controlplane.Layout]string{
	controlplane.Kubeadm: "/etc/kubernetes/manifests",
	controlplane.RKE2:    "/var/lib/rancher/rke2/agent/pod-manifests",
}

// StaticPodPath is where a node has the manifests of its static pods: the kubelet's own word, where the user may have it. "" is not known.
func StaticPodPath(ctx context.Context, c *Clients, node string, layout controlplane.Layout) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // a node that is down answers nothing
	defer cancel()
	var reply struct {
		Config struct {
			StaticPodPath string `json:"staticPodPath"`
		} `json:"kubeletconfig"`
	}
	raw, err := c.Core.RESTClient().Get().AbsPath("/api/v1/nodes", node, "proxy/configz").DoRaw(ctx)
	if err != nil || json.Unmarshal(raw, &reply) != nil || !path.IsAbs(reply.Config.StaticPodPath) {
		return staticFolders[layout]
	}
	return path.Clean(reply.Config.StaticPodPath)
}
