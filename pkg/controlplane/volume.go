package controlplane

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// volumeRef describes a mount of the container, in a form that another pod
// can use: a claim made for the pod is named, a sub-path is written out.
func volumeRef(pod *corev1.Pod, m corev1.VolumeMount, lookup func(string) (string, bool)) VolumeRef {
	if m.SubPathExpr != "" {
		m.SubPath, m.SubPathExpr = program.ExpandReferences(m.SubPathExpr, lookup), ""
	}
	v := corev1.Volume{Name: m.Name}
	if found := program.VolumeOf(pod, m.Name); found != nil {
		v = *found
	}
	if v.Ephemeral != nil {
		v = corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pod.Name + "-" + v.Name},
		}}
	}
	ref := VolumeRef{Kind: "other", Name: v.Name, MountPath: m.MountPath, SubPath: m.SubPath, ReadOnly: m.ReadOnly, Volume: v, Mount: m}
	switch s := v.VolumeSource; {
	case s.HostPath != nil:
		ref.Kind, ref.Source = "hostPath", []string{s.HostPath.Path}
	case s.PersistentVolumeClaim != nil:
		ref.Kind, ref.Source = "pvc", []string{s.PersistentVolumeClaim.ClaimName}
	case s.Secret != nil:
		ref.Kind, ref.Source = "secret", []string{s.Secret.SecretName}
	case s.ConfigMap != nil:
		ref.Kind, ref.Source = "configMap", []string{s.ConfigMap.Name}
	case s.Projected != nil:
		ref.Kind = "projected"
		for _, p := range s.Projected.Sources {
			switch {
			case p.Secret != nil:
				ref.Source = append(ref.Source, "secret/"+p.Secret.Name)
			case p.ConfigMap != nil:
				ref.Source = append(ref.Source, "configMap/"+p.ConfigMap.Name)
			}
		}
	case s.EmptyDir != nil:
		ref.Kind = "emptyDir"
	case s.CSI != nil:
		ref.Kind, ref.Source = "csi", []string{s.CSI.Driver}
	case s.NFS != nil:
		ref.Kind, ref.Source = "nfs", []string{s.NFS.Server + ":" + s.NFS.Path}
	}
	return ref
}

// covers says that a path of the container lies in this mount.
func (v VolumeRef) covers(file string) bool {
	at := path.Clean(v.MountPath)
	file = path.Clean(file)
	return file == at || strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/")
}

// volumeFor is the deepest of the mounts that a path lies in.
func volumeFor(mounts []VolumeRef, file string) *VolumeRef {
	var best *VolumeRef
	if file == "" || !path.IsAbs(file) {
		return nil
	}
	for i := range mounts {
		if mounts[i].covers(file) && (best == nil || len(path.Clean(mounts[i].MountPath)) > len(path.Clean(best.MountPath))) {
			best = &mounts[i]
		}
	}
	return best
}

// files lists the TLS paths of a member, clients' alternatives included.
func (m Member) files() []string {
	var out []string
	for _, t := range append([]TLSFiles{m.ServerTLS, m.PeerTLS, m.ClientTLS}, m.ClientTLSAlternatives...) {
		for _, f := range []string{t.CA, t.Cert, t.Key} {
			if f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

// TLSSecretRefs tells, for every TLS path of the member that a Secret or
// ConfigMap provides, which one and under which key: whoever may read them
// needs no access to the pod. Paths on a host or an image are left out.
func (m Member) TLSSecretRefs() map[string]program.FileRef {
	out := map[string]program.FileRef{}
	for _, file := range m.files() {
		if v := volumeFor(m.Mounts, file); v != nil {
			if ref, ok := program.FileSource(m.Namespace, v.Volume, v.Mount, file); ok {
				out[file] = ref
			}
		}
	}
	return out
}
