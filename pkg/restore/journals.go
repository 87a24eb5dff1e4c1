package restore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
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

// Operations are the restores of a namespace ("" is all) whose journal can be read, newest first.
func Operations(ctx context.Context, core corev1client.CoreV1Interface, namespace string) ([]plan.Operation, error) {
	ops, _, err := Journals(ctx, core, namespace)
	return ops, err
}

// Journals are the restores of a namespace ("" is all), newest first, and the journals that cannot be read: one of them
// must not stand in the way of the others.
func Journals(ctx context.Context, core corev1client.CoreV1Interface, namespace string) ([]plan.Operation, []*Unreadable, error) {
	list, err := core.ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: journalLabel + "=" + journalKind})
	if err != nil {
		return nil, nil, fmt.Errorf("list journals: %w", err)
	}
	var (
		out []plan.Operation
		bad []*Unreadable
	)
	for _, cm := range list.Items {
		if o, err := decode(cm); err == nil {
			out = append(out, *o)
		} else {
			bad = append(bad, unreadable(cm, err))
		}
	}
	slices.SortFunc(out, func(a, b plan.Operation) int { return b.Created.Compare(a.Created) })
	return out, bad, nil
}

// find reads the journal of one operation, in a namespace or in any.
func find(ctx context.Context, core corev1client.CoreV1Interface, namespace, id string) (*plan.Operation, error) {
	ops, bad, err := Journals(ctx, core, namespace)
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
	return nil, NoJournal(id)
}

func unreadable(cm corev1.ConfigMap, err error) *Unreadable {
	return &Unreadable{Namespace: cm.Namespace, Name: cm.Name, ID: strings.TrimPrefix(cm.Name, journalName("")), Target: cm.Annotations[targetAnnotation], Phase: plan.Phase(cm.Annotations[phaseAnnotation]), err: err}
}

// decode reads all of a journal: one whose steps cannot be read, or what they share, is of no use.
func decode(cm corev1.ConfigMap) (*plan.Operation, error) {
	o := &plan.Operation{}
	if err := json.Unmarshal([]byte(cm.Data[journalKey]), o); err != nil {
		return nil, err
	}
	if o.ID == "" || journalName(o.ID) != cm.Name {
		return nil, fmt.Errorf("it is of operation %s", cmp.Or(o.ID, "(none)"))
	}
	return o, json.Unmarshal(o.Data, &Shared{})
}

// known is what the journals of all restores of a control plane tell a new one.
type known struct {
	seen  int64 // the highest revision of which they know
	notes []string
}

// unfinished refuses a second restore while the first can still go either way.
func unfinished(ctx context.Context, d Deps, p controlplane.ControlPlane) (k known, err error) {
	ops, bad, err := Journals(ctx, d.Clients.Core, p.Namespace)
	if err != nil {
		return k, err
	}
	for _, u := range bad {
		switch {
		case u.Target != "" && u.Target != p.ID():
		case (&plan.Operation{Phase: u.Phase}).Ended():
			k.notes = append(k.notes, fmt.Sprintf("%v; it has ended (%s), but the revisions that it knows of are not taken into account", u, u.Phase))
		default:
			return k, fmt.Errorf("restore %s: %w", p.ID(), u)
		}
	}
	for _, o := range ops {
		if o.Target != p.ID() {
			continue
		}
		if !o.Ended() {
			return k, inTheWay(ctx, d, &o, fmt.Sprintf("restore %s: operation %s, begun %s, has not ended (%s)", p.ID(), o.ID, o.Created.Format(time.RFC3339), o.Phase))
		}
		sh, err := decodeShared(&o)
		if err != nil {
			return k, err
		}
		k.seen = max(k.seen, sh.Highest, sh.Snapshot.Revision+max(sh.Bump, 0))
	}
	return k, nil
}
