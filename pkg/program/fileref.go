package program

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// FileRef is where the content of a mounted file comes from.
type FileRef struct {
	Kind      string `json:"kind"` // Secret or ConfigMap
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Key       string `json:"key"`
}

// FileSource finds the object behind one file of a mounted volume.
func FileSource(namespace string, v corev1.Volume, m corev1.VolumeMount, file string) (FileRef, bool) {
	inside := strings.TrimPrefix(strings.TrimPrefix(path.Clean(file), path.Clean(m.MountPath)), "/")
	inside = path.Join(m.SubPath, inside)
	ref := func(kind, name string, items []corev1.KeyToPath) (FileRef, bool) {
		if len(items) == 0 {
			return FileRef{kind, namespace, name, inside}, inside != "" && !strings.Contains(inside, "/")
		}
		for _, it := range items {
			if path.Clean(it.Path) == inside {
				return FileRef{kind, namespace, name, it.Key}, true
			}
		}
		return FileRef{}, false
	}
	switch {
	case v.Secret != nil:
		return ref("Secret", v.Secret.SecretName, v.Secret.Items)
	case v.ConfigMap != nil:
		return ref("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Items)
	case v.Projected != nil:
		return projectedSource(v.Projected.Sources, ref)
	}
	return FileRef{}, false
}

// projectedSource prefers a source that names the path; among those that
// project whole objects, only a lone one is sure to hold it.
func projectedSource(sources []corev1.VolumeProjection, ref func(string, string, []corev1.KeyToPath) (FileRef, bool)) (FileRef, bool) {
	var whole []FileRef
	for _, p := range sources {
		var kind, name string
		var items []corev1.KeyToPath
		switch {
		case p.Secret != nil:
			kind, name, items = "Secret", p.Secret.Name, p.Secret.Items
		case p.ConfigMap != nil:
			kind, name, items = "ConfigMap", p.ConfigMap.Name, p.ConfigMap.Items
		default:
			continue
		}
		r, ok := ref(kind, name, items)
		if ok && len(items) > 0 {
			return r, true
		}
		if ok {
			whole = append(whole, r)
		}
	}
	if len(whole) == 1 {
		return whole[0], true
	}
	return FileRef{}, false
}

// Source is a ConfigMap or a Secret of which a pod's volume is made.
type Source struct {
	Name     string
	Optional bool // it need not be there
}

// Sources are the ConfigMaps or the Secrets that a pod's volumes are made of.
func Sources(pod *corev1.Pod, kind string) (out []Source) {
	add := func(of, name string, optional *bool) {
		if of == kind {
			out = append(out, Source{name, isTrue(optional)})
		}
	}
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			add("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
		case v.Secret != nil:
			add("Secret", v.Secret.SecretName, v.Secret.Optional)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				switch {
				case s.ConfigMap != nil:
					add("ConfigMap", s.ConfigMap.Name, s.ConfigMap.Optional)
				case s.Secret != nil:
					add("Secret", s.Secret.Name, s.Secret.Optional)
				}
			}
		}
	}
	return out
}
