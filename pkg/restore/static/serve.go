package static

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// check refuses also where another operation is unfinished of which only the volumes know.
func (r *way) check(ctx context.Context, t *plan.Task) error {
	states, err := r.InspectAll(ctx)
	if err != nil {
		return err
	}
	for i, s := range states {
		left, err := site.Noted(s)
		if err != nil {
			return site.Refuse("a newer version may have written it, and can end that operation; if nothing of it is left to do, delete its folder in .kubectl-etcd in the member's data directory",
				"restore %s: member %s: %v", r.Operation.Target, r.Shared.Members[i].Name, err)
		}
		for _, o := range left {
			if o.ID != r.Operation.ID && !o.Ended() {
				return site.Refuse(site.GoOn(&o, r.Shared.Namespace), "restore %s: operation %s, begun %s, is unfinished (%s): its journal lies beside the data of member %s", r.Operation.Target, o.ID, o.Created.Format(time.RFC3339), o.Phase, r.Shared.Members[i].Name)
			}
		}
	}
	return r.Try(ctx, t)
}

// before keeps the journal beside each member's data: what the etcd holds that is about to be exchanged goes with it.
func (r *way) before(ctx context.Context) error {
	p, err := r.FindPlane(ctx)
	if err != nil {
		return err
	}
	r.Shared.Static.Alone = r.alone(p, r.Deps.Now())
	r.Alone = r.Shared.Static.Alone
	operation.Reborn(ctx, r.Shared.Snapshot.Revision)
	if err := r.note(ctx, *r.Operation); err != nil {
		return err
	}
	r.keepHere()
	return nil
}

// back is also for a client that undoes what another one has begun.
func (r *way) back(ctx context.Context, t *plan.Task) error {
	r.Alone = r.Shared.Static.Alone
	return r.Exchange.Back(ctx, t)
}

// up is also for a client that goes on where another one has exchanged.
func (r *way) up(ctx context.Context, t *plan.Task) error {
	r.Alone = r.Shared.Static.Alone
	operation.Reborn(ctx, r.Shared.Snapshot.Revision)
	return r.Up(ctx, t)
}

// file is the journal on this machine's disk, for whoever has no API server to ask.
func (r *way) file() string {
	return filepath.Join(cmp.Or(r.Shared.Safety, "."), operation.JournalName(r.Operation.ID)+".json")
}

// keepHere writes it. Nothing depends on it.
func (r *way) keepHere() {
	text, err := operation.Encode(r.Operation, r.Shared)
	if err == nil {
		err = os.WriteFile(r.file(), text, 0o600)
	}
	if err != nil {
		r.Deps.Report.Warn("the journal is not kept on this machine, too: %v", err)
		return
	}
	r.Deps.Report.Step("should no API server answer: kubectl etcd restore status %s", r.file())
}

// dropHere removes it, when the cluster has a journal that says how the operation has ended.
func (r *way) dropHere() { _ = os.Remove(r.file()) }

// noteAs says beside each member's data how the operation has ended: should another restore take the cluster's own journal away, that tells
// what lies there.
func (r *way) noteAs(ctx context.Context, p plan.Phase) error {
	o := *r.Operation
	o.Phase = p
	if err := r.note(ctx, o); err != nil {
		return err
	}
	r.dropHere()
	return nil
}

func (r *way) note(ctx context.Context, o plan.Operation) error {
	text, err := operation.Encode(&o, r.Shared)
	if err != nil {
		return err
	}
	return r.Each(func(_ int, m *site.MemberRecord) error {
		st, err := r.Stage(ctx, m.Name)
		if err == nil {
			err = st.Note(ctx, text)
		}
		if err != nil {
			return fmt.Errorf("keep the journal beside the data of member %s: %w", m.Name, err)
		}
		return nil
	})
}

