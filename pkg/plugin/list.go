package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

type listOptions struct {
	app   *app
	out   cli.Output
	all   bool
	shell bool
}

// listed is a control plane as list prints it.
type listed struct {
	controlplane.ControlPlane
	Ready   int    `json:"ready"`
	Version string `json:"version,omitempty"`
	// ImageShell: yes, no or unknown.
	ImageShell string `json:"imageShell"`
	Volume     string `json:"volume"`
	// Holds are the only resources that are in this etcd, where its API servers keep the others elsewhere.
	Holds []string `json:"holds,omitempty"`
}

func (a *app) listCommand() *cobra.Command {
	o := &listOptions{app: a}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the control planes whose etcd can be seen",
		Long: `List the control planes whose etcd can be seen: in kube-system, in one namespace with -n, in all with -A.

IMAGE SHELL says whether etcd's image has a shell. It is unknown until asked with --probe-shell, which runs "sh -c exit 0" in each etcd container.

` + shortExitCodes,
		Example: `  # The cluster's own
  kubectl etcd list

  # All that run in this cluster
  kubectl etcd list -A -o wide`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.out.Validate(cmd); err != nil {
				return err
			}
			if o.all && a.namespace() != "" {
				return cli.Usagef(cmd, "-A and -n do not go together")
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", false, "Look in all namespaces")
	cmd.Flags().BoolVar(&o.shell, "probe-shell", false, "Ask each etcd container whether it has a shell")
	o.out.AddFlag(cmd, "wide", "name")
	o.out.AddBare(cmd)
	return cmd
}

func (o *listOptions) run(ctx context.Context) error {
	clients, c, err := o.app.connect()
	if err != nil {
		return err
	}
	var planes []controlplane.ControlPlane
	if o.all || o.app.namespace() != "" {
		planes, err = controlplane.Find(ctx, c, controlplane.Query{Namespace: o.app.namespace()})
	} else {
		planes, err = controlplane.FindOwn(ctx, c)
	}
	if err != nil {
		return err
	}
	items := make([]listed, len(planes))
	for i, p := range planes {
		items[i] = listed{ControlPlane: p, Ready: p.Ready(), Version: versions(p), ImageShell: "unknown", Volume: volume(p), Holds: p.Holds()}
	}
	if o.shell {
		if err := probe(ctx, clients, items); err != nil {
			return err
		}
	}
	return o.print(items)
}

// probe asks the first member of each that runs.
func probe(ctx context.Context, c *reach.Clients, items []listed) error {
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	for i := range items {
		wg.Go(func() {
			for _, m := range items[i].Members {
				if !m.Ready {
					continue
				}
				has, err := reach.HasShell(ctx, c, m)
				if err != nil {
					errs[i] = fmt.Errorf("ask pod %s for a shell: %w", m.Pod, err)
					return
				}
				items[i].ImageShell = map[bool]string{true: "yes", false: "no"}[has]
				return
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func versions(p controlplane.ControlPlane) string {
	seen := map[string]bool{}
	var out []string
	for _, m := range p.Members {
		if m.Version != "" && !seen[m.Version] {
			seen[m.Version] = true
			out = append(out, m.Version)
		}
	}
	return strings.Join(out, ",")
}

func volume(p controlplane.ControlPlane) string {
	if len(p.Members) == 0 {
		return ""
	}
	v := p.Members[0].DataVolume
	if v == nil {
		return "container"
	}
	if v.Kind == "hostPath" {
		return "hostPath:" + strings.Join(v.Source, ",")
	}
	return v.Kind
}

func (o *listOptions) print(items []listed) error {
	if o.out.Data() {
		return o.out.Print(o.app.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "ControlPlaneList", "items": items})
	}
	if len(items) == 0 {
		o.app.say("No etcd found. Look in all namespaces with -A.")
		return nil
	}
	if o.out.Format == "name" {
		var names []string
		for _, p := range items {
			names = append(names, p.ID())
		}
		return o.out.Names(o.app.Out, names)
	}
	head := []string{"NAMESPACE", "NAME", "LAYOUT", "MEMBERS", "READY", "VERSION", "IMAGE SHELL", "VOLUME"}
	if o.out.Format == "wide" {
		head = append(head, "OWNER", "NODES", "IMAGE", "NOTES")
	}
	var rows [][]string
	for _, p := range items {
		row := []string{p.Namespace, p.Name, string(p.Layout), fmt.Sprint(len(p.Members)), fmt.Sprintf("%d/%d", p.Ready, len(p.Members)), dash(p.Version), p.ImageShell, dash(p.Volume)}
		if o.out.Format == "wide" {
			row = append(row, p.Owner.Kind+"/"+p.Owner.Name, nodes(p.ControlPlane), image(p.ControlPlane), dash(strings.Join(notes(p.ControlPlane), "; ")))
		}
		rows = append(rows, row)
	}
	return o.out.Table(o.app.Out, head, rows)
}

// notes begin with where an etcd is that no pod runs.
func notes(p controlplane.ControlPlane) []string {
	if p.Place == nil {
		return p.Notes
	}
	return append([]string{(&externalError{p}).where()}, p.Notes...)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func nodes(p controlplane.ControlPlane) string {
	var out []string
	for _, m := range p.Members {
		out = append(out, dash(m.Node))
	}
	return dash(strings.Join(out, ","))
}

func image(p controlplane.ControlPlane) string {
	if len(p.Members) == 0 {
		return "-"
	}
	return p.Members[0].Image
}
