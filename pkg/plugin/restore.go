package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/look"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/manifests"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const restoreExitCodes = `Exit codes:
  0    done
  1    failed; everything was undone, unless the last lines say how to go on, or that only a writer is late
  2    usage, or the target is not one control plane
  3    done, but the members do not hold the same data, or the API does not show what the snapshot has
  130  interrupted; everything was undone, unless the last lines say how to go on`

const shortExitCodes = `Exit codes:
  0    done
  1    failed
  2    usage
  130  interrupted`

type restoreOptions struct {
	app     *app
	cmd     *cobra.Command
	out     cli.Output
	target  string
	cfg     restore.Config
	from    string // as it was named
	dryRun  string
	yes     bool
	timeout time.Duration
	user    etcdUser
	// limitRate is text until it is validated.
	limitRate string
	// printRBAC prints the rights that all of this takes.
	printRBAC bool
	temp      string // folder of what came on standard input
	reading   stores.Reading
}

func (a *app) restoreCommand() *cobra.Command {
	o := &restoreOptions{app: a}
	cmd := &cobra.Command{
		Use:   "restore [TARGET] (--from SNAPSHOT | --member MEMBER)",
		Short: "Bring an etcd back from a snapshot, or replace one of its members",
		Long: `Bring an etcd back from a snapshot: the cluster's own (static pods), or a hosted control plane's (a StatefulSet); --member replaces one of its members.

Everything is prepared while etcd goes on. Then API servers are stopped (not with --hot, nor for static pods), old data and new are exchanged, and all is
started again. The plan is printed first, and asked for. A failure undoes everything. The old data stays until "restore cleanup".
TARGET is NAMESPACE/NAME of a control plane (see: kubectl etcd list -A); without it, the cluster's own.
All of it: https://github.com/kubectl-etcd/kubectl-etcd/blob/main/docs/restore.md

` + restoreExitCodes,
		Example: `  kubectl etcd restore --from etcd.db                                       # the cluster's own etcd
  kubectl etcd restore team-a/kube-etcd --from team-a.db --dry-run=client   # what would be done?
  kubectl etcd restore team-a/kube-etcd --from member/kube-etcd-2           # without a quorum: what that member still has
  kubectl etcd restore team-a/kube-etcd --member 1                          # replace one member`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd, o.target, o.from = cmd, firstArg(args), o.cfg.From
			if o.printRBAC {
				return a.printRBAC(manifests.RestoreRBAC, o.target)
			}
			if err := o.validate(); err != nil {
				return err
			}
			defer o.close()
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.cfg.From, "from", "", "The snapshot: a file, a URL, URL/latest, - for standard input, or member/NAME for what that member still has")
	f.StringArrayVar(&o.cfg.Members, "member", nil, "Replace this member: its ordinal, its pod, its node or its name; with --from and without a quorum, restore these members: repeat it")
	f.StringArrayVar(&o.cfg.Skip, "skip-member", nil, "Restore without this member, whose node is gone; repeat it")
	_ = cmd.RegisterFlagCompletionFunc("member", a.completeMembers)
	_ = cmd.RegisterFlagCompletionFunc("skip-member", a.completeMembers)
	f.BoolVar(&o.cfg.Hot, "hot", false, "Leave the API servers running and exchange the data under etcd: an outage of seconds; requires pods with hostPID")
	f.BoolVar(&o.cfg.Raw, "skip-hash-check", false, "Accept a database that no hash proves: a copy of its file (backup --raw), or a snapshot that another program has written to")
	f.BoolVar(&o.cfg.FromOtherCluster, "from-other-cluster", false, "Accept a snapshot of another cluster")
	f.Int64Var(&o.cfg.Bump, "bump-revision", -1, "Add this to the snapshot's revision; by default as much as puts it above all that clients have seen")
	f.StringArrayVar(&o.cfg.Writers, "writer", nil, "Also stop this workload, [NAMESPACE/]KIND/NAME, by default in the control plane's namespace; repeat it")
	f.StringArrayVar(&o.cfg.NotWriters, "not-writer", nil, "Let this workload run, named alike, which looks as if it used the etcd and does not; repeat it")
	f.BoolVar(&o.cfg.Recreate, "recreate-statefulset", false, "Where members are started one after the other: delete the StatefulSet without its pods, and create it anew")
	f.BoolVar(&o.cfg.OperatorStopped, "operator-stopped", false, "Where an operator owns the StatefulSet and would put it back: it has been stopped, until the restore has ended")
	f.BoolVar(&o.cfg.DiscardOld, "discard-old-data", false, "Where there is no room for old data and new: delete the old data first, for good; nothing leads back")
	f.BoolVar(&o.cfg.KeepBudgets, "keep-budgets", false, "Leave disruption budgets as they are")
	f.StringVar(&o.cfg.Safety, "safety-backup", ".", `Folder for a backup of what answers now; "" takes none`)
	f.StringVar(&o.limitRate, "limit-rate", "", "Bound each upload, in bytes on the wire per second: 500Ki, 10Mi")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Bound each wait for pods")
	f.StringVar(&o.dryRun, "dry-run", "none", "none, client: print the plan, change nothing; or diff: also what the cluster would get back, and lose")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.BoolVar(&o.printRBAC, "print-rbac", false, "Print the least rights that a restore needs, and do nothing else")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	o.reading.Add(cmd)
	o.user.addFlags(cmd)
	o.out.AddFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "diff"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(look.RestoreObjects(shared{&reporter{app: a}}), a.restoreStatusCommand(), a.restoreResumeCommand(), a.restoreUndoCommand(), a.restoreAbandonCommand(), a.restoreCleanupCommand())
	return cmd
}

