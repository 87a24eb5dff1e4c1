package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// FindWriters finds what has to stop: what uses this etcd for sure, what the user names, and what an earlier restore
// knew. What may use it is kept apart, until the user says.
func (sc *Scene) FindWriters(ctx context.Context, d site.Deps, cfg Config) error {
	uses, err := controlplane.Writers(ctx, d.Planes(), cfg.Plane)
	if err != nil {
		return fmt.Errorf("find writers: %w", err)
	}
	sc.Writers, sc.unsure = uses.Writers, uses.Unsure
	if uses.Note != "" {
		sc.Notes = append(sc.Notes, uses.Note)
	}
	if err := sc.exceptWriters(cfg); err != nil {
		return err
	}
	return sc.addWriters(ctx, d, cfg)
}

// addWriters takes those that the user names, or that an earlier restore knew.
func (sc *Scene) addWriters(ctx context.Context, d site.Deps, cfg Config) error {
	add := func(id, why string) error {
		w, err := readWriter(ctx, d, cfg.Plane.Namespace, id)
		if err != nil {
			return fmt.Errorf("read writer %s: %w", id, err)
		}
		w.Why = why
		same := func(o controlplane.Writer) bool { return o.Path() == w.Path() }
		if i := slices.IndexFunc(sc.unsure, same); i >= 0 {
			w.Prefix = sc.unsure[i].Prefix
			sc.unsure = slices.Delete(sc.unsure, i, i+1)
		}
		if !slices.ContainsFunc(sc.Writers, same) {
			sc.Writers = append(sc.Writers, w)
		}
		return nil
	}
	for _, id := range cfg.Writers {
		if err := add(id, "named by --writer"); err != nil {
			return err
		}
	}
	for _, id := range cfg.FormerWriters {
		if err := add(id, "was stopped by the restore"); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// exceptWriters leaves out those of which the user knows that they are none. An API server that names this etcd is one,
// whatever the user knows.
func (sc *Scene) exceptWriters(cfg Config) error {
	for _, id := range cfg.NotWriters {
		namespace, kind, name, err := splitWriter(cfg.Plane.Namespace, id)
		if err != nil {
			return fmt.Errorf("read --not-writer %s: %w", id, err)
		}
		path := controlplane.Writer{Namespace: namespace, Kind: kind, Name: name}.Path()
		same := func(w controlplane.Writer) bool { return w.Path() == path }
		switch i := slices.IndexFunc(sc.Writers, same); {
		case i < 0 && cfg.Again: // gone since, or not sure
		case i < 0 && !slices.ContainsFunc(sc.unsure, same):
			return site.Refuse("leave out --not-writer "+id, "leave %s running: it does not look as if it used %s", path, cfg.Plane.ID())
		case i < 0:
		case sc.Writers[i].ServesAPI():
			return site.Refuse("leave out --not-writer "+id, "leave %s running: it runs an API server that uses %s (%s)", path, cfg.Plane.ID(), sc.Writers[i].Why)
		}
		sc.Writers, sc.unsure = slices.DeleteFunc(sc.Writers, same), slices.DeleteFunc(sc.unsure, same)
	}
	return nil
}

// splitWriter reads KIND/NAME or NAMESPACE/KIND/NAME; the kind becomes the API's word for it.
func splitWriter(namespace, id string) (ns, kind, name string, err error) {
	parts := strings.Split(id, "/")
	if len(parts) == 3 {
		namespace, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 {
		return "", "", "", errors.New("it is not KIND/NAME")
	}
	switch strings.ToLower(parts[0]) {
	case "statefulset", "sts":
		kind = "StatefulSet"
	case "deployment", "deploy":
		kind = "Deployment"
	default:
		return "", "", "", errors.New("its kind is neither statefulset nor deployment")
	}
	return namespace, kind, parts[1], nil
}

// readWriter reads a workload.
func readWriter(ctx context.Context, d site.Deps, namespace, id string) (controlplane.Writer, error) {
	var w controlplane.Writer
	var err error
	if w.Namespace, w.Kind, w.Name, err = splitWriter(namespace, id); err != nil {
		return w, err
	}
	if w.Kind == "StatefulSet" {
		s, err := d.Apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return w, err
		}
		w.Selector, w.Template, w.Replicas, w.Manager = s.Spec.Selector, s.Spec.Template, ptr.Deref(s.Spec.Replicas, 1), controlplane.ControllerOf(s)
		return w, nil
	}
	s, err := d.Apps.Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return w, err
	}
	w.Selector, w.Template, w.Replicas, w.Manager = s.Spec.Selector, s.Spec.Template, ptr.Deref(s.Spec.Replicas, 1), controlplane.ControllerOf(s)
	return w, nil
}

// doubts are what the user should know of the writers before saying yes.
func (sc *Scene) doubts(cfg Config) []string {
	var out []string
	if t := sc.tenants(cfg.Plane); len(t) > 1 {
		out = append(out, fmt.Sprintf("%d clusters share this etcd, and all of them are rolled back together: %s", len(t), strings.Join(t, ", ")))
	}
	if cfg.Hot {
		return out
	}
	if len(sc.Writers) == 0 {
		out = append(out, "no API server was found, nor anything else that writes to this etcd: name what does with --writer KIND/NAME")
	}
	for _, a := range cfg.Plane.APIServers {
		runs := func(w controlplane.Writer) bool {
			return w.Namespace == a.Namespace && strings.HasPrefix(a.Pod, w.Name+"-")
		}
		beside := slices.ContainsFunc(cfg.Plane.Members, func(m controlplane.Member) bool { return m.Namespace == a.Namespace && m.Pod == a.Pod })
		if !beside && !slices.ContainsFunc(sc.Writers, runs) && !slices.ContainsFunc(sc.unsure, runs) {
			out = append(out, fmt.Sprintf("API server %s/%s uses this etcd, and no Deployment or StatefulSet runs it: stop it yourself before, and start it afterwards", a.Namespace, a.Pod))
		}
	}
	for _, w := range sc.unsure {
		out = append(out, fmt.Sprintf("%s may use this etcd, and is not stopped: %s", w.Path(), w.Why))
	}
	return out
}

// unanswered refuses to begin while it is not known what has to stop.
func (sc *Scene) unanswered(cfg Config) error {
	p := cfg.Plane
	switch {
	case cfg.Hot || cfg.Again:
		return nil
	case len(sc.unsure) > 0:
		var names []string
		for _, w := range sc.unsure {
			names = append(names, w.Path())
		}
		return site.Refuse(fmt.Sprintf("say of each whether it uses this etcd: --writer %s stops it, --not-writer %[1]s lets it run", names[0]),
			"restore %s: whether these use it is not known: %s", p.ID(), strings.Join(names, ", "))
	case len(sc.Writers) == 0 && childAPIServer(p):
		return site.Refuse("name the workload that runs it: --writer KIND/NAME", "restore %s: its API server is started by another program, and was not found", p.ID())
	}
	return nil
}

// childAPIServer says that a product's API server is the child of another program, which has etcd's URLs in its own
// configuration.
func childAPIServer(p controlplane.ControlPlane) bool {
	return p.Layout == controlplane.VCluster || p.Manager != nil && p.Manager.Group() == "k0smotron.io"
}

// tenants names the clusters that keep their state in this etcd, where each has its own prefix.
func (sc *Scene) tenants(p controlplane.ControlPlane) []string {
	by := map[string][]string{}
	add := func(prefix, name string) {
		if prefix = "/" + strings.Trim(prefix, "/"); prefix != "/" && !slices.Contains(by[prefix], name) {
			by[prefix] = append(by[prefix], name)
		}
	}
	for _, w := range sc.Writers {
		add(w.Prefix, w.Path())
	}
	for _, a := range p.APIServers {
		if prefix := "/" + strings.Trim(a.EtcdPrefix, "/"); len(by[prefix]) == 0 { // nothing that scales runs it
			add(prefix, a.Namespace+"/Pod/"+a.Pod)
		}
	}
	var out []string
	for prefix, names := range by {
		out = append(out, prefix+" ("+strings.Join(names, ", ")+")")
	}
	sort.Strings(out)
	return out
}
