package restore

import (
	"context"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// relieve disarms NOSPACE alarms that came with the snapshot while some members are still on their way: a majority can.
// Otherwise a kubelet whose probe asks for alarms would end the others for it meanwhile. It tries once; what it cannot do
// has its own step, when all are there.
func (r *run) relieve(ctx context.Context, p controlplane.ControlPlane, s *survey.Survey) {
	for _, m := range s.Members {
		if r.relieved || m.Source == nil || !m.Healthy || m.Learner || m.Status.ClusterID.String() != r.sh.ClusterID || !full(m.Status.Errors) {
			continue
		}
		r.relieved = true
		r.follow(p)
		st, err := r.asker(ctx, m.Source.Name)
		if err != nil {
			return
		}
		if did, err := st.Disarm(ctx, false); err == nil && did.Disarmed > 0 {
			r.d.Report.Step("member %s: disarmed %d NOSPACE alarms, %d bytes freed", m.Source.Name, did.Disarmed, did.Freed)
		}
	}
}

// full tells whether a member says of itself that there is a NOSPACE alarm.
func full(errors []string) bool {
	return slices.ContainsFunc(errors, func(e string) bool { return strings.Contains(e, "NOSPACE") })
}
