package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	policyv1client "k8s.io/client-go/kubernetes/typed/policy/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

const restoreExitCodes = `Exit codes:
  0    done
  1    failed; everything was undone, unless the last lines say how to go on
  2    usage, or the target is not one control plane
  130  interrupted; everything was undone, unless the last lines say how to go on`

type restoreOptions struct {
	app     *app
	cmd     *cobra.Command
	out     output
	target  string
	cfg     restore.Config
	dryRun  string
	yes     bool
	timeout time.Duration
	user    etcdUser
	members []string
	temp    string // folder of what came on standard input
}

func (a *app) restoreCommand() *cobra.Command {
	o := &restoreOptions{app: a}
	cmd := &cobra.Command{
		Use:   "restore [TARGET] (--from SNAPSHOT | --member MEMBER)",
		Short: "Bring the etcd of a hosted control plane back from a snapshot, or replace one of its members",
		Long: `Bring all members of a hosted control plane's etcd (a StatefulSet) back from a snapshot.

Everything is prepared while etcd goes on: the snapshot is proven and uploaded to each member's volume, and the member's own
etcdutl builds the new data beside the old. Then the writers (the API servers) are stopped, etcd is stopped, old data and
new are exchanged, and all is started again. So the outage does not grow with the data. The old data stays on the volume
until "kubectl etcd restore cleanup".

With --member, one member is replaced while the others have quorum. A snapshot is neither needed nor right for that: the others have
all of the data. The old data is set aside, the member leaves the cluster, joins it anew as a learner, and is promoted when it has
caught up. The other members and the StatefulSet are not touched, and nobody who writes notices.

The plan is printed first, and asked for. A failure undoes everything. A client that was killed leaves a journal in the
cluster: "restore resume" goes on from there, "restore undo" takes back, from any machine.

TARGET is NAMESPACE/NAME of a control plane (see: kubectl etcd list -A).

` + restoreExitCodes,
		Example: `  # What would be done?
  kubectl etcd restore team-a/kube-etcd --from team-a.db --dry-run=client

  # Do it
  kubectl etcd restore team-a/kube-etcd --from team-a.db

  # Replace one member whose data is damaged or lost
  kubectl etcd restore team-a/kube-etcd --member 1

  # How is it? Take it back; or remove the old data
  kubectl etcd restore status -n team-a
  kubectl etcd restore undo -n team-a
  kubectl etcd restore cleanup -n team-a 20260102t150405-x7k2`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd, o.target = cmd, firstArg(args)
			if err := o.validate(); err != nil {
				return err
			}
			defer o.close()
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.cfg.From, "from", "", "The snapshot: a file, or - for standard input")
	f.StringArrayVar(&o.members, "member", nil, "Replace this member: its ordinal, its pod or its name")
	_ = cmd.RegisterFlagCompletionFunc("member", a.completeMembers)
	f.BoolVar(&o.cfg.Raw, "skip-hash-check", false, "Accept a copy of a database file (backup --raw), which has no hash that proves it")
	f.BoolVar(&o.cfg.FromOtherCluster, "from-other-cluster", false, "Accept a snapshot of another cluster")
	f.Int64Var(&o.cfg.Bump, "bump-revision", -1, "Add this to the snapshot's revision; by default as much as puts it above all that clients have seen")
	f.StringArrayVar(&o.cfg.Writers, "writer", nil, "Also stop this workload, KIND/NAME in the control plane's namespace; repeat it")
	f.BoolVar(&o.cfg.KeepBudgets, "keep-budgets", false, "Leave disruption budgets as they are")
	f.StringVar(&o.cfg.Safety, "safety-backup", ".", `Folder for a backup of what answers now; "" takes none`)
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Bound each wait for pods")
	f.StringVar(&o.dryRun, "dry-run", "none", "none or client: print the plan, change nothing")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	o.user.addFlags(cmd)
	o.out.addFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(a.restoreStatusCommand(), a.restoreResumeCommand(), a.restoreUndoCommand(), a.restoreCleanupCommand())
	for _, c := range cmd.Commands() {
		c.Args = usageArgs(c.Args)
	}
	return cmd
}

