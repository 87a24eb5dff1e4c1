package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// restoreReporter shows a restore's steps and uploads.
type restoreReporter struct {
	reporter
	began time.Time
}

func (r *restoreReporter) Begin(s plan.Step, undo bool) {
	r.began = time.Now()
	what := s.What
	if undo {
		if s.Back == "" {
			return
		}
		what = "undo: " + s.Back + " (" + s.ID + ")"
	}
	if !undo && s.State == plan.Doing { // it may have been done when its client ended
		what = "look how far this came, and finish it: " + what
	}
	r.app.say("%s", what)
}

func (r *restoreReporter) End(s plan.Step, undo bool, err error) {
	r.Done()
	if err == nil {
		r.app.explain("%s: %.1f s", s.ID, time.Since(r.began).Seconds())
	}
}

func (r *restoreReporter) Progress(what string, done, total int64) {
	r.reporter.Progress(done, total, -1)
}

// show prints the plan.
func (o *restoreOptions) show(p *site.Prepared) error {
	if o.out.Data() {
		if !o.dry() {
			return nil // the result is printed at the end
		}
		return o.out.Print(o.app.Out, restorePlan(p))
	}
	w := o.app.Out
	s := p.Shared
	if s.Replace != nil {
		fmt.Fprintln(w, cli.Printable(fmt.Sprintf("Replace member %s of %s; the other members have all of its data (%s)", s.Members[0].Name, p.Operation.Target, humanize.IBytes(uint64(s.Replace.Size)))))
		return cli.Table(w, []string{"STEP", "OUTAGE", "WHAT", "UNDO"}, planRows(p.Operation))
	}
	fmt.Fprintln(w, cli.Printable(fmt.Sprintf("Restore %s from %s (%s, revision %d, %d keys)", p.Operation.Target, s.Snapshot.File, humanize.IBytes(uint64(s.Snapshot.Size)), s.Snapshot.Revision, s.Snapshot.LiveKeys)))
	if s.Live > 0 {
		fmt.Fprintf(w, "Its etcd is at revision %d now: what was written since the snapshot will be gone.\n", s.Live)
	} else {
		fmt.Fprintln(w, "No member of it answers now.")
	}
	if err := cli.Table(w, []string{"STEP", "OUTAGE", "WHAT", "UNDO"}, planRows(p.Operation)); err != nil {
		return err
	}
	if s.Hot {
		fmt.Fprintln(w, "The API servers go on running. They cannot reach etcd from the first step with an outage to the last: until the members' containers have started again, which is seconds, whatever the size of the data.")
	} else if !s.DiscardOld && !s.StageLate {
		fmt.Fprintln(w, "The control plane does not serve from the first step with an outage to the last: until the pods of etcd and of the API servers have stopped and started, whatever the size of the data.")
	}
	for _, n := range p.Notes {
		o.app.warn("%s", n)
	}
	return nil
}

