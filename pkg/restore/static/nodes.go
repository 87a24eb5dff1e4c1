package static

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const (
	// nodeReadWithin is how long the pod that reads a node's files may take to start: a folder that is not there keeps it from that.
	nodeReadWithin = 30 * time.Second
	// mostManifest bounds a file that is read, in bytes: manifests are kilobytes.
	mostManifest = 1 << 20
)

// node is one of the control plane, and what only its disk knows.
type node struct {
	name string
	// ours are the static pods of the control plane that it runs.
	ours []*corev1.Pod
	// config is where the EncryptionConfiguration of its API server is, as a path of the node. It is read where the snapshot has something encrypted.
	config string

	manifests map[string][]string // the files, by the NAMESPACE/NAME of their pods
	text      string              // of config
}

// nodeFiles refuses what the manifests' folders have twice, and reads with which keys the API servers can decrypt. What cannot be read is told.
func (r *way) nodeFiles(ctx context.Context, sc *restore.Scene, h *found) error {
	if r.Config.DryRun {
		sc.Notes = append(sc.Notes, "a dry run makes no utility pod: the manifests on the nodes have not been read")
		return nil
	}
	nodes := r.controlNodes(sc, h)
	r.Deps.Report.Step("reading the manifests of %d nodes", len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = r.readNode(ctx, n) })
	}
	wg.Wait()
	for i, n := range nodes {
		if errs[i] != nil {
			if ctx.Err() != nil {
				return errs[i]
			}
			sc.Notes = append(sc.Notes, fmt.Sprintf("whether node %s has a second manifest of a pod of the control plane is not known: %v", n.name, errs[i]))
		}
		if err := n.twins(r.Plane); err != nil {
			return err
		}
		for _, a := range sc.Static {
			if a.Node == n.name && n.text != "" {
				sc.Encryption[restore.NodeFile(a)] = n.text
			}
		}
	}
	return nil
}

// controlNodes are the nodes of the members, the API servers and the controllers.
func (r *way) controlNodes(sc *restore.Scene, h *found) []*node {
	all := map[string]*node{}
	pods := slices.Concat(h.servers, h.controllers)
	for _, m := range r.Plane.Members {
		pods = append(pods, m.Object)
	}
	for _, p := range pods {
		n := all[p.Spec.NodeName]
		if n == nil {
			n = &node{name: p.Spec.NodeName, manifests: map[string][]string{}}
			all[n.name] = n
		}
		n.ours = append(n.ours, p)
	}
	for _, a := range sc.Static {
		if n := all[a.Node]; n != nil && a.Encryption != "" && r.Encrypted() {
			n.config = n.hostFile(a)
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *node) int { return strings.Compare(a.name, b.name) })
}

// hostFile is where the node has the file that an API server's flag names; "" where it is none of the node's.
func (n *node) hostFile(a controlplane.APIServer) string {
	for _, p := range n.ours {
		if p.Name != a.Pod {
			continue
		}
		for _, c := range program.Containers(&p.Spec) {
			mount := program.MountOf(c, a.Encryption)
			if c.Name != a.Container || mount == nil {
				continue
			}
			if v := program.VolumeOf(p, mount.Name); v != nil && v.HostPath != nil {
				return path.Join("/", v.HostPath.Path, mount.SubPath, strings.TrimPrefix(path.Clean(a.Encryption), path.Clean(mount.MountPath)))
			}
		}
	}
	return ""
}

// readNode reads a node's files through a utility pod, which is gone when it returns.
func (r *way) readNode(ctx context.Context, n *node) (err error) {
	folder := reach.StaticPodPath(ctx, r.Deps.Clients, n.name, r.Plane.Layout)
	if folder == "" {
		return errors.New("its kubelet's configuration, which says where the manifests are, cannot be read")
	}
	paths := []reach.HostPath{{Path: folder, Type: corev1.HostPathDirectory}}
	if n.config != "" {
		paths = append(paths, reach.HostPath{Path: n.config, Type: corev1.HostPathFile})
	}
	o := r.Config.Reach
	o.HostPID, o.StartTimeout = false, nodeReadWithin
	f, err := reach.OpenFiles(ctx, r.Deps.Clients, n.ours[0], paths, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reach.Release(ctx, f)) }()
	for _, p := range paths {
		files, err := f.List(ctx, p.Path)
		if err != nil {
			return err
		}
		for _, file := range files {
			read := file.Path == n.config || path.Dir(file.Path) == folder && !strings.HasPrefix(path.Base(file.Path), ".")
			if !read || !file.Mode.IsRegular() || file.Size > mostManifest {
				continue
			}
			text, err := f.Read(ctx, file)
			switch {
			case err != nil:
				return err
			case file.Path == n.config:
				n.text = string(text)
			default:
				n.manifest(file.Path, text)
			}
		}
	}
	return nil
}

// manifest notes whose it is. A kubelet reads every file, whatever its name ends with; what is no pod it passes over.
func (n *node) manifest(file string, text []byte) {
	var pod metav1.PartialObjectMetadata
	if yaml.Unmarshal(text, &pod) != nil || pod.Kind != "Pod" {
		return
	}
	name := podName(pod.Namespace, pod.Name)
	n.manifests[name] = append(n.manifests[name], file)
}

func podName(namespace, name string) string {
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return namespace + "/" + name
}

// twins refuses two manifests of one pod: the kubelet runs one of them, and the next time that etcd is started it may be the other.
func (n *node) twins(p controlplane.ControlPlane) error {
	for _, pod := range n.ours {
		name := podName(pod.Namespace, strings.TrimSuffix(pod.Name, "-"+n.name))
		if files := n.manifests[name]; len(files) > 1 {
			return site.Refuse("move those that are not meant to another folder: whatever a file's name ends with, the kubelet reads it",
				"restore %s: node %s has %d manifests of pod %s (%s), and its kubelet runs one of them", p.ID(), n.name, len(files), name, strings.Join(files, ", "))
		}
	}
	return nil
}
