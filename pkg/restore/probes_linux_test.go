package restore

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
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
	told := &told{}
	r := &run{d: Deps{Report: told}, c: c, sh: &Shared{ClusterID: w.before.Cluster}, op: &plan.Operation{ID: "op1"}, cfg: Config{Plane: w.plane()}, stages: map[string]stage{}}
	relieve := func() {
		t.Helper()
		s, err := c.Survey(t.Context(), w.plane(), false)
		if err != nil {
			t.Fatal(err)
		}
		r.relieve(t.Context(), w.plane(), s)
	}
	get := pb.AlarmRequest{Action: pb.AlarmRequest_GET}
	r.sh.ClusterID = "another"
	if relieve(); alarms(&get) != 1 {
		t.Error("another cluster's alarm was disarmed")
	}
	r.sh.ClusterID = w.before.Cluster
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
