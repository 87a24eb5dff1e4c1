package controlplane

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// Files reads the files that a flag of the workload's programs names, also where it is repeated: their content by path. unread
// are those whose content neither a Secret nor a ConfigMap provides to this user.
func (w Writer) Files(ctx context.Context, c Client, flag string) (content map[string]string, unread []string) {
	r := program.NewReader(ctx, c.Core)
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
	w.eachFlag(program.NewReader(ctx, c.Core), flag, func(*corev1.Pod, *corev1.Container, string) { given = true })
	return given
}

func (w Writer) eachFlag(r *program.Reader, flag string, found func(pod *corev1.Pod, c *corev1.Container, value string)) {
	pod := w.Pod()
	for _, c := range program.Containers(&pod.Spec) {
		var n program.Notes
		for _, inv := range program.ContainerPrograms(c, program.PodHost(pod, program.NewEnvironment(r, pod, c, &n))) {
			for name, value := range program.Flags(inv.Argv[1:]) {
				if name == flag {
					found(pod, c, value)
				}
			}
		}
	}
}

func fileContent(r *program.Reader, pod *corev1.Pod, c *corev1.Container, file string) (string, bool) {
	mount := program.MountOf(c, file)
	if mount == nil {
		return "", false
	}
	v := program.VolumeOf(pod, mount.Name)
	if v == nil {
		return "", false
	}
	ref, ok := program.FileSource(pod.Namespace, *v, *mount, file)
	if !ok {
		return "", false
	}
	data, err := r.Get(ref.Kind, ref.Namespace, ref.Name)
	text, ok := data[ref.Key]
	return text, ok && err == nil
}