func planRows(op *plan.Operation) [][]string {
	var rows [][]string
	for i, s := range op.Steps {
		if s.State == plan.Done { // of an operation that goes on
			continue
		}
		outage := ""
		if s.Outage {
			outage = "yes"
		}
		back := s.Back
		if back == "" {
			back = "-"
		}
		if s.Commit {
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
	Restore    *site.Shared    `json:"restore"`
	Notes      []string        `json:"notes,omitempty"`
	// OutageSeconds is from the first writer that was stopped until all were ready again; of a hot restore, from the
	// member that the old cluster could not lack until a majority served again. None where it is unfinished.
	OutageSeconds float64 `json:"outageSeconds,omitempty"`
	// Disagree says what the kubelets of a restored cluster still ran otherwise than it says.
	Disagree []string `json:"disagree,omitempty"`
}

func restorePlan(p *site.Prepared) restoreResult {
	op := *p.Operation
	op.Data = nil
	r := restoreResult{APIVersion: "kubectl-etcd.io/v1", Kind: "Restore", Operation: &op, Restore: p.Shared, Notes: p.Notes}
	if !p.Shared.OutageEnded.IsZero() {
		r.OutageSeconds = p.Shared.OutageEnded.Sub(p.Shared.OutageBegan).Seconds()
	}
	return r
}

// report prints how it ended, as data.
func (o *restoreOptions) report(p *site.Prepared, disagree []string) error {
	result := restorePlan(p)
	result.Disagree = disagree
	perr := o.out.Print(o.app.Out, result)
	if perr == nil {
		return p.Shared.Flaw()
	}
	o.app.warn("the restore is done (operation %s), but how it went cannot be printed as asked", p.Operation.ID)
	return errors.Join(perr, p.Shared.Flaw())
}

// ended says how an operation ended, and then what is left to others.
func (a *app) ended(ctx context.Context, p *site.Prepared, err error) error {
	told := a.reportRestore(p, err)
	if err == nil && p.Operation.Phase != plan.Abandoned {
		for _, d := range p.Afterwards(ctx) {
			a.warn("%s", d)
		}
	}
	return told
}

func outage(s *site.Shared) string {
	if len(s.Late) > 0 { // others may serve
		return "not all that was stopped is ready: " + strings.Join(s.Late, ", ")
	}
	switch {
	case s.OutageBegan.IsZero():
		return "the client that saw the outage has ended, so how long it was is not known"
	case s.OutageEnded.IsZero():
		return "the outage goes on"
	}
	return fmt.Sprintf("outage %.0f s", s.OutageEnded.Sub(s.OutageBegan).Seconds())
}

// reportRestore says how an operation ended, and what can be typed next.
func (a *app) reportRestore(p *site.Prepared, err error) error {
	op, s := p.Operation, p.Shared
	_, refused := err.(*site.Refusal) //nolint:errorlint // a step's is wrapped: this one came before anything was done
	switch {
	case refused: // its hint says what can be typed
	case err == nil && op.Phase == plan.Abandoned:
		a.say("gave up operation %s; %s", op.ID, keptOf(p))
		return nil
	case err == nil && op.Phase == plan.Succeeded && s.Replace != nil:
		a.say("replaced member %s of %s; its old data is still on its volume; remove it with: kubectl etcd restore cleanup -n %s %s", s.Members[0].Name, op.Target, s.Namespace, op.ID)
		return s.Flaw()
	case err == nil && op.Phase == plan.Succeeded:
		a.say("restored %s to revision %d of the snapshot, now %d; %s", op.Target, s.Snapshot.Revision, s.Snapshot.Revision+s.Bump, outage(s))
		for _, n := range s.StoppedWriters() {
			a.warn("%s", n)
		}
		if !slices.ContainsFunc(s.Members, func(m site.MemberRecord) bool { return m.HadData }) || s.DiscardOld {
			return s.Flaw()
		}
		a.say("the old data is still on the volumes; undo it with: kubectl etcd restore undo -n %s %s; remove it with: kubectl etcd restore cleanup -n %[1]s %[2]s", s.Namespace, op.ID)
		return s.Flaw()
	case err == nil:
		a.say("%s is as it was before operation %s", op.Target, op.ID)
		return nil
	case errors.Is(err, plan.ErrAbandoned): // its hint says who may work on it
	case errors.Is(err, plan.ErrUndone):
		a.say("everything was undone: %s is as it was", op.Target)
	case errors.Is(err, context.Canceled) && errors.As(err, new(*site.Stopped)): // the error that follows says "interrupted", and no more
		a.warn("%v", err)
	}
	return err
}

// keptOf says what the volumes still hold of an operation that was given up.
func keptOf(p *site.Prepared) string {
	if p.KeptUnknown != nil {
		return fmt.Sprintf("whether the volumes still hold old data could not be seen: %v", p.KeptUnknown)
	}
	var held []string
	for _, k := range p.Kept {
		held = append(held, fmt.Sprintf("%s (%s)", k.Member, humanize.IBytes(uint64(k.Size))))
	}
	if len(held) == 0 {
		return "the volumes hold no old data"
	}
	return fmt.Sprintf("the volumes still hold old data of %s; remove it with: kubectl etcd restore cleanup -n %s %s", strings.Join(held, ", "), p.Shared.Namespace, p.Operation.ID)
}
