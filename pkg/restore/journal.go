package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

const (
	// journalLabel marks journals. They do not bear the label of what cleanup removes: a journal is the only way back.
	journalLabel = "kubectl-etcd.io/journal"
	journalKind  = "restore"
	journalKey   = "operation.json"
)

// journal keeps an operation in a ConfigMap beside the control plane. There is
// nothing secret in it; of a StatefulSet that is recreated it has what that says,
// which whoever may read ConfigMaps may mostly read, too.
type journal struct {
	core      corev1client.CoreV1Interface
	namespace string
	shared    *Shared
	version   string // of the ConfigMap, as this client has last seen it; empty before its first save
	last      string // what this client has saved last
}

func journalName(id string) string { return "kubectl-etcd-restore-" + id }

// saveFor is how long a save is tried: an API server that is away for less does
// not end an operation.
const saveFor = 90 * time.Second

// Save implements plan.Journal.
func (j *journal) Save(ctx context.Context, o *plan.Operation) error {
	var err error
	if o.Data, err = json.Marshal(j.shared); err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, saveFor)
	defer cancel()
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if err = j.write(ctx, o, string(text)); err == nil || errors.Is(err, plan.ErrAbandoned) || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("save journal %s/%s: %w; last seen: %w", j.namespace, journalName(o.ID), context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
	if err != nil {
		return fmt.Errorf("save journal %s/%s: %w", j.namespace, journalName(o.ID), err)
	}
	return nil
}

func (j *journal) write(ctx context.Context, o *plan.Operation, text string) error {
	maps := j.core.ConfigMaps(j.namespace)
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: journalName(o.ID), Namespace: j.namespace, Labels: map[string]string{journalLabel: journalKind},
			Annotations: map[string]string{
				"kubernetes.io/description":  "Journal of a restore by kubectl etcd; remove with: kubectl etcd restore cleanup",
				"kubectl-etcd.io/target":     o.Target,
				"kubectl-etcd.io/phase":      string(o.Phase),
				"kubectl-etcd.io/created-at": o.Created.Format(time.RFC3339),
			}},
		Data: map[string]string{journalKey: text},
	}
	cm.ResourceVersion = j.version
	saved, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) && j.version == "" {
		saved, err = maps.Create(ctx, cm, metav1.CreateOptions{})
	}
	if apierrors.IsConflict(err) {
		// An answer that got lost looks the same as another client's save.
		if saved, err = maps.Get(ctx, cm.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		switch saved.Data[journalKey] {
		case text:
		case j.last: // only labels or annotations were changed
			cm.ResourceVersion = saved.ResourceVersion
			saved, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
		default:
			return fmt.Errorf("%w: it has written the journal", plan.ErrAbandoned)
		}
	}
	if err == nil {
		j.version, j.last = saved.ResourceVersion, text
	}
	return err
}

// Operations are the restores of a namespace ("" is all) that have a journal, newest first.
func Operations(ctx context.Context, core corev1client.CoreV1Interface, namespace string) ([]plan.Operation, error) {
	list, err := core.ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: journalLabel + "=" + journalKind})
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var out []plan.Operation
	for _, cm := range list.Items {
		o, err := decode(cm)
		if err != nil {
			return nil, err
		}
		out = append(out, *o)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Created.After(out[j].Created) })
	return out, nil
}

func decode(cm corev1.ConfigMap) (*plan.Operation, error) {
	o := &plan.Operation{}
	if err := json.Unmarshal([]byte(cm.Data[journalKey]), o); err != nil {
		return nil, fmt.Errorf("read journal %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	return o, nil
}

func deleteJournal(ctx context.Context, core corev1client.CoreV1Interface, namespace, id string) error {
	err := core.ConfigMaps(namespace).Delete(ctx, journalName(id), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete journal %s/%s: %w", namespace, journalName(id), err)
	}
	return nil
}
