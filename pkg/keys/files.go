package keys

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// files are what the flags of a pod's programs name, and what an etcd's own configuration does, in whatever form.
func (s *Sources) files(r *program.Reader, pod *corev1.Pod, members []controlplane.Member) error {
	var lost []string
	for _, c := range program.Containers(&pod.Spec) {
		for _, n := range append(flagged(r, pod, c), configured(pod, c, members)...) {
			switch {
			case path.IsAbs(n.file) && s.file(pod, c, path.Clean(n.file), n.flag):
			case n.flag == controlplane.EncryptionFlag:
				return fmt.Errorf("%s of pod %s/%s, --%s, is in no Secret and on no node", n.file, pod.Namespace, pod.Name, n.flag)
			case path.IsAbs(n.file) && !slices.Contains(lost, n.file):
				lost = append(lost, n.file)
			}
		}
	}
	if len(lost) > 0 {
		s.unknown("what flags of pod %s/%s name is in no Secret and on no node: %s", pod.Namespace, pod.Name, strings.Join(lost, ", "))
	}
	return nil
}

// named is a file that a container's program was told of, by which flag.
type named struct{ flag, file string }

func flagged(r *program.Reader, pod *corev1.Pod, c *corev1.Container) (out []named) {
	var n program.Notes
	for _, inv := range program.ContainerPrograms(c, program.PodHost(pod, program.NewEnvironment(r, pod, c, &n))) {
		for flag, value := range program.Flags(inv.Argv[1:]) {
			if namesFile(flag) {
				out = append(out, named{flag, value})
			}
		}
	}
	return out
}

func configured(pod *corev1.Pod, c *corev1.Container, members []controlplane.Member) (out []named) {
	for _, m := range members {
		if m.Object != pod || m.Container != c.Name {
			continue
		}
		for _, t := range []controlplane.TLSFiles{m.ServerTLS, m.PeerTLS, m.ClientTLS} {
			for _, file := range []string{t.CA, t.Cert, t.Key} {
				out = append(out, named{file: file})
			}
		}
	}
	return out
}

// namesFile leaves out what programs write.
func namesFile(flag string) bool {
	if strings.HasPrefix(flag, "log") || strings.HasPrefix(flag, "pid") {
		return false
	}
	for _, end := range []string{"file", "certificate", "key", "config"} {
		if strings.HasSuffix(flag, end) {
			return true
		}
	}
	return false
}

// file takes up where a file of a container is from: false where no Secret, ConfigMap or node has it.
func (s *Sources) file(pod *corev1.Pod, c *corev1.Container, file, flag string) bool {
	mount := program.MountOf(c, file)
	if mount == nil {
		return false
	}
	v := program.VolumeOf(pod, mount.Name)
	if v == nil {
		return false
	}
	if v.HostPath == nil || pod.Spec.NodeName == "" {
		ref, ok := program.FileSource(pod.Namespace, *v, *mount, file)
		if !ok {
			return false
		}
		o := Object{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
		s.object(o)
		if flag == controlplane.EncryptionFlag {
			s.wanted[place{o.String(), ref.Key}] = pod.Name
		}
		return true
	}
	s.hostFile(pod, v.HostPath, mount, file, flag)
	return true
}

func (s *Sources) hostFile(pod *corev1.Pod, v *corev1.HostPathVolumeSource, mount *corev1.VolumeMount, file, flag string) {
	root := reach.HostPath{Path: path.Join("/", v.Path, mount.SubPath)}
	there := path.Join(root.Path, strings.TrimPrefix(file, path.Clean(mount.MountPath)))
	if v.Type != nil && mount.SubPath == "" {
		root.Type = *v.Type
	}
	if flag == controlplane.EncryptionFlag {
		s.wanted[place{pod.Spec.NodeName, there}] = pod.Name
	}
	wide := path.Dir(root.Path) == "/" // all of /etc is no folder of keys
	if slices.ContainsFunc(s.data, func(d string) bool { return within(d, root.Path) }) || wide && there != root.Path {
		root = reach.HostPath{Path: path.Dir(there)}
	}
	if slices.Contains(s.data, root.Path) {
		root = reach.HostPath{Path: there}
	}
	s.path(pod, root, there)
}
