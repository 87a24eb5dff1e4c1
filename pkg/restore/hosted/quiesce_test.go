package hosted

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

type (
	cluster = site.Cluster
	stage   = site.Stage
)

// scripted is an etcd that sees in each watch what a script says.
type scripted struct {
	cluster
	stage
	member  controlplane.Member
	watches []func() (key string)
}

func (s *scripted) Survey(context.Context, controlplane.ControlPlane, bool) (*survey.Survey, error) {
	return &survey.Survey{Members: []survey.Member{{Healthy: true, Source: &s.member, Status: &etcd.Status{Revision: 7}}}}, nil
}

func (s *scripted) Stage(context.Context, controlplane.Member, string) (site.Stage, error) {
	return s, nil
}
func (s *scripted) Alive(context.Context) bool { return true }

func (s *scripted) Puts(context.Context, time.Duration) (string, int64, error) {
	watch := s.watches[0]
	s.watches = s.watches[1:]
	return watch(), 8, nil
}

// TestSilent: a writer that is known may write until it has ended, and after that nobody, for as long as a watch lasts.
func TestSilent(t *testing.T) {
	t.Parallel()
	const key = "/registry/x"
	for name, c := range map[string]struct {
		script func(end func()) []func() string
		want   string // part of the error; "": none
	}{
		"nobody writes": {func(end func()) []func() string {
			end()
			return []func() string{func() string { return "" }}
		}, ""},
		"writers end while nobody writes": {func(end func()) []func() string {
			return []func() string{func() string { end(); return "" }}
		}, ""},
		"a writer writes while it ends": {func(end func()) []func() string {
			return []func() string{func() string { return key }, func() string { end(); return key }, func() string { return "" }}
		}, ""},
		"a writer takes longer to end than a watch": {func(end func()) []func() string {
			return []func() string{
				func() string { time.AfterFunc(50*time.Millisecond, end); return "" },
				func() string { return "" }, // it may have written until then
			}
		}, ""},
		"a writer that was known is followed by another": {func(end func()) []func() string {
			return []func() string{func() string { end(); return key }, func() string { return key }}
		}, "something still writes to this etcd: key " + key},
		"a stranger": {func(end func()) []func() string {
			end()
			return []func() string{func() string { return key }}
		}, "something still writes to this etcd: key " + key},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			s := &scripted{member: controlplane.Member{Name: "m"}}
			s.watches = c.script(func() { close(ended) })
			r := restore.NewRun(site.Deps{}, s, restore.Config{Target: site.Target{Plane: controlplane.ControlPlane{Members: []controlplane.Member{s.member}}}}, &plan.Operation{}, &site.Shared{Bump: 100})
			err := (&way{Run: r}).silent(t.Context(), ended)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if len(s.watches) > 0 {
				t.Errorf("%d more watches were due", len(s.watches))
			}
		})
	}
}
