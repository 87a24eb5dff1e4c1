package operation

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

const (
	// journalLabel marks journals. They do not bear the label of what cleanup removes: a journal is the only way back.
	journalLabel = "kubectl-etcd.io/journal"
	journalKind  = "restore"
	// JournalKey is where in its ConfigMap the journal is.
	JournalKey = "operation.json"

	targetAnnotation  = "kubectl-etcd.io/target"
	phaseAnnotation   = "kubectl-etcd.io/phase"
	createdAnnotation = "kubectl-etcd.io/created-at"
)

// Cluster is a Place: a ConfigMap for each journal, a Lease for each lock, beside the control plane.
type Cluster struct {
	Core  corev1client.CoreV1Interface
	Coord coordv1client.CoordinationV1Interface
}

// JournalName is the name of an operation's ConfigMap.
func JournalName(id string) string { return "kubectl-etcd-restore-" + id }

// Journals implements Place.
func (c Cluster) Journals(ctx context.Context, namespace string) ([]Entry, error) {
	list, err := c.Core.ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: journalLabel + "=" + journalKind})
	if err != nil {
		return nil, said(err)
	}
	var out []Entry
	for i := range list.Items {
		out = append(out, entry(&list.Items[i]))
	}
	return out, nil
}

// Journal implements Place.
func (c Cluster) Journal(ctx context.Context, namespace, id string) (Entry, error) {
	return entryOf(c.Core.ConfigMaps(namespace).Get(ctx, JournalName(id), metav1.GetOptions{}))
}

// CreateJournal implements Place.
func (c Cluster) CreateJournal(ctx context.Context, e Entry) (Entry, error) {
	e.Version = ""
	return entryOf(c.Core.ConfigMaps(e.Namespace).Create(ctx, configMap(e), metav1.CreateOptions{}))
}

// UpdateJournal implements Place.
func (c Cluster) UpdateJournal(ctx context.Context, e Entry) (Entry, error) {
	return entryOf(c.Core.ConfigMaps(e.Namespace).Update(ctx, configMap(e), metav1.UpdateOptions{}))
}

// DeleteJournal implements Place.
func (c Cluster) DeleteJournal(ctx context.Context, namespace, id string) error {
	err := c.Core.ConfigMaps(namespace).Delete(ctx, JournalName(id), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return said(err)
}

// Where implements Place.
func (c Cluster) Where(namespace, id string) (name, look, remove string) {
	what := fmt.Sprintf("kubectl -n %s %%s configmap %s", namespace, JournalName(id))
	return namespace + "/" + JournalName(id), fmt.Sprintf(what, "get") + " -o yaml", fmt.Sprintf(what, "delete")
}

// revisionOf is etcd's, which an API server gives as an object's version.
func revisionOf(version string) int64 {
	n, _ := strconv.ParseInt(version, 10, 64)
	return n
}

func configMap(e Entry) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: JournalName(e.ID), Namespace: e.Namespace, ResourceVersion: e.Version, Labels: map[string]string{journalLabel: journalKind},
			Annotations: map[string]string{
				"kubernetes.io/description": "Journal of a restore by kubectl etcd; remove with: kubectl etcd restore cleanup",
				targetAnnotation:            e.Target,
				phaseAnnotation:             string(e.Phase),
				createdAnnotation:           e.Created.Format(time.RFC3339),
			}},
		Data: map[string]string{JournalKey: e.Text},
	}
}

func entryOf(cm *corev1.ConfigMap, err error) (Entry, error) {
	if err != nil {
		return Entry{}, said(err)
	}
	return entry(cm), nil
}

func entry(cm *corev1.ConfigMap) Entry {
	created, _ := time.Parse(time.RFC3339, cm.Annotations[createdAnnotation])
	return Entry{Revision: revisionOf(cm.ResourceVersion), Namespace: cm.Namespace, ID: strings.TrimPrefix(cm.Name, JournalName("")), Version: cm.ResourceVersion, Text: cm.Data[JournalKey],
		Target: cm.Annotations[targetAnnotation], Phase: plan.Phase(cm.Annotations[phaseAnnotation]), Created: created}
}

// Claim implements Place.
func (c Cluster) Claim(ctx context.Context, namespace, name string) (Claim, error) {
	return claimOf(c.Coord.Leases(namespace).Get(ctx, name, metav1.GetOptions{}))
}

// CreateClaim implements Place.
func (c Cluster) CreateClaim(ctx context.Context, l Claim) (Claim, error) {
	l.Version = ""
	return claimOf(c.Coord.Leases(l.Namespace).Create(ctx, lease(l), metav1.CreateOptions{}))
}

// UpdateClaim implements Place.
func (c Cluster) UpdateClaim(ctx context.Context, l Claim) (Claim, error) {
	return claimOf(c.Coord.Leases(l.Namespace).Update(ctx, lease(l), metav1.UpdateOptions{}))
}

// DeleteClaim implements Place.
func (c Cluster) DeleteClaim(ctx context.Context, l Claim) error {
	err := c.Coord.Leases(l.Namespace).Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &l.Version}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return said(err)
}

func lease(l Claim) *coordv1.Lease {
	out := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.Name, Namespace: l.Namespace, ResourceVersion: l.Version}, Spec: coordv1.LeaseSpec{HolderIdentity: &l.Holder}}
	if l.For > 0 {
		seconds := int32(l.For / time.Second)
		out.Spec.LeaseDurationSeconds = &seconds
	}
	out.Spec.AcquireTime, out.Spec.RenewTime = micro(l.Since), micro(l.Renewed)
	return out
}

func micro(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	return &metav1.MicroTime{Time: t}
}

func claimOf(l *coordv1.Lease, err error) (Claim, error) {
	if err != nil {
		return Claim{}, said(err)
	}
	out := Claim{Namespace: l.Namespace, Name: l.Name, Version: l.ResourceVersion, Revision: revisionOf(l.ResourceVersion)}
	if l.Spec.HolderIdentity != nil {
		out.Holder = *l.Spec.HolderIdentity
	}
	if l.Spec.LeaseDurationSeconds != nil {
		out.For = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	if l.Spec.AcquireTime != nil {
		out.Since = l.Spec.AcquireTime.Time
	}
	if l.Spec.RenewTime != nil {
		out.Renewed = l.Spec.RenewTime.Time
	}
	return out, nil
}

// answer is what the API server said, and what that is to a caller of Place.
type answer struct{ is, err error }

func (a *answer) Error() string   { return a.err.Error() }
func (a *answer) Unwrap() []error { return []error{a.is, a.err} }

func said(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return &answer{ErrNotThere, err}
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return &answer{ErrConflict, err}
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return &answer{ErrRefused, err}
	}
	return err
}