func (o *restoreOptions) validate() error {
	switch {
	case o.cfg.From == "member/":
		return cli.Usagef(o.cmd, "--from=member/ names no member")
	case o.cfg.From == "" && len(o.cfg.Members) == 0:
		return cli.Usagef(o.cmd, "--from is missing: the snapshot to restore; or --member: the member to replace")
	case o.cfg.From == "" && len(o.cfg.Members) > 1:
		return cli.Usagef(o.cmd, "replace one member at a time, so that the others keep quorum")
	case o.cfg.From == "" && len(o.cfg.Skip) > 0:
		return cli.Usagef(o.cmd, "--skip-member goes with --from: it is for a restore of the other members")
	case o.cfg.From == "" && len(o.cfg.Writers)+len(o.cfg.NotWriters) > 0:
		return cli.Usagef(o.cmd, "nothing is stopped to replace a member: leave out --writer and --not-writer")
	case o.cfg.Hot && (len(o.cfg.Members) > 0 || len(o.cfg.Skip) > 0):
		return cli.Usagef(o.cmd, "--hot restores all members: leave out --member and --skip-member, or --hot")
	case o.cfg.DiscardOld && (o.cfg.Hot || o.cfg.From == ""):
		return cli.Usagef(o.cmd, "--discard-old-data goes with --from, and not with --hot")
	case o.cfg.Hot && (o.cfg.Recreate || len(o.cfg.Writers)+len(o.cfg.NotWriters) > 0):
		return cli.Usagef(o.cmd, "--hot stops neither writers nor the StatefulSet: leave out --writer, --not-writer and --recreate-statefulset, or --hot")
	case o.dryRun != "none" && o.dryRun != "client" && o.dryRun != "diff":
		return cli.Usagef(o.cmd, "unknown dry run --dry-run=%s; there are: none, client, diff", o.dryRun)
	case o.dryRun == "diff" && (o.cfg.From == "" || o.cfg.From == "-" || strings.HasPrefix(o.cfg.From, "member/") || strings.HasSuffix(o.cfg.From, "/latest")):
		return cli.Usagef(o.cmd, "--dry-run=diff reads the snapshot twice: name a file, or one in a store by its own name, with --from")
	case o.dryRun == "diff" && o.out.Data():
		return cli.Usagef(o.cmd, "--dry-run=diff prints tables: leave out -o, or use: kubectl etcd diff SNAPSHOT -o json")
	case slices.ContainsFunc(o.cfg.Skip, func(m string) bool { return slices.Contains(o.cfg.Members, m) }):
		return cli.Usagef(o.cmd, "a member is either restored (--member) or left out (--skip-member)")
	case o.timeout <= 0:
		return cli.Usagef(o.cmd, "--timeout must be more than 0")
	case o.cmd.Flags().Changed("bump-revision") && o.cfg.Bump < 0:
		return cli.Usagef(o.cmd, "--bump-revision must not be negative")
	case !o.yes && o.dryRun == "none" && (o.cfg.From == "-" || !cli.IsTerminal(o.app.In)):
		return cli.Usagef(o.cmd, "a restore needs a yes: pass --yes where there is no terminal to ask on")
	}
	for flag, named := range map[string][]string{"writer": o.cfg.Writers, "not-writer": o.cfg.NotWriters} {
		for _, w := range named {
			if parts := strings.Split(w, "/"); len(parts) != 2 && len(parts) != 3 || slices.Contains(parts, "") {
				return cli.Usagef(o.cmd, "--%s=%s is neither KIND/NAME nor NAMESPACE/KIND/NAME", flag, w)
			}
			if flag == "writer" && slices.Contains(o.cfg.NotWriters, w) {
				return cli.Usagef(o.cmd, "a workload is either stopped (--writer) or let run (--not-writer): %s", w)
			}
		}
	}
	var err error
	if o.cfg.LimitRate, err = parseRate(o.cmd, o.limitRate); err != nil {
		return err
	}
	if err := o.user.validate(o.cmd); err != nil {
		return err
	}
	return o.out.Validate(o.cmd)
}

