//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestRestoreLongProbe: the snapshot was taken under a NOSPACE alarm, and the kubelet ends an etcd that has one: its liveness
// probe asks /health, as kubeadm's did for years. The alarm is gone before that, cold and hot.
func TestRestoreLongProbe(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{})
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"kube-etcd",
		"livenessProbe":{"httpGet":{"path":"/health","port":2381,"scheme":"HTTP"},"initialDelaySeconds":10,"periodSeconds":10,"failureThreshold":3,"timeoutSeconds":5}}]}}}}`)
	u.ready(t)
	w := u.write(t)
	w.writes(t, 20)
	u.alarm(t, pb.AlarmRequest_ACTIVATE)
	taken := u.backup(t)
	u.alarm(t, pb.AlarmRequest_DEACTIVATE)
	w.writes(t, 20)
	before := u.state(t)
	for _, how := range [][]string{nil, {"--hot"}} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			began := time.Now()
			r := u.c.etcd(t, append([]string{"restore", u.target(), "--from", taken.file, "--yes", "-v"}, how...)...)
			t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
			r.exits(0).says(`member kube-etcd-\d: disarmed 1 NOSPACE alarms, .*`).says(`warning: the snapshot was taken under a NOSPACE alarm, and the liveness probe of container kube-etcd fails .* ends etcd 30s after its start.*`)
			u.restoredSince(t, w, began, taken, before)
			if events := u.kubectl(t, "get", "events"); strings.Contains(events, "failed liveness probe") {
				t.Errorf("a kubelet has ended etcd: %s", events)
			}
		})
	}
}

// alarm raises a NOSPACE alarm of the first member, or takes it back.
func (u *user) alarm(t testing.TB, action pb.AlarmRequest_AlarmAction) {
	t.Helper()
	c := u.etcd(t)
	eventually(t, time.Minute, fmt.Sprintf("%s NOSPACE", action), func() error {
		list, err := c.MemberList(t.Context())
		if err != nil {
			return err
		}
		_, err = pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(t.Context(), &pb.AlarmRequest{Action: action, MemberID: list.Members[0].ID, Alarm: pb.AlarmType_NOSPACE})
		return err
	})
}
