package site

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Beside are the operations whose journals lie beside the data of etcds that kubelets run from files, newest first: a journal in the cluster is
// gone with the etcd that was exchanged. It makes a utility pod at each member's volume, and removes it. A member that cannot be looked at
// is told; the others have the same journal.
// Those that are known are left out.
func (d Deps) Beside(ctx context.Context, namespace string, known []plan.Operation) ([]plan.Operation, error) {
	if namespace != "" && !slices.Contains(controlplane.SystemNamespaces, namespace) {
		return nil, nil // static pods of control planes are nowhere else
	}
	planes, err := controlplane.FindOwn(ctx, d.Planes())
	if err != nil {
		return nil, err
	}
	var out []plan.Operation
	for _, p := range planes {
		if SupportedStatic(p) != nil {
			continue
		}
		d.Report.Step("looking beside the data of %s for what its journals do not tell", p.ID())
		for _, m := range p.Members {
			found, err := d.besideOf(ctx, m)
			if err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				d.Report.Warn("whether an operation has left its journal beside the data of member %s is not known: %v", m.Name, err)
				continue
			}
			for _, o := range found {
				if !slices.ContainsFunc(slices.Concat(out, known), func(other plan.Operation) bool { return other.ID == o.ID }) {
					out = append(out, o)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b plan.Operation) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// lookWithin is how long a pod may take to start that is only to look: its image is there. A kubelet that is cut off starts none.
const lookWithin = 30 * time.Second

func (d Deps) besideOf(ctx context.Context, m controlplane.Member) (_ []plan.Operation, err error) {
	st, err := reach.OpenStage(ctx, d.Clients, m, reach.Options{OperationID: "look-" + rand.String(5), StartTimeout: lookWithin})
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := reach.Release(ctx, st); cerr != nil {
			d.Report.Warn("%v; remove what is left with: kubectl etcd cleanup -n %s --running", cerr, m.Namespace)
		}
	}()
	s, err := st.Inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect volume: %w", err)
	}
	return Noted(s)
}

// Noted are the operations whose journals lie beside a member's data.
func Noted(s *datadir.State) (out []plan.Operation, err error) {
	for _, left := range s.Operations {
		if len(left.Journal) == 0 {
			continue
		}
		o, err := operation.Decode(json.RawMessage(left.Journal))
		if err == nil {
			err = readable(o)
		}
		if err != nil {
			return nil, fmt.Errorf("read journal of operation %s: %w", left.Op, err)
		}
		out = append(out, *o)
	}
	return out, nil
}
