package look

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/objects"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

type restoreOptions struct {
	opening
	selecting
	app       App
	cmd       *cobra.Command
	from      string
	dryRun    string
	journal   string
	overwrite bool
	force     bool
	yes       bool
}

// RestoreObjects is "restore objects".
func RestoreObjects(a App) *cobra.Command {
	o := &restoreOptions{app: a}
	cmd := &cobra.Command{
		Use:   "objects --from SNAPSHOT [KIND[/NAME]…]",
		Short: "Bring single objects back from a snapshot, through the API",
		Long: `Open a snapshot as "open" does, and make objects of it again in the cluster that the kubeconfig names: one, those of a kind, or with -n a namespace with all that is in it. Nothing else is touched, and nothing stops. What exists is left as it is; --overwrite brings objects that are named, as KIND/NAME, back as they were, by server-side apply.

A Deployment's Pods come by themselves. What cannot come back as it was is said before: a volume's data, a Service's address. What was made stands in a journal, a file in this folder, with which "restore objects undo" deletes it again, as long as nobody changed it.

Exit codes:
  0    done
  1    failed, or something could not be brought back; the rest was
  2    usage
  130  interrupted; what was made until then stands in the journal`,
		Example: `  # A namespace was deleted by mistake
  kubectl etcd restore objects --from backup.db -n shop

  # What would be done? The cluster is asked, too
  kubectl etcd restore objects --from backup.db -n shop --dry-run=server

  # A ConfigMap as it was
  kubectl etcd restore objects --from backup.db -n shop configmap/prices --overwrite`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(cmd, args); err != nil {
				return err
			}
			defer o.close()
			return o.run(cmd.Context())
		},
	}
	o.opening.add(cmd)
	o.selecting.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "The snapshot: a file, a URL, URL/latest")
	f.StringVar(&o.dryRun, "dry-run", "none", "none, client (print the plan), or server (and have the cluster check it); nothing is changed")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.StringVar(&o.journal, "journal", "", "File that says what was made (default: restore-objects-TIME.json in this folder)")
	f.BoolVar(&o.overwrite, "overwrite", false, "Bring objects named as KIND/NAME back as they were, if they exist and differ")
	f.BoolVar(&o.force, "force-conflicts", false, "With --overwrite: also fields that others manage")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(undoCommand(a))
	return cmd
}

func (o *restoreOptions) validate(cmd *cobra.Command, args []string) error {
	o.cmd = cmd
	if err := o.selected(cmd, args); err != nil {
		return err
	}
	switch {
	case o.from == "":
		return cli.Usagef(cmd, "name a snapshot with --from")
	case len(args) == 0 && o.sel.Namespace == "":
		return cli.Usagef(cmd, "name a namespace with -n, or objects as KIND or KIND/NAME; all of a cluster comes back with: kubectl etcd restore --from")
	case !slices.Contains([]string{"none", "client", "server"}, o.dryRun):
		return cli.Usagef(cmd, "unknown --dry-run=%s; there are: none, client, server", o.dryRun)
	case o.overwrite && (len(args) == 0 || slices.ContainsFunc(args, func(a string) bool { return !strings.Contains(a, "/") })):
		return cli.Usagef(cmd, "--overwrite is for objects that are named: KIND/NAME")
	case o.force && !o.overwrite:
		return cli.Usagef(cmd, "--force-conflicts goes with --overwrite")
	}
	return nil
}

func (o *restoreOptions) run(ctx context.Context) error {
	to, err := cluster(ctx, o.app) // before anything is started
	if err != nil {
		return err
	}
	to.Force = o.force
	var all []objects.Object
	left := unread{app: o.app}
	err = o.with(ctx, o.cmd, o.app, o.from, func(ctx context.Context, s *inside.Server) error {
		from, err := o.objects(ctx, s)
		if err != nil {
			return err
		}
		tellOther(ctx, o.app, from, to)
		all, err = from.Collect(ctx, o.sel, left.tell) // it is in memory then
		return err
	})
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return cmp.Or(left.err("restore objects"), errors.New("restore objects: nothing in the snapshot is what was asked for"))
	}
	return errors.Join(o.carryOut(ctx, to, all), left.err("restore objects"))
}