func (o *restoreOptions) run(ctx context.Context) error {
	d, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	if o.dryRun == "diff" && !o.cfg.Plane.Static() {
		return &site.Refusal{Reason: "compare snapshot: " + o.cfg.Plane.ID() + " is a hosted control plane, and another kubeconfig leads to its API", Way: "use that: kubectl etcd diff SNAPSHOT --kubeconfig FILE"}
	}
	replace := o.cfg.From == ""
	if !replace {
		if replace, err = o.replaceInstead(ctx, d); err != nil {
			return err
		}
	}
	return o.carryOut(ctx, func() (*site.Prepared, error) {
		if replace {
			return member.Prepare(ctx, d, member.Config{Target: o.cfg.Target, Members: o.cfg.Members, OperatorStopped: o.cfg.OperatorStopped})
		}
		return restore.Prepare(ctx, d, o.cfg)
	})
}

// replaceInstead asks what is meant by a snapshot and --member together, while the other members have quorum.
func (o *restoreOptions) replaceInstead(ctx context.Context, d site.Deps) (bool, error) {
	if len(o.cfg.Members) == 0 {
		return false, nil
	}
	quorum, err := member.QuorumWithout(ctx, d, o.cfg.Target, o.cfg.Members)
	if err != nil || !quorum {
		return false, err
	}
	if o.yes || len(o.cfg.Members) > 1 || o.dry() {
		return false, &site.Refusal{
			Reason: "restore member from a snapshot: the other members have quorum and all of the data; restored from a snapshot it would be another cluster's",
			Way:    "replace it without the snapshot: leave out --from; or take all members back to the snapshot: leave out --member",
		}
	}
	o.app.say("The other members have quorum and all of the data. The snapshot is not needed, and a member restored from it would be another cluster's.")
	return true, o.app.confirm(ctx, "Replace member "+o.cfg.Members[0]+" without the snapshot?", "nothing was changed")
}

