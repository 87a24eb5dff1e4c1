package reach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
)

// scratchDir is an empty folder of the utility pod.
const scratchDir = "/kubectl-etcd/scratch"

// Rehearse restores a snapshot in a utility pod with the image of member m:
// its own etcdutl builds the data directory and its own etcd starts on it. The
// pod mounts nothing of the member's; it has a scratch folder of room bytes.
func Rehearse(ctx context.Context, c *Clients, m controlplane.Member, o Options, src io.ReaderAt, size, room int64, raw bool, progress func(step string)) (_ *rehearse.Result, err error) {
	o.Operation, o.scratch = "rehearse", room
	// The member's files are none of its business.
	m.TLSVolumes, m.HostNetwork = nil, false
	link, err := openAgent(ctx, c, m, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := Release(ctx, link); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	l := link.(*agentLink)
	path := scratchDir + "/snapshot.db"
	progress("upload")
	if _, err := l.talk().CopyTo(ctx, src, size, path, podexec.CopyOptions{}); err != nil {
		return nil, err
	}
	reply, err := l.talk().Call(ctx, podexec.Request{Name: agentapi.RequestRehearse, Body: agentapi.RehearseRequest{Path: path, Raw: raw}}, podexec.CallOptions{
		Progress: func(b json.RawMessage) {
			var step string
			if json.Unmarshal(b, &step) == nil {
				progress(step)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	var r rehearse.Result
	if err := json.Unmarshal(reply.Extra, &r); err != nil {
		return nil, fmt.Errorf("read the agent's reply: %w", err)
	}
	return &r, nil
}

// withScratch gives the pod its folder, and etcd the memory that it needs: it
// maps the whole database.
func withScratch(pod *corev1.Pod, room int64) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "kubectl-etcd-scratch", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(room, resource.BinarySI)}}})
	ctr := &pod.Spec.Containers[0]
	ctr.VolumeMounts = append(ctr.VolumeMounts, corev1.VolumeMount{Name: "kubectl-etcd-scratch", MountPath: scratchDir})
	ctr.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: *resource.NewQuantity(1<<30+2*room, resource.BinarySI)}
}
