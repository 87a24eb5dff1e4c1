package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	// JournalKey is where in its ConfigMap the journal is.
	JournalKey = "operation.json"

	targetAnnotation = "kubectl-etcd.io/target"
	phaseAnnotation  = "kubectl-etcd.io/phase"
)

// Journal keeps an operation in a ConfigMap beside the control plane. There is
// nothing secret in it; of a StatefulSet that is recreated it has what that says,
// which whoever may read ConfigMaps may mostly read, too.
type Journal struct {
	Core      corev1client.CoreV1Interface
	Namespace string
	// Data is what all steps share; it is encoded at each save.
	Data any
	// Warn is told what the user should know.
	Warn func(format string, args ...any)

	saving  sync.Mutex // one save at a time; it guards version, too
	mu      sync.Mutex // never held while the API server is asked: a save's own request may have to ask for ours, see Fence
	id      string     // of the operation, once it has been saved
	version string     // of the ConfigMap, as this client has last seen it; empty before its first save
	last    string     // what this client has saved last
	unsure  []string   // what it has tried to save since then: an answer can get lost
	failed  bool       // the last try
}

// JournalName is the name of an operation's ConfigMap.
func JournalName(id string) string { return "kubectl-etcd-restore-" + id }

// saveFor is how long a save is tried: an API server that is away for less does
// not end an operation.
const saveFor = 90 * time.Second

// saveAgainFor is how long it is tried when the last one has failed: what goes on from memory must not wait that long at each step.
const saveAgainFor = 10 * time.Second

func (j *Journal) patience() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed {
		return saveAgainFor
	}
	return saveFor
}

// Save implements plan.Journal.
func (j *Journal) Save(ctx context.Context, o *plan.Operation) error {
	var err error
	if o.Data, err = json.Marshal(j.Data); err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, j.patience())
	defer cancel()
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if err = j.write(ctx, o, string(text)); err == nil || final(err) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("save journal %s/%s: %w; last seen: %w", j.Namespace, JournalName(o.ID), context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
	if err != nil {
		return fmt.Errorf("save journal %s/%s: %w", j.Namespace, JournalName(o.ID), err)
	}
	return nil
}

func (j *Journal) write(ctx context.Context, o *plan.Operation, text string) error {
	maps := j.Core.ConfigMaps(j.Namespace)
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: JournalName(o.ID), Namespace: j.Namespace, Labels: map[string]string{journalLabel: journalKind},
			Annotations: map[string]string{
				"kubernetes.io/description":  "Journal of a restore by kubectl etcd; remove with: kubectl etcd restore cleanup",
				targetAnnotation:             o.Target,
				phaseAnnotation:              string(o.Phase),
				"kubectl-etcd.io/created-at": o.Created.Format(time.RFC3339),
			}},
		Data: map[string]string{JournalKey: text},
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	j.try(text)
	cm.ResourceVersion = j.version
	saved, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		if j.version != "" {
			j.Warn("the journal %s/%s was deleted; it is written again", j.Namespace, cm.Name)
		}
		cm.ResourceVersion = ""
		saved, err = maps.Create(ctx, cm, metav1.CreateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		// An answer that got lost looks the same as another client's save.
		if saved, err = maps.Get(ctx, cm.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		switch found := saved.Data[JournalKey]; {
		case found == text:
		case j.wrote(found): // an earlier save, or only labels or annotations were changed
			cm.ResourceVersion = saved.ResourceVersion
			saved, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
		default:
			return fmt.Errorf("%w: another one has written the journal", plan.ErrAbandoned)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed = err != nil; j.failed {
		return err
	}
	j.id, j.version, j.last, j.unsure = o.ID, saved.ResourceVersion, text, nil
	return nil
}

// try notes what is about to be saved: it can be there before its answer is.
func (j *Journal) try(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if text != j.last && !slices.Contains(j.unsure, text) {
		j.unsure = append(j.unsure, text)
	}
}

// wrote tells whether that is what this client has written.
func (j *Journal) wrote(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return text == j.last || slices.Contains(j.unsure, text)
}

// final tells what no other try mends.
func final(err error) bool {
	return errors.Is(err, plan.ErrAbandoned) || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err)
}

// Ours tells whether the journal is as this client has written it, so that no other client can have done anything since;
// there is one only where that client has saved it.
func (j *Journal) Ours(ctx context.Context) (same, exists bool, err error) {
	j.mu.Lock()
	id, before := j.id, append(slices.Clone(j.unsure), j.last) // a save can end meanwhile
	j.mu.Unlock()
	if id == "" {
		return false, false, nil
	}
	cm, err := j.Core.ConfigMaps(j.Namespace).Get(ctx, JournalName(id), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("read journal %s/%s: %w", j.Namespace, JournalName(id), err)
	}
	found := cm.Data[JournalKey]
	return slices.Contains(before, found) || j.wrote(found), true, nil
}

// DeleteJournal removes the journal of an operation; one that is gone is no error.
func DeleteJournal(ctx context.Context, core corev1client.CoreV1Interface, namespace, id string) error {
	err := core.ConfigMaps(namespace).Delete(ctx, JournalName(id), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete journal %s/%s: %w", namespace, JournalName(id), err)
	}
	return nil
}
