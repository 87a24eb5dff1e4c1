package static

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumes tells which VolumeAttachments contradict the pods. Who may not list them, or volumes, hears nothing of them.
func (r *way) volumes(ctx context.Context, pods []corev1.Pod) []string {
	core := r.Deps.Clients.Core
	var attached storagev1.VolumeAttachmentList
	raw, err := core.RESTClient().Get().AbsPath("/apis/storage.k8s.io/v1/volumeattachments").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &attached)
	}
	if err != nil || len(attached.Items) == 0 {
		return nil
	}
	volumes, err := core.PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return contradict(attached.Items, volumes.Items, pods)
}

// contradict names the volumes that are attached to a node where no pod uses them, while one does on another to which they are not attached.
func contradict(attached []storagev1.VolumeAttachment, volumes []corev1.PersistentVolume, pods []corev1.Pod) (said []string) {
	claims := map[string]string{} // NAMESPACE/NAME of a volume's claim
	for _, v := range volumes {
		if c := v.Spec.ClaimRef; c != nil && v.Status.Phase == corev1.VolumeBound {
			claims[v.Name] = c.Namespace + "/" + c.Name
		}
	}
	users := map[string]map[string]string{} // by claim and node: a pod
	for i := range pods {
		p := &pods[i]
		if p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, v := range p.Spec.Volumes {
			claim := p.Namespace + "/"
			switch {
			case v.PersistentVolumeClaim != nil:
				claim += v.PersistentVolumeClaim.ClaimName
			case v.Ephemeral != nil:
				claim += p.Name + "-" + v.Name
			default:
				continue
			}
			if users[claim] == nil {
				users[claim] = map[string]string{}
			}
			users[claim][p.Spec.NodeName] = p.Namespace + "/" + p.Name
		}
	}
	has := map[string]bool{} // VOLUME NODE
	for _, a := range attached {
		if v := a.Spec.Source.PersistentVolumeName; v != nil {
			has[*v+" "+a.Spec.NodeName] = true
		}
	}
	for _, a := range attached {
		if a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		volume := *a.Spec.Source.PersistentVolumeName
		by := users[claims[volume]]
		for node, pod := range by {
			if by[a.Spec.NodeName] == "" && !has[volume+" "+node] {
				said = append(said, fmt.Sprintf("VolumeAttachment %s has volume %s on node %s, and pod %s that uses it is on node %s", a.Name, volume, a.Spec.NodeName, pod, node))
			}
		}
	}
	slices.Sort(said)
	return said
}
