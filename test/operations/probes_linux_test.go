package operations

import (
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestRelieve: a NOSPACE alarm goes as soon as a majority is up, and does not wait for the last member, which learns of it.
func TestRelieve(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	raise := pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 0xbad, Alarm: pb.AlarmType_NOSPACE}
	alarms := func(r *pb.AlarmRequest) int {
		t.Helper()
		all, err := pb.NewMaintenanceClient(w.etcd.Members[0].Client(t).ActiveConnection()).Alarm(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return len(all.Alarms)
	}
	alarms(&raise)
	late := w.etcd.Members[2]
	late.Shutdown(t)
	c := w.client(-1)
	told := &heard{silent: silent{t}}
	r := restore.NewRun(site.Deps{Report: told}, c, restore.Config{Target: site.Target{Plane: w.plane()}}, &plan.Operation{ID: "op1"}, &site.Shared{ClusterID: w.before.Cluster})
	relieve := func() {
		t.Helper()
		s, err := c.Survey(t.Context(), w.plane(), false)
		if err != nil {
			t.Fatal(err)
		}
		r.Relieve(t.Context(), w.plane(), s)
	}
	get := pb.AlarmRequest{Action: pb.AlarmRequest_GET}
	r.Shared.ClusterID = "another"
	if relieve(); alarms(&get) != 1 {
		t.Error("another cluster's alarm was disarmed")
	}
	r.Shared.ClusterID = w.before.Cluster
	if relieve(); alarms(&get) != 0 || len(told.steps) != 1 {
		t.Errorf("the alarm is still there, or nobody was told: %q", told.steps)
	}
	late.Start(t)
	late.Wait(t)
	w.etcd.Put(t, "/registry/writes", "again")
	alarms(&raise)
	if relieve(); alarms(&get) != 1 {
		t.Error("what cannot be mended is tried again and again")
	}
}

// heard notes what a user is told.
type heard struct {
	silent
	steps []string
}

func (h *heard) Step(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}
