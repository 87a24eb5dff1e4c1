package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

type statusOptions struct {
	app    *app
	out    cli.Output
	watch  bool
	every  time.Duration
	hashes bool
	way    wayFlags
}

// minInterval: each time, every member starts programs or a connection, and with --hashes reads its whole database.
const minInterval = time.Second

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{app: a}
	cmd := &cobra.Command{
		Use:   "status [TARGET]",
		Short: "Show how each member is: health, leader, revision, size, alarms",
		Long: `Show how each member is. Members that are down are shown too, with the reason.

It fails when a member is down, has an alarm, or (with --hashes) holds different data.

With --via=agent a short-lived pod is made beside each member, as for a backup.

Exit codes:
  0    every member is healthy
  1    failed; or a member is down, differs or has an alarm
  2    usage, or the target is not one control plane
  130  interrupted`,
		Example: `  # The cluster's own etcd
  kubectl etcd status

  # Watch a hosted one, and compare the members' data
  kubectl etcd status team-a/kube-etcd --hashes --watch

  # Without a cluster: endpoints this machine reaches
  kubectl etcd status --via direct --endpoint https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.out.Validate(cmd); err != nil {
				return err
			}
			if err := o.way.validate(cmd, firstArg(args)); err != nil {
				return err
			}
			if o.every < minInterval {
				return cli.Usagef(cmd, "--interval=%s is too often for etcd; the least is %s", o.every, minInterval)
			}
			if o.watch && o.way.way() == reach.Agent {
				return cli.Usagef(cmd, "--watch does not go with --via=agent, which would make pods each time")
			}
			if o.watch && o.out.Data() {
				return cli.Usagef(cmd, "--watch prints tables; it does not go with -o %s", o.out.Format)
			}
			return o.run(cmd, firstArg(args))
		},
	}
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Print again every --interval until interrupted")
	cmd.Flags().DurationVar(&o.every, "interval", 5*time.Second, "With --watch: how often")
	cmd.Flags().BoolVar(&o.hashes, "hashes", false, "Compare the members' data by HashKV; each member reads its whole database for it")
	o.way.addFlags(cmd)
	o.out.AddFlag(cmd, "wide", "name")
	o.out.AddBare(cmd)
	return cmd
}

func (o *statusOptions) run(cmd *cobra.Command, target string) error {
	ctx := cmd.Context()
	reachOptions := reach.Options{Operation: "status", Log: o.app.explain}
	if err := o.way.options(&reachOptions); err != nil {
		return err
	}
	a, err := o.asked(cmd, target, reachOptions)
	if err != nil {
		return err
	}
	for {
		healthy, err := o.once(ctx, a)
		if err != nil && (!o.watch || ctx.Err() != nil) {
			return err
		}
		if !o.watch {
			if !healthy {
				return cli.ExitCode(exitFailed)
			}
			return nil
		}
		if err != nil {
			o.app.warn("%v", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.every):
		}
		fmt.Fprintln(o.app.Out)
		if again, err := o.asked(cmd, target, reachOptions); err == nil {
			a = again // pods come and go
		}
	}
}

// asked is whom to ask, and how.
type asked struct {
	clients *reach.Clients // nil without a cluster
	plane   controlplane.ControlPlane
	sources []survey.Source
}

func (o *statusOptions) asked(cmd *cobra.Command, target string, r reach.Options) (a asked, err error) {
	if o.way.way() == reach.Direct {
		var configs []reach.DirectConfig
		a.plane, configs, err = o.way.direct(cmd, r)
		a.sources = survey.DirectSources(a.plane, configs)
		return a, err
	}
	if way := o.way.way(); way != reach.Auto {
		r.Ask = []reach.Way{way}
	}
	a.clients, a.plane, err = o.app.resolve(cmd.Context(), target)
	a.sources = survey.Sources(a.clients, a.plane, r)
	return a, err
}

func (o *statusOptions) once(ctx context.Context, a asked) (healthy bool, err error) {
	c, p := a.clients, a.plane
	s, err := survey.Take(ctx, a.sources, o.hashes)
	if err != nil {
		return false, fmt.Errorf("ask members: %w", err)
	}
	if o.out.Data() {
		return s.Healthy(), o.out.Print(o.app.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "Status", "namespace": p.Namespace, "name": p.Name, "layout": p.Layout,
			"healthy": s.Healthy(), "clusterID": s.ClusterID, "consistency": s.Consistency, "note": s.Note, "members": s.Members})
	}
	if err := o.print(s); err != nil {
		return false, err
	}
	switch {
	case s.Note != "":
		o.app.warn("%s", s.Note)
	case s.Consistency == survey.Equal:
		o.app.say("data: the same in all %d members that were compared", compared(s.Members))
	}
	if c == nil {
		return s.Healthy(), nil
	}
	// It may be the reason for what is seen. Who may not read journals is not told.
	if ops, err := site.Operations(ctx, site.Place(c), p.Namespace); err == nil {
		for _, op := range ops {
			if op.Target == p.ID() && !op.Ended() {
				o.app.warn("restore %s of it is unfinished; see: kubectl etcd restore status -n %s", op.ID, p.Namespace)
			}
		}
	}
	return s.Healthy(), nil
}

func (o *statusOptions) print(s *survey.Survey) error {
	if o.out.Format != "name" {
		return o.out.Table(o.app.Out, o.head(), o.rows(s))
	}
	var names []string
	for _, m := range s.Members {
		names = append(names, m.Name)
	}
	return o.out.Names(o.app.Out, names)
}

func (o *statusOptions) head() []string {
	head := []string{"MEMBER", "ID", "HEALTH", "ROLE", "VERSION", "DB SIZE", "IN USE", "QUOTA", "REVISION", "RAFT INDEX", "LATENCY", "ALARMS", "ERRORS"}
	if o.out.Format == "wide" {
		head = append(head, "ENDPOINT", "NODE", "RAFT TERM", "HASH")
	}
	return head
}

func (o *statusOptions) rows(s *survey.Survey) [][]string {
	var rows [][]string
	for _, m := range s.Members {
		row := []string{m.Name, id(m), health(m), role(m)}
		if st := m.Status; st != nil {
			row = append(row, st.Version, humanize.IBytes(uint64(st.DBSize)), humanize.IBytes(uint64(st.DBSizeInUse)), quota(m), fmt.Sprint(st.Revision),
				fmt.Sprint(st.RaftIndex), latency(st.Latency))
		} else {
			row = append(row, "-", "-", "-", "-", "-", "-", "-")
		}
		row = append(row, dash(joinComma(m.Alarms)), dash(m.Error))
		if o.out.Format == "wide" {
			term, hash := "-", "-"
			if m.Status != nil {
				term = fmt.Sprint(m.Status.RaftTerm)
			}
			if m.Hash != nil {
				hash = fmt.Sprintf("%x@%d", m.Hash.Hash, m.Hash.Revision)
			}
			row = append(row, dash(m.Endpoint), dash(m.Node), term, hash)
		}
		rows = append(rows, row)
	}
	return rows
}

func joinComma(s []string) string {
	out := ""
	for i, v := range s {
		if i > 0 {
			out += ","
		}
		out += v
	}
	return out
}

func id(m survey.Member) string {
	if m.ID == 0 {
		return "-"
	}
	return m.ID.String()
}

func health(m survey.Member) string {
	switch {
	case m.Differs:
		return "differs"
	case m.Healthy:
		return "healthy"
	case m.Status != nil:
		return "unhealthy"
	}
	return "down"
}

func role(m survey.Member) string {
	switch {
	case m.Learner:
		return "learner"
	case m.Leader:
		return "leader"
	case m.Status != nil:
		return "follower"
	}
	return "-"
}

// quota is the share of the quota in use; etcd's default of 2 GiB where nothing else is known.
func quota(m survey.Member) string {
	q := m.Quota
	if q == 0 {
		q = 2 << 30
	}
	return fmt.Sprintf("%d %%", m.Status.DBSize*100/q)
}

func latency(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(100 * time.Microsecond).String()
}

// compared counts the members of whose data there is a hash.
func compared(members []survey.Member) (n int) {
	for _, m := range members {
		if m.Hash != nil {
			n++
		}
	}
	return n
}
