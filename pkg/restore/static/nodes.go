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
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const (
	// nodeReadWithin is how long the pod that reads a node's files may take to start: a folder that is not there keeps it from that.
	nodeReadWithin = 30 * time.Second
	// nodeReadFor ends such a pod whose client was killed.
	nodeReadFor = 5 * time.Minute
	// mostManifest bounds a file that is read, in bytes: manifests are kilobytes.
	mostManifest = 1 << 20
)

// node is one of the control plane, and what only its disk knows.
type node struct {
	name string
	// ours are the static pods of the control plane that it runs.
	ours []*corev1.Pod
	// configs are the EncryptionConfigurations of its API servers, as paths of the node, by NodeFile. They are read where the snapshot has something
	// encrypted.
	configs map[string]string

	manifests map[string][]string // the files, by the NAMESPACE/NAME of their pods
	texts     map[string]string   // of configs, by NodeFile
}

// nodeReader reads files of a node, as reach.Files does.
type nodeReader interface {
	List(ctx context.Context, at string) ([]frame.File, error)
	Read(ctx context.Context, file frame.File) ([]byte, error)
	Close(ctx context.Context) error
}

// nodeFiles refuses what the manifests' folders have twice, and reads with which keys the API servers can decrypt. What cannot be read is told.
func (r *way) nodeFiles(ctx context.Context, sc *restore.Scene, h *found) error {
	if sc.Dry = r.Config.DryRun; sc.Dry { // it makes no pods
		return nil
	}
	nodes := r.controlNodes(sc, h)
	r.Deps.Report.Step("reading the manifests on the control plane's nodes")
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = r.readNode(ctx, n) })
	}
	wg.Wait()
	ours := map[string]bool{}
	for _, n := range nodes {
		maps.Copy(ours, n.names())
	}
	for i, n := range nodes {
		if errs[i] == nil {
			errs[i] = n.complete()
		}
		if errs[i] != nil {
			if ctx.Err() != nil {
				return errs[i]
			}
			sc.Notes = append(sc.Notes, fmt.Sprintf("whether node %s has a second manifest of a pod of the control plane is not known: %v", n.name, errs[i]))
		}
		if err := n.twins(r.Plane, ours); err != nil {
			return err
		}
		maps.Copy(sc.Encryption, n.texts)
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
			n = &node{name: p.Spec.NodeName, configs: map[string]string{}, manifests: map[string][]string{}, texts: map[string]string{}}
			all[n.name] = n
		}
		n.ours = append(n.ours, p)
	}
	for _, a := range sc.Static {
		if n := all[a.Node]; n != nil && a.Encryption != "" && r.Encrypted() {
			if file := n.hostFile(a); file != "" {
				n.configs[restore.NodeFile(a)] = file
			}
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
			if c.Name != a.Container || mount == nil || mount.SubPathExpr != "" {
				continue
			}
			if v := program.VolumeOf(p, mount.Name); v != nil && v.HostPath != nil {
				return path.Join("/", v.HostPath.Path, mount.SubPath, strings.TrimPrefix(path.Clean(a.Encryption), path.Clean(mount.MountPath)))
			}
		}
	}
	return ""
}

// readNode reads a node's files through a utility pod, which is gone when it returns. A key file that keeps the pod from starting is left out then.
func (r *way) readNode(ctx context.Context, n *node) error {
	folder := reach.StaticPodPath(ctx, r.Deps.Clients, n.name, r.Plane.Layout)
	if folder == "" {
		return errors.New("its kubelet's configuration, which says where the manifests are, cannot be read")
	}
	err := r.readAt(ctx, n, folder, n.configs)
	if err != nil && len(n.configs) > 0 && ctx.Err() == nil {
		clear(n.manifests)
		err = r.readAt(ctx, n, folder, nil)
	}
	return err
}