// serve waits until the API servers are ready again, each by itself, and removes what is ours and came back with the snapshot.
func (r *way) serve(ctx context.Context, _ *plan.Task) error {
	if a := r.Shared.Access; a != nil {
		for _, s := range a.Servers {
			if err := r.ready(ctx, s.Object, s.Port); err != nil {
				return err
			}
		}
	}
	return r.forget(ctx)
}

// ready waits for the API servers of one name.
func (r *way) ready(ctx context.Context, object string, port int) error {
	w, err := site.ParseWorkload(object)
	if err != nil {
		return err
	}
	return await.Until(ctx, r.Timeout, "every API server is ready", func(ctx context.Context) (string, bool, error) {
		// Those that there were: the snapshot may know others, of nodes that are no more.
		for _, s := range r.Shared.Static.Servers {
			if !strings.HasPrefix(s.Pod, w.Name+"-") {
				continue
			}
			if err := r.API.Ready(ctx, *r.Shared.Access, w.Namespace, s.Pod, port); err != nil {
				return "", false, err
			}
		}
		return "", true, nil
	})
}

// forget deletes what earlier operations had in the cluster when the snapshot was taken: utility pods that run no more, and journals that
// say that something is unfinished, of which nothing is left.
func (r *way) forget(ctx context.Context) error {
	ns := r.Shared.Namespace
	left, err := reach.Leftovers(ctx, r.Deps.Clients, ns)
	if err != nil {
		return err
	}
	for _, l := range left {
		if l.Revision > r.Shared.Snapshot.Revision || l.OperationID == r.Operation.ID {
			continue
		}
		if err := reach.Remove(ctx, r.Deps.Clients, l.Namespace, l.Name); err != nil {
			return err
		}
	}
	entries, err := r.Deps.Place.Journals(ctx, ns)
	if err != nil {
		return fmt.Errorf("list journals: %w", err)
	}
	for _, e := range entries {
		if o := (&plan.Operation{Phase: e.Phase}); e.Target != r.Operation.Target || e.Revision > r.Shared.Snapshot.Revision || o.Ended() || e.ID == r.Operation.ID {
			continue
		}
		r.Deps.Report.Step("the journal of operation %s came back with the snapshot, and is history", e.ID)
		if err := r.Deps.Place.DeleteJournal(ctx, ns, e.ID); err != nil {
			return fmt.Errorf("delete journal of operation %s: %w", e.ID, err)
		}
	}
	return nil
}

// restart ends controller managers and schedulers; the kubelets start them again.
func (r *way) restart(ctx context.Context, _ *plan.Task) error {
	for _, c := range r.Shared.Static.Controllers {
		if err := r.end(ctx, c, site.ControllerGrace); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.Deps.Report.Warn("%v; restart it yourself, so that it reads everything anew", err)
		}
	}
	return nil
}

// end ends the processes of a static pod, by the utility pod on its node.
func (r *way) end(ctx context.Context, c site.StaticPod, grace time.Duration) error {
	member := ""
	for _, m := range r.Shared.Members {
		if m.Node == c.Node {
			member = m.Name
		}
	}
	if member == "" {
		r.Deps.Report.Warn("pod %s is on node %s, which has no member, and is not restarted: restart it yourself, so that it reads everything anew", c.Pod, c.Node)
		return nil
	}
	st, err := r.Stage(ctx, member)
	if err != nil {
		return err
	}
	did, err := st.EndPod(ctx, c.Hash, grace)
	if err != nil {
		return fmt.Errorf("restart pod %s: %w", c.Pod, err)
	}
	if len(did.PIDs) == 0 {
		r.Deps.Report.Step("pod %s is down already: its kubelet starts it again", c.Pod)
	}
	return nil
}

// restartServer has an API server start anew that serves what is no longer true.
func (r *way) restartServer(ctx context.Context, _ site.Workload, p site.Pod) error {
	for _, s := range r.Shared.Static.Servers {
		if s.Pod == p.Name {
			return r.end(ctx, s, site.ServerGrace)
		}
	}
	return fmt.Errorf("restart pod %s: it is not among those that were found", p.Name)
}
