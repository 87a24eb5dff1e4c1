package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestKeptWhy: of a restore that has ended, nothing removes what is left by itself.
func TestKeptWhy(t *testing.T) {
	t.Parallel()
	for want, kept := range map[string][]reach.Leftover{
		"remove them too with --running":                                                                            {{Namespace: "a"}},
		"some are of a restore that has ended; remove them too with --running":                                      {{Namespace: "a"}, {Namespace: "a", OperationID: "ended"}},
		"some are of an unfinished restore, which removes them when it ends; see: kubectl etcd restore status -n b": {{Namespace: "a", OperationID: "ended"}, {Namespace: "b", OperationID: "runs"}},
	} {
		if got := keptWhy(kept, map[string]bool{"runs": true}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestRightsEverywhere: the hint asks for the right that is missing.
func TestRightsEverywhere(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"configmaps", "pods"} {
		cmd := &cobra.Command{}
		cmd.Flags().BoolP("all-namespaces", "A", false, "")
		if err := cmd.Flags().Set("all-namespaces", "true"); err != nil {
			t.Fatal(err)
		}
		err := fmt.Errorf("list: %w", apierrors.NewForbidden(schema.GroupResource{Resource: what}, "", errors.New(`User "x" cannot list them`)))
		if got := hint.For(cmd, err); got != "looking everywhere requires the right to list "+what+" in all namespaces; look in one of them with -n NAMESPACE" {
			t.Error(got)
		}
	}
}

// TestOneLine: what failed and what was undone are two things.
func TestOneLine(t *testing.T) {
	t.Parallel()
	a := &app{}
	if got := a.line(errors.Join(fmt.Errorf("wait for pods: %w", context.DeadlineExceeded), plan.ErrUndone)); got != "wait for pods: context deadline exceeded; everything was undone" {
		t.Error(got)
	}
}

// TestOutageWords: where one of several writers is late, the others may serve.
func TestOutageWords(t *testing.T) {
	t.Parallel()
	began := time.Unix(0, 0)
	for want, s := range map[string]*site.Outcome{
		"the outage goes on": {OutageBegan: began},
		"outage 20 s":        {OutageBegan: began, OutageEnded: began.Add(20 * time.Second)},
		"not all that was stopped is ready: StatefulSet a/kube-apiserver": {OutageBegan: began, Late: []string{"StatefulSet a/kube-apiserver"}},
	} {
		if got := outage(&site.Shared{Outcome: *s}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestBegunBefore: a step that a client before had begun may have been done.
func TestBegunBefore(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	r := &restoreReporter{reporter{app: &app{IOStreams: genericiooptions.IOStreams{ErrOut: &said}}}, time.Time{}}
	r.Begin(plan.Step{What: "freeze all", State: plan.Pending}, false)
	r.Begin(plan.Step{What: "freeze all", State: plan.Doing}, false)
	if got := strings.Split(said.String(), "\n"); got[0] != "freeze all" || got[1] != "look how far this came, and finish it: freeze all" {
		t.Errorf("%q", got)
	}
}