func (r *way) readAt(ctx context.Context, n *node, folder string, configs map[string]string) error {
	paths := []reach.HostPath{{Path: folder, Type: corev1.HostPathDirectory}}
	for _, file := range slices.Compact(slices.Sorted(maps.Values(configs))) {
		paths = append(paths, reach.HostPath{Path: file, Type: corev1.HostPathFile})
	}
	f, err := r.open(ctx, n.ours[0], paths)
	if err != nil {
		return err
	}
	defer func() {
		if err := reach.Release(ctx, f); err != nil {
			r.Deps.Report.Warn("%v; remove what is left with: kubectl etcd cleanup -n %s --running", err, r.Plane.Namespace)
		}
	}()
	if err := n.readManifests(ctx, f, folder); err != nil {
		return err
	}
	for name, file := range configs {
		text, err := readOne(ctx, f, file)
		if err != nil {
			return err
		}
		n.texts[name] = string(text)
	}
	return nil
}

// openNode makes the pod that reads.
func (r *way) openNode(ctx context.Context, beside *corev1.Pod, paths []reach.HostPath) (nodeReader, error) {
	o := r.Config.Reach
	o.HostPID, o.Operation, o.StartTimeout, o.Lifetime = false, "restore", nodeReadWithin, nodeReadFor
	return reach.OpenFiles(ctx, r.Deps.Clients, beside, paths, o)
}

// readManifests reads what a kubelet reads of a folder: every file, also through a link, whatever its name ends with, but for hidden ones.
func (n *node) readManifests(ctx context.Context, f nodeReader, folder string) error {
	files, err := f.List(ctx, folder)
	if err != nil {
		return err
	}
	texts := map[string][]byte{}
	for _, file := range files {
		if path.Dir(file.Path) != folder || !file.Mode.IsRegular() || file.Size > mostManifest {
			continue
		}
		if texts[file.Path], err = f.Read(ctx, file); err != nil {
			return err
		}
	}
	for _, file := range files {
		if path.Dir(file.Path) != folder || strings.HasPrefix(path.Base(file.Path), ".") {
			continue
		}
		at := file.Path
		if file.Link != "" {
			if at = path.Join(folder, file.Link); path.IsAbs(file.Link) {
				at = path.Clean(file.Link)
			}
		}
		text, ok := texts[at]
		if !ok && file.Link != "" {
			return fmt.Errorf("%s leads to %s, elsewhere", file.Path, file.Link)
		}
		n.manifest(file.Path, text)
	}
	return nil
}

// readOne reads a file that is mounted by itself.
func readOne(ctx context.Context, f nodeReader, file string) ([]byte, error) {
	list, err := f.List(ctx, file)
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Path == file && l.Mode.IsRegular() && l.Size <= mostManifest {
			return f.Read(ctx, l)
		}
	}
	return nil, fmt.Errorf("%s is no file", file)
}

// manifest notes whose it is; what is no pod a kubelet passes over.
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

// names are those of its pods in their manifests.
func (n *node) names() map[string]bool {
	out := map[string]bool{}
	for _, p := range n.ours {
		out[podName(p.Namespace, strings.TrimSuffix(p.Name, "-"+n.name))] = true
	}
	return out
}

// complete is an error where a pod runs of which no manifest was read: its kubelet reads another folder.
func (n *node) complete() error {
	for _, name := range slices.Sorted(maps.Keys(n.names())) {
		if len(n.manifests[name]) == 0 {
			return fmt.Errorf("pod %s has no manifest in the folder that was read", name)
		}
	}
	return nil
}

// twins refuses two manifests of one pod: the kubelet runs one of them, and the next time that etcd is started it may be the other.
func (n *node) twins(p controlplane.ControlPlane, ours map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if files := n.manifests[name]; len(files) > 1 {
			return site.Refuse("move the copies out of that folder: a kubelet reads every file there, whatever its name; if it runs a copy, that pod is started again, so wait until it is ready",
				"restore %s: node %s has %d manifests of pod %s (%s), and its kubelet runs one of them", p.ID(), n.name, len(files), name, strings.Join(files, ", "))
		}
	}
	return nil
}