func (o *restoreOptions) validate() error {
	switch {
	case o.cfg.From == "" && len(o.members) == 0:
		return usagef(o.cmd, "--from is missing: the snapshot to restore; or --member: the member to replace")
	case o.cfg.From != "" && len(o.members) > 0:
		return usagef(o.cmd, "--from and --member do not go together: while the other members have quorum, one is replaced without a snapshot (leave out --from); where quorum is lost, all members have to be restored (leave out --member)")
	case len(o.members) > 1:
		return usagef(o.cmd, "replace one member at a time, so that the others keep quorum")
	case o.dryRun != "none" && o.dryRun != "client":
		return usagef(o.cmd, "unknown dry run --dry-run=%s; there are: none, client", o.dryRun)
	case o.timeout <= 0:
		return usagef(o.cmd, "--timeout must be more than 0")
	case o.cmd.Flags().Changed("bump-revision") && o.cfg.Bump < 0:
		return usagef(o.cmd, "--bump-revision must not be negative")
	case !o.yes && o.dryRun == "none" && (o.cfg.From == "-" || !isTerminal(o.app.In)):
		return usagef(o.cmd, "a restore needs a yes: pass --yes where there is no terminal to ask on")
	}
	for _, w := range o.cfg.Writers {
		if kind, name, ok := strings.Cut(w, "/"); !ok || kind == "" || name == "" {
			return usagef(o.cmd, "--writer=%s is not KIND/NAME", w)
		}
	}
	if err := o.user.validate(o.cmd); err != nil {
		return err
	}
	return o.out.validate(o.cmd)
}

