package static

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func pod(name, uid, node, claim string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, UID: types.UID(uid)}, Spec: corev1.PodSpec{NodeName: node}}
	if claim != "" {
		p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
	}
	return p
}

// TestDiffer: a pod is the same by its UID, a static one by that of its mirror; what does not run yet, or no more, is no difference.
func TestDiffer(t *testing.T) {
	t.Parallel()
	mirror, static, done, starting := pod("etcd-n", "6", "n", ""), pod("etcd-n", "hash", "n", ""), pod("job", "8", "n", ""), pod("new", "9", "n", "")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
	mirror.Status.Phase, done.Status.Phase, starting.Status.Phase = corev1.PodRunning, corev1.PodSucceeded, corev1.PodPending
	for name, c := range map[string]struct{ runs, api, want []string }{
		"the same":             {[]string{"1", "2"}, []string{"2", "1"}, nil},
		"younger":              {[]string{"1", "2", "3"}, []string{"1"}, []string{"node n runs pods that the cluster does not know: a/p2, a/p3"}},
		"back":                 {[]string{"1"}, []string{"1", "2"}, []string{"node n does not run pods that the cluster takes for running there: a/p2"}},
		"another of that name": {[]string{"1"}, []string{"2"}, []string{"node n runs pods that the cluster does not know: a/p1", "node n does not run pods that the cluster takes for running there: a/p2"}},
		"nothing at all":       {nil, nil, nil},
	} {
		made := func(uids []string) (all []corev1.Pod) {
			for _, u := range uids {
				p := pod("p"+u, u, "n", "")
				p.Status.Phase = corev1.PodRunning
				all = append(all, p)
			}
			return all
		}
		if got := differ("n", append(made(c.runs), static), append(made(c.api), mirror, done, starting)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := differ("n", []corev1.Pod{static}, nil); len(got) != 1 {
		t.Errorf("a static pod without its mirror: %q", got)
	}
}

// TestContradict: a volume may be where no pod uses it any more, if it is where one does.
func TestContradict(t *testing.T) {
	t.Parallel()
	volume := "pv"
	attachment := func(node string) storagev1.VolumeAttachment {
		return storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "on-" + node}, Spec: storagev1.VolumeAttachmentSpec{NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}}}
	}
	volumes := []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: volume}, Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: "a", Name: "data"}}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}}}
	ephemeral := pod("web", "1", "n2", "")
	ephemeral.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}}
	released := []corev1.PersistentVolume{*volumes[0].DeepCopy()}
	released[0].Status.Phase = corev1.VolumeReleased
	ended := pod("db-0", "1", "n2", "data")
	ended.Status.Phase = corev1.PodFailed
	for name, c := range map[string]struct {
		attached []storagev1.VolumeAttachment
		pods     []corev1.Pod
		want     []string
	}{
		"where its pod is":      {[]storagev1.VolumeAttachment{attachment("n1")}, []corev1.Pod{pod("db-0", "1", "n1", "data")}, nil},
		"on another node":       {[]storagev1.VolumeAttachment{attachment("n1")}, []corev1.Pod{pod("db-0", "1", "n2", "data")}, []string{"VolumeAttachment on-n1 has volume pv on node n1, and pod a/db-0 that uses it is on node n2"}},
		"on both":               {[]storagev1.VolumeAttachment{attachment("n1"), attachment("n2")}, []corev1.Pod{pod("db-0", "1", "n2", "data")}, nil},
		"nobody uses it":        {[]storagev1.VolumeAttachment{attachment("n1")}, nil, nil},
		"who used it has ended": {[]storagev1.VolumeAttachment{attachment("n1")}, []corev1.Pod{ended}, nil},
	} {
		if got := contradict(c.attached, volumes, c.pods); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := contradict(c.attached, released, c.pods); got != nil {
			t.Errorf("%s, released: %q", name, got)
		}
	}
	volumes[0].Spec.ClaimRef.Name = "web-data"
	if got := contradict([]storagev1.VolumeAttachment{attachment("n1")}, volumes, []corev1.Pod{ephemeral}); len(got) != 1 {
		t.Errorf("ephemeral: %q", got)
	}
}
