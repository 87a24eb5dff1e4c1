package restore

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// probed tells that a kubelet ends etcd for an alarm that comes with the snapshot, and how soon.
func (sc *Scene) probed(p controlplane.ControlPlane, r *verify.Report) []string {
	if !slices.ContainsFunc(r.Alarms, func(a verify.Alarm) bool { return a.Type == "NOSPACE" }) {
		return nil
	}
	for _, c := range program.Containers(&sc.Pods.template.Spec) {
		if c.Name != p.Members[0].Container || !alarmed(c.LivenessProbe) {
			continue
		}
		return []string{fmt.Sprintf("the snapshot was taken under a NOSPACE alarm, and the liveness probe of container %s fails while there is one: its kubelet ends etcd %s after its start. The alarm is disarmed when a majority of the members is up; if their pods take longer than that, let the probe ask for /health?exclude=NOSPACE&serializable=true, and restore again",
			c.Name, patience(c.LivenessProbe))}
	}
	return nil
}

// alarmed tells whether a probe fails for a NOSPACE alarm: etcd's /health does, unless it is asked not to, and so does etcdctl.
func alarmed(p *corev1.Probe) bool {
	switch {
	case p == nil:
		return false
	case p.HTTPGet != nil:
		u, err := url.Parse(p.HTTPGet.Path)
		return err == nil && strings.TrimSuffix(u.Path, "/") == "/health" && !slices.Contains(u.Query()["exclude"], "NOSPACE")
	case p.Exec != nil:
		line := strings.Join(p.Exec.Command, " ")
		return strings.Contains(line, "etcdctl") && strings.Contains(line, "endpoint health")
	}
	return false
}

// patience is how long a container lives at least whose probe fails all the time. Zero fields have Kubernetes' defaults.
func patience(p *corev1.Probe) time.Duration {
	tries := cmp.Or(p.FailureThreshold, 3)
	return time.Duration(p.InitialDelaySeconds+(tries-1)*cmp.Or(p.PeriodSeconds, 10)) * time.Second
}

// Relieve disarms NOSPACE alarms that came with the snapshot while some members are still on their way: a majority can.
// Otherwise a kubelet whose probe asks for alarms would end the others for it meanwhile. It tries once; what it cannot do
// has its own step, when all are there.
func (r *Run) Relieve(ctx context.Context, p controlplane.ControlPlane, s *survey.Survey) {
	for _, m := range s.Members {
		if r.relieved || m.Source == nil || !m.Healthy || m.Learner || m.Status.ClusterID.String() != r.Shared.ClusterID || !full(m.Status.Errors) {
			continue
		}
		r.relieved = true
		r.Follow(p)
		st, err := r.Asker(ctx, m.Source.Name)
		if err != nil {
			return
		}
		if did, err := st.Disarm(ctx, false); err == nil && did.Disarmed > 0 {
			r.Deps.Report.Step("member %s: disarmed %d NOSPACE alarms, %d bytes freed", m.Source.Name, did.Disarmed, did.Freed)
		}
	}
}

// full tells whether a member says of itself that there is a NOSPACE alarm.
func full(errors []string) bool {
	return slices.ContainsFunc(errors, func(e string) bool { return strings.Contains(e, "NOSPACE") })
}