// carryOut says what is to be done, asks, and does it.
func (o *restoreOptions) carryOut(ctx context.Context, to *objects.Server, all []objects.Object) error {
	actions, err := to.Plan(ctx, all, o.overwrite)
	if err != nil {
		return err
	}
	if err := o.tell(actions); err != nil {
		return err
	}
	n := count(actions)
	switch {
	case n == 0 && o.dryRun == "none":
		if err := few(refusals(actions)); err != nil {
			return err
		}
		o.app.Say("nothing to do")
		return nil
	case o.dryRun == "client":
		return nil
	case o.dryRun == "server":
		return o.check(ctx, to, actions)
	case !o.yes && !o.app.Asks():
		return cli.Usagef(o.cmd, "nobody can be asked here: confirm with --yes, or see the plan with --dry-run")
	case !o.yes:
		if err := o.app.Confirm(ctx, fmt.Sprintf("Bring %d objects back?", n), "nothing was changed"); err != nil {
			return err
		}
	}
	return o.bring(ctx, to, actions)
}

func count(actions []objects.Action) (n int) {
	for _, a := range actions {
		if a.Do == objects.Create || a.Do == objects.Overwrite {
			n++
		}
	}
	return n
}

func refusals(actions []objects.Action) (out []error) {
	for _, a := range actions {
		if a.Do == objects.Refused {
			out = append(out, fmt.Errorf("bring back %s: %s", a.Called(), a.Why))
		}
	}
	return out
}

// tell prints the plan.
func (o *restoreOptions) tell(actions []objects.Action) error {
	var rows [][]string
	for _, a := range actions {
		rows = append(rows, []string{a.Do, a.Called(), a.GetNamespace(), a.Why})
	}
	return cli.Table(o.app.Out(), []string{"DO", "OBJECT", "NAMESPACE", "NOTE"}, rows)
}

// check has the cluster check each object. What is in a namespace that is yet to be made cannot be checked.
func (o *restoreOptions) check(ctx context.Context, to *objects.Server, actions []objects.Action) error {
	made := map[string]bool{}
	later := 0
	now := slices.DeleteFunc(slices.Clone(actions), func(a objects.Action) bool {
		if a.Kind.Name() == "namespaces" && a.Do == objects.Create {
			made[a.GetName()] = true
		}
		if made[a.GetNamespace()] || a.Late() && a.Do == objects.Create {
			later++
			return true
		}
		return false
	})
	failed := objects.Waves(ctx, now, objects.Together, func(ctx context.Context, a objects.Action) error {
		_, err := to.Bring(ctx, a, true)
		return err
	})
	if later > 0 {
		o.app.Say("%d objects are in a namespace that does not exist yet, or of a kind whose definition comes back with them, and were not checked by the cluster", later)
	}
	if err := errors.Join(few(failed), few(refusals(actions))); err != nil {
		return err
	}
	o.app.Say("the cluster would take all that it could check")
	return nil
}

