package static

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// found are the static pods beside the members.
type found struct {
	servers, controllers []*corev1.Pod
}

func (f *found) record() *site.Static {
	return &site.Static{Servers: records(f.servers), Controllers: records(f.controllers)}
}

func records(pods []*corev1.Pod) (out []site.StaticPod) {
	for _, p := range pods {
		out = append(out, site.StaticPodOf(p))
	}
	slices.SortFunc(out, func(a, b site.StaticPod) int { return strings.Compare(a.Pod, b.Pod) })
	return out
}

// access is how the API servers are asked: each by itself, by whoever asks them anyway.
func (f *found) access(p controlplane.ControlPlane) *userapi.Access {
	a := &userapi.Access{Own: true}
	for _, s := range f.servers {
		name := strings.TrimSuffix(s.Name, "-"+s.Spec.NodeName)
		object := s.Namespace + "/" + site.StaticPods + "/" + name
		port, ok := controlplane.Writer{Template: corev1.PodTemplateSpec{Spec: s.Spec}}.APIServerPort()
		if ok && s.Namespace == p.Namespace && !slices.ContainsFunc(a.Servers, func(o userapi.Server) bool { return o.Object == object }) {
			a.Servers = append(a.Servers, userapi.Server{Object: object, Port: port})
		}
	}
	if len(a.Servers) == 0 {
		return nil
	}
	return a
}

// Possible refuses what these steps cannot do, as far as that is known without asking anybody.
func (r *way) Possible() error {
	p, cfg := r.Plane, r.Config
	if err := site.SupportedStatic(p); err != nil {
		return err
	}
	for _, f := range []struct {
		flag string
		used bool
	}{
		{"--member", len(cfg.Members) > 0}, {"--skip-member", len(cfg.Skip) > 0}, {"--writer", len(cfg.Writers) > 0}, {"--not-writer", len(cfg.NotWriters) > 0},
		{"--recreate-statefulset", cfg.Recreate}, {"--operator-stopped", cfg.OperatorStopped}, {"--discard-old-data", cfg.DiscardOld}, {"--keep-budgets", cfg.KeepBudgets},
	} {
		if f.used {
			return site.Refuse("leave out "+f.flag, "restore %s: %s is for the etcd of a hosted control plane; this one is run by kubelets, and all of its members are restored while they run", p.ID(), f.flag)
		}
	}
	return nil
}

// lookAt looks at the cluster that a kubeconfig names.
func (r *way) lookAt(ctx context.Context) (*restore.Scene, *site.Static, error) {
	d, cfg := r.Deps, r.Config
	p := cfg.Plane
	for _, m := range p.Members {
		if err := restorable(p, m); err != nil {
			return nil, nil, err
		}
	}
	sc := &restore.Scene{Pods: restore.StaticPods(p.Members[0].Object), Encryption: map[string]string{}}
	var err error
	if sc.Survey, err = survey.Take(ctx, survey.Sources(d.Clients, p, cfg.Reach), false); err != nil {
		return nil, nil, fmt.Errorf("ask members: %w", err)
	}
	for _, m := range sc.Survey.Members {
		if !m.Healthy || m.Source == nil {
			way := "one that is gone for good is taken out with: etcdctl member remove"
			if m.Source != nil && len(p.Members) > 1 {
				way = "replace it first: kubectl etcd restore --member " + m.Source.Name + "; " + way
			}
			return nil, nil, site.Refuse(way,
				"restore %s: member %s is not healthy (%s), and only members that run can be restored under their API server", p.ID(), m.Name, m.Why())
		}
	}
	h := &found{}
	for _, a := range p.Pods() {
		if !slices.ContainsFunc(p.Members, func(m controlplane.Member) bool { return m.PodName == a.Name }) && controlplane.IsStatic(a) {
			h.servers = append(h.servers, a)
		}
	}
	if h.controllers, err = controlplane.StaticControllers(ctx, d.Planes(), p); err != nil {
		return nil, nil, fmt.Errorf("find controllers: %w", err)
	}
	for _, a := range p.APIServers {
		if slices.ContainsFunc(h.servers, func(s *corev1.Pod) bool { return s.Name == a.Pod }) {
			sc.Static = append(sc.Static, a)
		}
	}
	sc.Notes = append(sc.Notes, elsewhere(sc.Static)...)
	if sc.Access = h.access(p); sc.Access != nil {
		if err := r.askable(ctx, h, sc.Access); err != nil {
			sc.Access = nil
			sc.Notes = append(sc.Notes, fmt.Sprintf("the API servers will not be asked whether they have read everything anew: %v", err))
		}
	}
	sc.Notes = append(sc.Notes, restarted(p, d.Now())...)
	if err := r.entitled(ctx); err != nil {
		return nil, nil, err
	}
	if err := r.nodeFiles(ctx, sc, h); err != nil {
		return nil, nil, err
	}
	if err := r.nodesBefore(ctx); err != nil {
		sc.Notes = append(sc.Notes, fmt.Sprintf("whether kubelets run what the restored cluster has on their nodes will not be compared: %v", err))
	}
	return sc, h.record(), nil
}

