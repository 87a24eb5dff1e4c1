package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Unreadable is a journal that cannot be read, and what its labels and annotations still say.
type Unreadable struct {
	Namespace, Name string
	ID              string
	Target          string     // empty where nothing says it
	Phase           plan.Phase // the same
	err             error
}

func (u *Unreadable) Error() string {
	return fmt.Sprintf("read journal %s/%s: %v", u.Namespace, u.Name, u.err)
}
func (u *Unreadable) Unwrap() error { return u.err }

// Hint says how to look at it. Only a person can tell whether something is left to do of it.
func (u *Unreadable) Hint() string {
	return fmt.Sprintf("look at it: kubectl -n %s get configmap %s -o yaml; if a newer version wrote it, use that; delete it only when etcd and its API servers run and nothing of it is left to do", u.Namespace, u.Name)
}

// ErrUnknown says that there is no journal of an operation.
var ErrUnknown = errors.New("there is no journal of it")

// Journals are the operations of a namespace ("" is all), newest first, and the journals that cannot be read: one of them
// must not stand in the way of the others. check reads what their steps share.
func Journals(ctx context.Context, core corev1client.CoreV1Interface, namespace string, check func(*plan.Operation) error) ([]plan.Operation, []*Unreadable, error) {
	list, err := core.ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: journalLabel + "=" + journalKind})
	if err != nil {
		return nil, nil, fmt.Errorf("list journals: %w", err)
	}
	var (
		out []plan.Operation
		bad []*Unreadable
	)
	for _, cm := range list.Items {
		if o, err := decode(cm, check); err == nil {
			out = append(out, *o)
		} else {
			bad = append(bad, unreadable(cm, err))
		}
	}
	slices.SortFunc(out, func(a, b plan.Operation) int { return b.Created.Compare(a.Created) })
	return out, bad, nil
}

// Find reads the journal of one operation, in a namespace or in any; ErrUnknown says that there is none.
func Find(ctx context.Context, core corev1client.CoreV1Interface, namespace, id string, check func(*plan.Operation) error) (*plan.Operation, error) {
	ops, bad, err := Journals(ctx, core, namespace, check)
	if err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.ID == id {
			return &o, nil
		}
	}
	for _, u := range bad {
		if u.ID == id {
			return nil, u
		}
	}
	return nil, fmt.Errorf("find operation %s: %w", id, ErrUnknown)
}

func unreadable(cm corev1.ConfigMap, err error) *Unreadable {
	return &Unreadable{Namespace: cm.Namespace, Name: cm.Name, ID: strings.TrimPrefix(cm.Name, JournalName("")), Target: cm.Annotations[targetAnnotation], Phase: plan.Phase(cm.Annotations[phaseAnnotation]), err: err}
}

// decode reads all of a journal: one whose steps cannot be read, or what they share, is of no use.
func decode(cm corev1.ConfigMap, check func(*plan.Operation) error) (*plan.Operation, error) {
	o := &plan.Operation{}
	if err := json.Unmarshal([]byte(cm.Data[JournalKey]), o); err != nil {
		return nil, err
	}
	if o.ID == "" || JournalName(o.ID) != cm.Name {
		return nil, fmt.Errorf("it is of operation %s", cmp.Or(o.ID, "(none)"))
	}
	return o, check(o)
}