func (o *restoreOptions) run(ctx context.Context) error {
	d, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	prepare := restore.Prepare
	if o.cfg.Members = o.members; len(o.members) > 0 {
		prepare = restore.PrepareReplace
	}
	p, err := prepare(ctx, d, o.cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := o.show(p); err != nil {
		return err
	}
	if o.dryRun == "client" {
		if !o.out.data() {
			o.app.say("nothing was changed (dry run)")
		}
		return nil
	}
	if err := o.confirm(p); err != nil {
		return err
	}
	err = p.Run(ctx)
	return o.report(p, err)
}

// prepare makes what a restore needs of the world.
func (o *restoreOptions) prepare(ctx context.Context) (restore.Deps, error) {
	d, err := o.app.restoreDeps()
	if err != nil {
		return d, err
	}
	if o.cfg.Reach.Username, o.cfg.Reach.Password, err = o.user.read(); err != nil {
		return d, err
	}
	o.cfg.Timeout, o.cfg.Reach.Log = o.timeout, o.app.explain
	if o.cfg.From == "-" {
		if err := o.receive(); err != nil {
			return d, err
		}
	}
	_, o.cfg.Plane, err = o.app.resolve(ctx, o.target)
	return d, err
}

func (a *app) restoreDeps() (restore.Deps, error) {
	c, cp, err := a.connect()
	if err != nil {
		return restore.Deps{}, err
	}
	pol, err := policyv1client.NewForConfig(c.Config)
	if err != nil {
		return restore.Deps{}, fmt.Errorf("make policy client: %w", err)
	}
	coord, err := coordv1client.NewForConfig(c.Config)
	if err != nil {
		return restore.Deps{}, fmt.Errorf("make coordination client: %w", err)
	}
	return restore.Deps{Clients: c, Apps: cp.Apps, Policy: pol, Coord: coord, Report: &restoreReporter{reporter{app: a}, time.Time{}}, Now: time.Now,
		Tool: "kubectl-etcd " + Version, Holder: holder()}, nil
}

// holder is what another operator reads who meets the lock.
func holder() string {
	who, host := "somebody", "an unknown machine"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return fmt.Sprintf("%s on %s, process %d", who, host, os.Getpid())
}

// receive keeps standard input in a file: the whole of it is proven before anything begins.
func (o *restoreOptions) receive() (err error) {
	if o.temp, err = os.MkdirTemp("", "kubectl-etcd-restore-"); err != nil {
		return err
	}
	path := filepath.Join(o.temp, "standard-input.db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, o.app.In)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	o.cfg.From = path
	return nil
}

func (o *restoreOptions) close() {
	if o.temp != "" {
		_ = os.RemoveAll(o.temp)
	}
}

func (o *restoreOptions) confirm(p *restore.Prepared) error {
	if o.yes {
		return nil
	}
	what := "Restore " + p.Operation.Target
	if p.Shared.Replace != nil {
		what = "Replace member " + p.Shared.Members[0].Name + " of " + p.Operation.Target
	}
	fmt.Fprint(o.app.ErrOut, printable(what)+"? [y/N] ")
	answer, err := bufio.NewReader(o.app.In).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("read answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was changed: not confirmed")
	}
	return nil
}

// show prints the plan.
func (o *restoreOptions) show(p *restore.Prepared) error {
	if o.out.data() {
		if o.dryRun != "client" {
			return nil // the result is printed at the end
		}
		return o.out.print(o.app.Out, restorePlan(p))
	}
	w := o.app.Out
	s := p.Shared
	if s.Replace != nil {
		fmt.Fprintln(w, printable(fmt.Sprintf("Replace member %s of %s; the other members have all of its data (%s)", s.Members[0].Name, p.Operation.Target, humanize.IBytes(uint64(s.Replace.Size)))))
		return table(w, []string{"STEP", "OUTAGE", "WHAT", "UNDO"}, planRows(p.Operation))
	}
	fmt.Fprintln(w, printable(fmt.Sprintf("Restore %s from %s (%s, revision %d, %d keys)", p.Operation.Target, s.Snapshot.File, humanize.IBytes(uint64(s.Snapshot.Size)), s.Snapshot.Revision, s.Snapshot.LiveKeys)))
	if s.Highest > 0 {
		fmt.Fprintf(w, "Its etcd is at revision %d now: what was written since the snapshot will be gone.\n", s.Highest)
	} else {
		fmt.Fprintln(w, "No member of it answers now.")
	}
	if err := table(w, []string{"STEP", "OUTAGE", "WHAT", "UNDO"}, planRows(p.Operation)); err != nil {
		return err
	}
	fmt.Fprintln(w, "The control plane does not serve from the first step with an outage to the last: until the pods of etcd and of the API servers have stopped and started, whatever the size of the data.")
	for _, n := range p.Notes {
		o.app.warn("%s", n)
	}
	return nil
}

func planRows(op *plan.Operation) [][]string {
	var rows [][]string
	for i, s := range op.Steps {
		outage := ""
		if s.Outage {
			outage = "yes"
		}
		back := s.Back
		if back == "" {
			back = "-"
		}
		if op.Step(s.ID).Commit {
			back = "from here only forward"
		}
		rows = append(rows, []string{fmt.Sprint(i + 1), outage, s.What, back})
	}
	return rows
}

// restoreResult is the stable JSON of plans and results.
type restoreResult struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Operation  *plan.Operation `json:"operation"`
	Restore    *restore.Shared `json:"restore"`
	Notes      []string        `json:"notes,omitempty"`
	// OutageSeconds is from the first writer that was stopped until all were ready again.
	OutageSeconds float64 `json:"outageSeconds,omitempty"`
}

func restorePlan(p *restore.Prepared) restoreResult {
	op := *p.Operation
	op.Data = nil
	r := restoreResult{APIVersion: "kubectl-etcd.io/v1", Kind: "Restore", Operation: &op, Restore: p.Shared, Notes: p.Notes}
	if !p.Shared.OutageEnded.IsZero() {
		r.OutageSeconds = p.Shared.OutageEnded.Sub(p.Shared.OutageBegan).Seconds()
	}
	return r
}

// report says how it ended.
func (o *restoreOptions) report(p *restore.Prepared, err error) error {
	if o.out.data() && err == nil {
		return o.out.print(o.app.Out, restorePlan(p))
	}
	return o.app.reportRestore(p, err)
}