// askable tells whether each API server can be asked by itself.
func (r *way) askable(ctx context.Context, h *found, access *userapi.Access) error {
	ask := slices.DeleteFunc(reach.Rights(reach.Forward), func(right reach.Right) bool { return right.Resource != "pods" })
	if err := r.Deps.Clients.Require(ctx, r.Config.Plane.Namespace, ask); err != nil {
		return err
	}
	for _, s := range h.servers { // a kubeconfig that leads through something else may not lead to one of them
		for _, to := range access.Servers {
			w, err := site.ParseWorkload(to.Object)
			if err == nil && strings.HasPrefix(s.Name, w.Name+"-") {
				err = r.API.Ready(ctx, *access, s.Namespace, s.Name, to.Port)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// elsewhere tells what the API servers keep in another etcd.
func elsewhere(servers []controlplane.APIServer) (notes []string) {
	seen := map[string]bool{}
	for _, a := range servers {
		for _, o := range a.Overrides {
			if !seen[o.Resource] {
				seen[o.Resource] = true
				notes = append(notes, fmt.Sprintf("%s are kept in another etcd (%s), which is no part of this restore: they stay as they are", o.Resource, strings.Join(o.Servers, ", ")))
			}
		}
	}
	return notes
}

// restorable refuses a member whose data could not be exchanged, before anything is made.
func restorable(p controlplane.ControlPlane, m controlplane.Member) error {
	switch {
	case m.Missing():
		return site.Refuse("", "restore %s: member %s has no pod", p.ID(), m.Name)
	case m.DataVolume == nil || m.DataVolume.Kind == "emptyDir":
		var mounts []string
		for _, v := range m.Mounts {
			if v.Kind == "hostPath" && !v.Mount.ReadOnly {
				mounts = append(mounts, fmt.Sprintf("%s at %s", strings.Join(v.Source, ", "), v.MountPath))
			}
		}
		return site.Refuse("let --data-dir and the volume in its manifest agree first", "restore %s: member %s keeps its data in %s (--data-dir), which is in none of its volumes (%s): when its container ends it is gone",
			p.ID(), m.Name, m.DataDir, strings.Join(mounts, "; "))
	case m.WALDir != "" && !strings.HasPrefix(m.WALDir, m.DataDir+"/"):
		return site.Refuse("", "restore %s: member %s has its write-ahead log elsewhere (%s), which cannot be restored yet", p.ID(), m.Name, m.WALDir)
	}
	return nil
}

// entitled asks for every right that the steps will need: half-way is no place to find out.
func (r *way) entitled(ctx context.Context) error {
	need := slices.Concat(reach.Rights(reach.Agent), site.JournalRights, []reach.Right{{Verb: "list", Resource: "pods"}})
	if r.Config.Reach.Username != "" { // etcdctl in the member's own container would have the password in its command line
		need = append(need, reach.Rights(reach.Forward)...)
	}
	return r.Deps.Clients.Require(ctx, r.Plane.Namespace, need)
}
