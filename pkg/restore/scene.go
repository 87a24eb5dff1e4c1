package restore

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// Scene is what a restore finds before it begins.
type Scene struct {
	// Pods is what makes the members' pods.
	Pods    PodSource
	Survey  *survey.Survey
	Writers []controlplane.Writer
	// Static are API servers that kubelets run from files: they are no Writers, since nothing scales them.
	Static []controlplane.APIServer
	// Dry: utility pods that only read have not been made either.
	Dry bool
	// Encryption are the EncryptionConfigurations of those, by NodeFile, as far as they were read.
	Encryption map[string]string
	// unsure may be writers, and nobody has said so yet.
	unsure []controlplane.Writer
	// Controllers hold caches, but write through API servers only.
	Controllers []controlplane.Writer
	Access      *userapi.Access // to the restored cluster's own API; nil where there is none
	Exclusive   string          // a claim that is one pod's at a time, if there is one
	// Skipped are left out, because the user says so.
	Skipped []controlplane.Member
	Notes   []string
}

// NodeFile names the EncryptionConfiguration of a static pod, for people.
func NodeFile(a controlplane.APIServer) string { return a.Node + ":" + a.Encryption }

// PodSource is what makes the members' pods.
type PodSource struct {
	name     string // for people, as "StatefulSet kube-etcd"
	template corev1.PodTemplateSpec
	changed  bool // since the pods were made that run
}

// quota is the smallest that is known of a member that is restored, in bytes; 0 where none is. What the pods have says
// nothing of pods that will be made of another template.
func (sc *Scene) quota(hot bool) (least int64) {
	if !hot && sc.Pods.changed {
		return 0
	}
	for _, m := range sc.Survey.Members {
		if m.Source != nil && !sc.Skips(m.Source.Name) && m.Quota > 0 && (least == 0 || m.Quota < least) {
			least = m.Quota
		}
	}
	return least
}

// highest is the highest revision that a living member knows of, and the
// cluster's id. ok is false when nobody answers.
func (sc *Scene) highest() (revision int64, cluster etcd.ID, ok bool) {
	for _, m := range sc.Survey.Members {
		if m.Status != nil {
			revision, ok = max(revision, m.Status.Revision), true
			cluster = m.Status.ClusterID
		}
	}
	return revision, cluster, ok
}

// PodsOf is a StatefulSet as the source of its pods.
func PodsOf(s *appsv1.StatefulSet) PodSource {
	return PodSource{name: "StatefulSet " + s.Name, template: s.Spec.Template, changed: s.Status.UpdateRevision != s.Status.CurrentRevision}
}

// StaticPods are made of files: what their kubelets run is what there is.
func StaticPods(one *corev1.Pod) PodSource {
	return PodSource{name: "the manifests of static pod " + one.Name, template: corev1.PodTemplateSpec{ObjectMeta: one.ObjectMeta, Spec: one.Spec}}
}

// Skips tells whether a member is left out, because the user says so.
func (sc *Scene) Skips(name string) bool {
	return slices.ContainsFunc(sc.Skipped, func(m controlplane.Member) bool { return m.Name == name })
}