// bring makes what the plan says. What fails is said in the end, and the rest is brought back.
func (o *restoreOptions) bring(ctx context.Context, to *objects.Server, actions []objects.Action) error {
	path := o.journal
	if path == "" {
		path = "restore-objects-" + time.Now().UTC().Format("20060102T150405Z") + ".json"
	}
	uid, err := to.UID(ctx)
	if err != nil {
		return fmt.Errorf("ask which cluster it is: %w", err)
	}
	j, err := objects.NewJournal(path, snapshot.APIVersion, uid)
	if err != nil {
		return err
	}
	var created, overwritten atomic.Int64
	failed := objects.Waves(ctx, actions, objects.Together, func(ctx context.Context, a objects.Action) error {
		did, err := one(ctx, to, j, a)
		switch {
		case did && a.Do == objects.Create:
			created.Add(1)
		case did:
			overwritten.Add(1)
		}
		return err
	})
	failed = []error{few(failed), few(refusals(actions)), j.Close()}
	o.app.Say("%d created, %d overwritten", created.Load(), overwritten.Load())
	brought, err := objects.ReadJournal(path)
	switch {
	case err != nil:
		failed = append(failed, err)
	case len(brought.Made)+len(brought.Unsure) > 0:
		o.app.Say("delete what was created with: kubectl etcd restore objects undo %s", path)
	default:
		failed = append(failed, os.Remove(path)) // it says nothing
	}
	return errors.Join(failed...)
}

// toldOf is how many failures are told one by one.
const toldOf = 20

// few are failures of one kind as one error: of thousands the first ones, and how many more there are.
func few(failed []error) error {
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if more := len(failed) - toldOf; more > 0 {
		failed = append(failed[:toldOf:toldOf], fmt.Errorf("%d more failed", more))
	}
	return errors.Join(failed...)
}

func one(ctx context.Context, to *objects.Server, j *objects.Journal, a objects.Action) (did bool, err error) {
	switch a.Do {
	case objects.Create:
		if err := j.Intend(a); err != nil {
			return false, err
		}
	case objects.Overwrite:
	default:
		return false, nil
	}
	made, err := to.Bring(ctx, a, false)
	if err != nil {
		if a.Do == objects.Create && objects.Definite(err) {
			err = errors.Join(err, j.Refused(a))
		}
		return false, err
	}
	if a.Do == objects.Create && made == nil { // an account that the namespace has got meanwhile
		return true, j.Refused(a)
	}
	if made != nil {
		return true, j.Made(made)
	}
	return true, nil
}

func undoCommand(a App) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "undo JOURNAL",
		Short: "Delete again what restore objects has made, as long as nobody changed it",
		Long: `Delete what "restore objects" has made, the last first, as its journal says. What somebody changed since is left, and so is a namespace that has something else in it. What was overwritten stays as it is.

` + exitCodes,
		Example: `  kubectl etcd restore objects undo restore-objects-20260102T150405Z.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return undo(cmd, a, args[0], yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask")
	return cmd
}

func undo(cmd *cobra.Command, a App, path string, yes bool) error {
	ctx := cmd.Context()
	brought, err := objects.ReadJournal(path)
	if err != nil {
		return err
	}
	to, err := cluster(ctx, a)
	if err != nil {
		return err
	}
	uid, err := to.UID(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("ask which cluster it is: %w", err)
	case uid != brought.Cluster:
		return cli.Usagef(cmd, "the journal is of a cluster whose kube-system has the UID %s, and the kubeconfig leads to one with %s", brought.Cluster, uid)
	}
	for _, u := range brought.Unsure {
		a.Warn("nobody knows whether %s was made: if it is there, delete it by hand", u)
	}
	if !yes && !a.Asks() {
		return cli.Usagef(cmd, "nobody can be asked here: confirm with --yes")
	} else if !yes {
		if err := a.Confirm(ctx, fmt.Sprintf("Delete %d objects?", len(brought.Made)), "nothing was changed"); err != nil {
			return err
		}
	}
	var deleted atomic.Int64
	slices.Reverse(brought.Made)
	left := objects.Waves(ctx, brought.Made, objects.TogetherGone, func(ctx context.Context, d objects.Done) error {
		gone, err := to.TakeBack(ctx, d)
		if err != nil {
			return fmt.Errorf("delete %s/%s: %w", d.Resource, d.Name, err)
		}
		if !gone {
			deleted.Add(1)
		}
		return nil
	})
	a.Say("%d deleted", deleted.Load())
	return few(left)
}