// carryOut plans, shows, asks and does.
func (o *restoreOptions) carryOut(ctx context.Context, prepare func() (*site.Prepared, error)) error {
	p, err := prepare()
	if err != nil {
		return err
	}
	defer p.Close()
	o.close() // it has been read, and is held open: whoever kills this client finds nothing of it
	if err := o.show(p); err != nil {
		return err
	}
	if o.dry() {
		if o.dryRun == "diff" {
			if err := look.Lost(ctx, o.cmd, shared{&reporter{app: o.app}}, o.from, o.reading, o.cfg.Raw); err != nil {
				return err
			}
		}
		if !o.out.Data() {
			o.app.say("nothing was changed (dry run)")
		}
		return nil
	}
	if err := p.Answered(); err != nil {
		return err
	}
	if err := o.confirm(ctx, p); err != nil {
		return err
	}
	if err = p.Run(ctx); err != nil || !o.out.Data() {
		return o.app.ended(ctx, p, err)
	}
	return o.report(p, p.Afterwards(ctx))
}

// dry says that nothing is to be changed.
func (o *restoreOptions) dry() bool { return o.dryRun != "none" }

// prepare makes what a restore needs of the world.
func (o *restoreOptions) prepare(ctx context.Context) (site.Deps, error) {
	o.cfg.DryRun = o.dry()
	d, err := o.app.restoreDeps()
	if err != nil {
		return d, err
	}
	if o.cfg.Reach.Username, o.cfg.Reach.Password, err = o.user.read(); err != nil {
		return d, err
	}
	o.cfg.Ways, o.cfg.Timeout, o.cfg.Reach.Log = ways(), o.timeout, o.app.explain
	if o.cfg.Safety != "" {
		if err := safetyFolder(o.cfg.Safety); err != nil {
			return d, err
		}
	}
	if o.cfg.From == "-" {
		if err := o.receive(); err != nil {
			return d, err
		}
	}
	if o.dry() && strings.HasPrefix(o.cfg.From, "member/") { // nothing may be left of it
		if o.temp, err = os.MkdirTemp("", "kubectl-etcd-restore-"); err != nil {
			return d, err
		}
		o.cfg.TakeInto = o.temp
	}
	c, plane, err := o.app.resolve(ctx, o.target)
	if o.cfg.Plane = plane; err == nil {
		o.app.bring(o.cmd, c, &o.cfg, &o.reading)
	}
	return d, err
}

// bring lets a restore fetch what is not a plain file.
func (a *app) bring(cmd *cobra.Command, c *reach.Clients, cfg *restore.Config, reading *stores.Reading) {
	if cfg.From == "" || strings.HasPrefix(cfg.From, "member/") || !stores.Elsewhere(cfg.From) {
		return
	}
	from := cfg.From
	cfg.From = stores.Shown(from)
	of := &stores.Plane{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, Ask: func(ctx context.Context) string {
		return restore.LiveUID(ctx, c, cfg.Plane, cfg.Reach, a.warn)
	}}
	cfg.Fetch = func(ctx context.Context) (*stored.Snapshot, error) {
		return reading.Fetch(ctx, cmd, &a.stores, from, of, &reporter{app: a})
	}
}

// safetyFolder finds out at once whether a file can be made in it.
func safetyFolder(path string) error {
	const hint = "name another folder with --safety-backup"
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return &site.Refusal{Reason: "find folder for the safety backup: " + path + " is none", Way: hint}
	}
	f, err := os.CreateTemp(path, ".kubectl-etcd-")
	if err != nil {
		return &site.Refusal{Reason: fmt.Sprintf("write to the folder for the safety backup: %v", err), Way: hint}
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (a *app) restoreDeps() (site.Deps, error) {
	c, _, err := a.connect()
	if err != nil {
		return site.Deps{}, err
	}
	return site.Connect(c.Config, site.Deps{Report: &restoreReporter{reporter{app: a}, time.Time{}}, Now: time.Now, Tool: "kubectl-etcd " + Version, Holder: holder()})
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

func (o *restoreOptions) confirm(ctx context.Context, p *site.Prepared) error {
	if o.yes {
		return nil
	}
	what := "Restore " + p.Operation.Target
	if p.Shared.Replace != nil {
		what = "Replace member " + p.Shared.Members[0].Name + " of " + p.Operation.Target
	}
	return o.app.confirm(ctx, what+"?", "nothing was changed")
}
