package controlplane

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// TLSRefs are the objects that hold a client's TLS files; the zero FileRef where there is none.
type TLSRefs struct{ CA, Cert, Key program.FileRef }

// knowServersTLS tells each member what its API servers show it, and trust: where nothing that is mounted into the member's own
// pod serves, that does. A Secret of another namespace is not looked at: it may be another one's.
func (c *ControlPlane) knowServersTLS() {
	var all []TLSRefs
	for _, a := range c.APIServers {
		if refs, ok := a.tlsRefs(); ok && a.Namespace == c.Namespace && !slices.Contains(all, refs) {
			all = append(all, refs)
		}
	}
	for i := range c.Members {
		c.Members[i].APIServerTLS = all
	}
}

// tlsRefs are the objects behind the files by which an API server reaches its etcd; false where it names none, or one of them
// is not in a Secret or a ConfigMap.
func (a APIServer) tlsRefs() (refs TLSRefs, ok bool) {
	if a.object == nil || a.TLS.Empty() {
		return refs, false
	}
	containers := program.Containers(&a.object.Spec)
	i := slices.IndexFunc(containers, func(c *corev1.Container) bool { return c.Name == a.Container })
	if i < 0 {
		return refs, false
	}
	for _, f := range []struct {
		path string
		into *program.FileRef
	}{{a.TLS.CA, &refs.CA}, {a.TLS.Cert, &refs.Cert}, {a.TLS.Key, &refs.Key}} {
		if f.path == "" {
			continue
		}
		mount := program.MountOf(containers[i], f.path)
		if mount == nil {
			return refs, false
		}
		volume := program.VolumeOf(a.object, mount.Name)
		if volume == nil {
			return refs, false
		}
		if *f.into, ok = program.FileSource(a.Namespace, *volume, *mount, f.path); !ok {
			return refs, false
		}
	}
	return refs, true
}
