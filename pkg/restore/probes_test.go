package restore

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// TestProbed: a liveness probe that fails for the snapshot's alarm is told, with the time that it leaves.
func TestProbed(t *testing.T) {
	t.Parallel()
	get := func(path string, delay, period, threshold int32) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path}}, InitialDelaySeconds: delay, PeriodSeconds: period, FailureThreshold: threshold}
	}
	run := func(words ...string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: words}}}
	}
	for name, c := range map[string]struct {
		probe *corev1.Probe
		alarm string
		want  string // "": nothing
	}{
		"as kubeadm's was":       {get("/health", 10, 10, 3), "NOSPACE", "ends etcd 30s after its start"},
		"the defaults":           {get("/health", 0, 0, 0), "NOSPACE", "ends etcd 20s after its start"},
		"as kubeadm's was later": {get("/health?exclude=NOSPACE&serializable=true", 10, 10, 8), "NOSPACE", ""},
		"as kubeadm's is":        {get("/livez", 10, 10, 8), "NOSPACE", ""},
		"serializable only":      {get("/health?serializable=true", 0, 5, 2), "NOSPACE", "ends etcd 5s after its start"},
		"etcdctl":                {run("/bin/sh", "-ec", "etcdctl endpoint health --cacert=x"), "NOSPACE", "ends etcd 20s"},
		"another command":        {run("etcdctl", "get", "/registry"), "NOSPACE", ""},
		"none":                   {nil, "NOSPACE", ""},
		"no alarm":               {get("/health", 10, 10, 3), "", ""},
		"another alarm":          {get("/health", 10, 10, 3), "CORRUPT", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := &Scene{}
			sc.Pods.template.Spec.Containers = []corev1.Container{{Name: "sidecar", LivenessProbe: get("/health", 1, 1, 1)}, {Name: "etcd", LivenessProbe: c.probe}}
			r := &verify.Report{}
			if c.alarm != "" {
				r.Alarms = []verify.Alarm{{Type: c.alarm}}
			}
			got := sc.probed(controlplane.ControlPlane{Members: []controlplane.Member{{Container: "etcd"}}}, r)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("%q", got)
			}
		})
	}
}
