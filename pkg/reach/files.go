package reach

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// hostDir is below what a node's paths are in a utility pod that reads its files.
const hostDir = "/kubectl-etcd/host"

// mostFiles bounds what a list of one path has.
const mostFiles = 2000

// Files is a utility pod that reads files of a node. It is root there, with the one capability to read what others own; it can write
// nothing, and nothing of etcd's is mounted.
type Files struct{ link *agentLink }

// HostPath is a folder or a file of a node. Its Type is as in a volume; where it is none, it must be there.
type HostPath struct {
	Path string
	Type corev1.HostPathType
}

// OpenFiles makes the pod beside another one, with that one's image, which is on the node already. None of the paths may be within
// another.
func OpenFiles(ctx context.Context, c *Clients, beside *corev1.Pod, paths []HostPath, o Options) (*Files, error) {
	o.hostPaths = paths
	link, err := openAgent(ctx, c, besideOf(beside), o)
	if err != nil {
		return nil, err
	}
	return &Files{link: link.(*agentLink)}, nil
}

// besideOf has what a second pod on that node needs of it.
func besideOf(p *corev1.Pod) controlplane.Member {
	m := controlplane.Member{Name: p.Name, Namespace: p.Namespace, PodName: p.Name, Pod: p.Name, Node: p.Spec.NodeName, Image: p.Spec.Containers[0].Image}
	m.RunAsUser = ptr(int64(0))
	if s := p.Spec.SecurityContext; s != nil {
		m.SELinux = s.SELinuxOptions
	}
	if s := p.Spec.Containers[0].SecurityContext; s != nil && s.SELinuxOptions != nil {
		m.SELinux = s.SELinuxOptions
	}
	if p.Spec.RuntimeClassName != nil {
		m.RuntimeClass = *p.Spec.RuntimeClassName
	}
	for _, s := range p.Spec.ImagePullSecrets {
		m.ImagePullSecrets = append(m.ImagePullSecrets, s.Name)
	}
	return m
}

// hostMounts are the node's paths, each below hostDir, where nothing can be written.
func hostMounts(paths []HostPath) (set mountSet) {
	for i, p := range paths {
		kind := p.Type
		switch kind { // nothing is made on the node
		case corev1.HostPathDirectoryOrCreate:
			kind = corev1.HostPathDirectory
		case corev1.HostPathFileOrCreate:
			kind = corev1.HostPathFile
		}
		name := fmt.Sprintf("host-%d", i)
		set.volumes = append(set.volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: p.Path, Type: &kind}}})
		set.mounts = append(set.mounts, corev1.VolumeMount{Name: name, MountPath: hostDir + p.Path, ReadOnly: true})
	}
	return set
}

// List tells what is at a path of the node and below it, under the node's names.
func (f *Files) List(ctx context.Context, at string) ([]frame.File, error) {
	reply, err := f.link.talk().Call(ctx, podexec.Request{Name: frame.RequestList, Body: frame.ListRequest{Path: hostDir + path.Clean(at), Most: mostFiles}}, podexec.CallOptions{})
	if err != nil {
		return nil, fmt.Errorf("list %s of node %s: %w", at, f.link.member.Node, err)
	}
	var list frame.ListReply
	if err := json.Unmarshal(reply.Extra, &list); err != nil {
		return nil, fmt.Errorf("list %s of node %s: read the agent's reply: %w", at, f.link.member.Node, err)
	}
	for i := range list.Files {
		list.Files[i].Path = strings.TrimPrefix(list.Files[i].Path, hostDir)
	}
	return list.Files, nil
}

// Read brings a listed file here, proven from end to end. What was changed since is an error.
func (f *Files) Read(ctx context.Context, file frame.File) ([]byte, error) {
	buf := &fixed{data: make([]byte, file.Size)}
	copied, err := f.link.talk().CopyFrom(ctx, hostDir+file.Path, buf, podexec.CopyOptions{})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", f.link.member.Node, err)
	}
	if copied.Size != file.Size {
		return nil, fmt.Errorf("node %s: read %s: it has %d bytes, and had %d", f.link.member.Node, file.Path, copied.Size, file.Size)
	}
	return buf.data, nil
}

// fixed takes as many bytes as were expected.
type fixed struct{ data []byte }

func (b *fixed) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(b.data)) {
		return 0, fmt.Errorf("it has grown beyond %d bytes", len(b.data))
	}
	return copy(b.data[at:], p), nil
}

// Close removes the pod.
func (f *Files) Close(ctx context.Context) error { return f.link.Close(ctx) }
