package controlplane

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// Files reads the files that a flag of the workload's programs names, also where it is repeated: their content by path. unread
// are those whose content neither a Secret nor a ConfigMap provides to this user.
func (w Writer) Files(ctx context.Context, c Client, flag string) (content map[string]string, unread []string) {
	r := newReader(ctx, c)
	content = map[string]string{}
	w.eachFlag(r, flag, func(pod *corev1.Pod, c *corev1.Container, file string) {
		if text, ok := fileContent(r, pod, c, file); ok {
			content[file] = text
		} else {
			unread = append(unread, strings.ReplaceAll(file, shell.Unknown, "…"))
		}
	})
	return content, unread
}

// Flagged says that one of the workload's programs was given a flag.
func (w Writer) Flagged(ctx context.Context, c Client, flag string) (given bool) {
	w.eachFlag(newReader(ctx, c), flag, func(*corev1.Pod, *corev1.Container, string) { given = true })
	return given
}

func (w Writer) eachFlag(r *reader, flag string, found func(pod *corev1.Pod, c *corev1.Container, value string)) {
	pod := w.pod()
	for _, c := range Containers(&pod.Spec) {
		var n notes
		for _, inv := range containerPrograms(c, podHost(pod, newEnvironment(r, pod, c, &n))) {
			for _, value := range flagValues(inv.Argv[1:], flag) {
				found(pod, c, value)
			}
		}
	}
}

func fileContent(r *reader, pod *corev1.Pod, c *corev1.Container, file string) (string, bool) {
	mount := mountOf(c, file)
	if mount == nil {
		return "", false
	}
	v := volumeOf(pod, mount.Name)
	if v == nil {
		return "", false
	}
	ref, ok := fileSource(pod.Namespace, *v, *mount, file)
	if !ok {
		return "", false
	}
	data, err := r.get(ref.Kind, ref.Namespace, ref.Name)
	text, ok := data[ref.Key]
	return text, ok && err == nil
}

// flagValues are all values of a flag, which parseFlags has the last of.
func flagValues(args []string, flag string) (out []string) {
	for i, a := range args {
		name, value, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case !strings.HasPrefix(a, "-") || name != flag:
		case given:
			out = append(out, value)
		case i+1 < len(args):
			out = append(out, args[i+1])
		}
	}
	return out
}
