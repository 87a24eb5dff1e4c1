package program

import (
	"context"
	"fmt"
	"path"
	"strings"

	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// Reader fetches the ConfigMaps and Secrets that settings come from, each
// once, and only when a setting is asked for that lives there.
type Reader struct {
	ctx   context.Context
	core  corev1client.CoreV1Interface
	cache map[string]fetched
}

type fetched struct {
	data map[string]string
	err  error
}

// NewReader reads with those rights, until ctx is done.
func NewReader(ctx context.Context, core corev1client.CoreV1Interface) *Reader {
	return &Reader{ctx: ctx, core: core, cache: map[string]fetched{}}
}

// Get returns the content of a ConfigMap or Secret.
func (r *Reader) Get(kind, namespace, name string) (map[string]string, error) {
	id := kind + " " + namespace + "/" + name
	if f, ok := r.cache[id]; ok {
		return f.data, f.err
	}
	f := fetched{data: map[string]string{}}
	switch kind {
	case "ConfigMap":
		var cm *corev1.ConfigMap
		if cm, f.err = r.core.ConfigMaps(namespace).Get(r.ctx, name, metav1.GetOptions{}); f.err == nil {
			for k, v := range cm.Data {
				f.data[k] = v
			}
			for k, v := range cm.BinaryData {
				f.data[k] = string(v)
			}
		}
	case "Secret":
		var s *corev1.Secret
		if s, f.err = r.core.Secrets(namespace).Get(r.ctx, name, metav1.GetOptions{}); f.err == nil {
			for k, v := range s.Data {
				f.data[k] = string(v)
			}
		}
	}
	if f.err != nil {
		f.err = fmt.Errorf("read %s: %w", id, f.err)
	}
	r.cache[id] = f
	return f.data, f.err
}

// Environment answers for one container's variables, as the kubelet would.
type Environment struct {
	reader *Reader
	Pod    *corev1.Pod
	c      *corev1.Container
	Notes  *Notes
	done   map[string]string
	absent map[string]bool
}

// NewEnvironment is that of one container of a pod; what cannot be read is noted in n.
func NewEnvironment(r *Reader, pod *corev1.Pod, c *corev1.Container, n *Notes) *Environment {
	return &Environment{reader: r, Pod: pod, c: c, Notes: n, done: map[string]string{}, absent: map[string]bool{}}
}

// Lookup returns a variable's value. One that is set but cannot be read holds
// the unknown mark.
func (e *Environment) Lookup(name string) (string, bool) {
	if v, ok := e.done[name]; ok {
		return v, true
	}
	if e.absent[name] {
		return "", false
	}
	e.absent[name] = true // a variable that refers to itself ends here
	v, ok := e.resolve(name)
	if ok {
		delete(e.absent, name)
		e.done[name] = v
	}
	return v, ok
}

func (e *Environment) resolve(name string) (string, bool) {
	for i := len(e.c.Env) - 1; i >= 0; i-- {
		v := e.c.Env[i]
		if v.Name != name {
			continue
		}
		if v.ValueFrom == nil {
			return ExpandReferences(v.Value, e.Lookup), true
		}
		return e.source(name, v.ValueFrom)
	}
	for i := len(e.c.EnvFrom) - 1; i >= 0; i-- {
		f := e.c.EnvFrom[i]
		key, ok := strings.CutPrefix(name, f.Prefix)
		if !ok {
			continue
		}
		kind, object, optional := "", "", false
		switch {
		case f.ConfigMapRef != nil:
			kind, object, optional = "ConfigMap", f.ConfigMapRef.Name, isTrue(f.ConfigMapRef.Optional)
		case f.SecretRef != nil && isSetting(name):
			kind, object, optional = "Secret", f.SecretRef.Name, isTrue(f.SecretRef.Optional)
		default:
			continue
		}
		data, err := e.reader.Get(kind, e.Pod.Namespace, object)
		if err != nil {
			if !optional || !apierrors.IsNotFound(err) {
				e.Notes.Add("the environment is incomplete: %v", err)
			}
			continue
		}
		if v, ok := data[key]; ok {
			return v, true
		}
	}
	return "", false
}

func (e *Environment) source(name string, from *corev1.EnvVarSource) (string, bool) {
	kind, object, key, optional := "", "", "", false
	switch {
	case from.FieldRef != nil:
		v, ok := podField(e.Pod, from.FieldRef.FieldPath)
		if !ok {
			e.Notes.Add("%s is not known before the pod runs ($%s)", from.FieldRef.FieldPath, name)
			return shell.Unknown, true
		}
		return v, true
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		kind, object, key, optional = "ConfigMap", r.Name, r.Key, isTrue(r.Optional)
	case from.SecretKeyRef != nil:
		if !isSetting(name) {
			return shell.Unknown, true
		}
		r := from.SecretKeyRef
		kind, object, key, optional = "Secret", r.Name, r.Key, isTrue(r.Optional)
	default:
		return shell.Unknown, true
	}
	data, err := e.reader.Get(kind, e.Pod.Namespace, object)
	if err != nil {
		if optional && apierrors.IsNotFound(err) {
			return "", false
		}
		e.Notes.Add("$%s is not known: %v", name, err)
		return shell.Unknown, true
	}
	v, ok := data[key]
	return v, ok
}

// file reads a file that a ConfigMap is mounted for: a script. Secrets are left alone.
func (e *Environment) file(name string) (string, bool) {
	mount := MountOf(e.c, name)
	if mount == nil {
		return "", false
	}
	v := VolumeOf(e.Pod, mount.Name)
	if v == nil {
		return "", false
	}
	ref, ok := FileSource(e.Pod.Namespace, *v, *mount, name)
	if !ok || ref.Kind != "ConfigMap" {
		return "", false
	}
	data, err := e.reader.Get(ref.Kind, ref.Namespace, ref.Name)
	if err != nil {
		e.Notes.Add("%s cannot be read: %v", name, err)
		return "", false
	}
	text, ok := data[ref.Key]
	return text, ok
}

// isSetting: Secrets are opened for etcd's own settings only, which are not
// secret. Passwords beside them are neither read nor shown.
func isSetting(name string) bool {
	rest, ok := strings.CutPrefix(name, "ETCD_")
	return ok && etcdFlags[flagName(rest)]
}

func isTrue(b *bool) bool { return b != nil && *b }

// podField is the value of a downward API field; false when it has none yet.
func podField(pod *corev1.Pod, field string) (string, bool) {
	if rest, ok := strings.CutPrefix(field, "metadata.labels['"); ok {
		return pod.Labels[strings.TrimSuffix(rest, "']")], true
	}
	if rest, ok := strings.CutPrefix(field, "metadata.annotations['"); ok {
		return pod.Annotations[strings.TrimSuffix(rest, "']")], true
	}
	var v string
	switch field {
	case "metadata.name":
		v = pod.Name
	case "metadata.namespace":
		v = pod.Namespace
	case "metadata.uid":
		v = string(pod.UID)
	case "spec.nodeName":
		v = pod.Spec.NodeName
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, true
	case "status.hostIP":
		v = pod.Status.HostIP
	case "status.podIP":
		v = pod.Status.PodIP
	case "status.podIPs":
		for _, ip := range pod.Status.PodIPs {
			v += "," + ip.IP
		}
		v = strings.TrimPrefix(v, ",")
	case "status.hostIPs":
		for _, ip := range pod.Status.HostIPs {
			v += "," + ip.IP
		}
		v = strings.TrimPrefix(v, ",")
	}
	return v, v != ""
}

// ExpandReferences puts variables into $(NAME) as Kubernetes does in commands,
// arguments and values: $$ is a plain dollar sign, and a name that is not set
// stays as it is written.
func ExpandReferences(s string, lookup func(string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end > 2 {
				if v, ok := lookup(s[i+2 : i+end]); ok {
					out.WriteString(v)
					i += end
					continue
				}
			}
			out.WriteByte('$')
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// PodHost is what a script in the pod would find around it.
func PodHost(pod *corev1.Pod, e *Environment) shell.Host {
	h := shell.Host{Env: e.Lookup, Hostname: pod.Spec.Hostname, IP: pod.Status.PodIP, File: e.file}
	switch {
	case pod.Spec.HostNetwork:
		h.Hostname = pod.Spec.NodeName // the node's own name, nearly always
	case h.Hostname == "":
		h.Hostname = pod.Name
	}
	if pod.Spec.Subdomain != "" && !pod.Spec.HostNetwork {
		h.FQDN = h.Hostname + "." + pod.Spec.Subdomain + "." + pod.Namespace + ".svc.cluster.local"
	}
	return h
}

// MountOf finds the mount that a path of the container lies in: the deepest.
func MountOf(c *corev1.Container, file string) *corev1.VolumeMount {
	if file == "" || !path.IsAbs(file) {
		return nil
	}
	file = path.Clean(file)
	var best *corev1.VolumeMount
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		at := path.Clean(m.MountPath)
		if file != at && !strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/") {
			continue
		}
		if best == nil || len(at) > len(path.Clean(best.MountPath)) {
			best = m
		}
	}
	return best
}

// VolumeOf is a pod's volume of that name; nil where there is none.
func VolumeOf(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

// Notes collects remarks, each once.
type Notes struct{ List []string }

// Add adds a remark, unless it is there already.
func (n *Notes) Add(format string, args ...any) {
	s := strings.ReplaceAll(fmt.Sprintf(format, args...), shell.Unknown, "…")
	for _, old := range n.List {
		if old == s {
			return
		}
	}
	n.List = append(n.List, s)
}
