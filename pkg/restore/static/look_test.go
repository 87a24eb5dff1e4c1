package static

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// member is one whose etcd has been restarted that often, the last time so long ago.
func member(restarts int32, ended time.Duration, now time.Time) controlplane.Member {
	status := corev1.ContainerStatus{Name: "etcd", RestartCount: restarts}
	if restarts > 0 {
		status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(now.Add(-ended))}
	}
	return controlplane.Member{Name: "n", Pod: "etcd-n", Container: "etcd", Object: &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}}
}

// TestBackoff: a kubelet's patience is told, and waited for.
func TestBackoff(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		member controlplane.Member
		want   time.Duration
	}{
		"never":           {member(0, 0, now), 0},
		"just now":        {member(1, time.Minute, now), 10 * time.Second},
		"long ago":        {member(3, time.Hour, now), 0},
		"three times":     {member(3, time.Minute, now), 40 * time.Second},
		"again and again": {member(50, time.Minute, now), 5 * time.Minute},
	} {
		p := controlplane.ControlPlane{Members: []controlplane.Member{member(0, 0, now), c.member, member(0, 0, now)}}
		if got := aloneFor(p, now); got != 2*(45*time.Second+c.want)+14*time.Second {
			t.Errorf("%s: %s", name, got)
		}
		if notes := restarted(p, now); (len(notes) == 1) != (c.want > 0) {
			t.Errorf("%s: %q", name, notes)
		}
	}
}

// TestRefused: what could not be exchanged is refused before anything is made, with what is to be mended.
func TestRefused(t *testing.T) {
	t.Parallel()
	host := controlplane.VolumeRef{Kind: "hostPath", Source: []string{"/var/lib/etcd-restored"}, MountPath: "/var/lib/etcd"}
	for name, c := range map[string]struct {
		member controlplane.Member
		want   string
	}{
		"as kubeadm makes it":      {controlplane.Member{Pod: "p", DataVolume: &host, Settings: controlplane.Settings{DataDir: "/var/lib/etcd"}}, ""},
		"the flag alone is edited": {controlplane.Member{Pod: "p", Mounts: []controlplane.VolumeRef{host}, Settings: controlplane.Settings{DataDir: "/var/lib/etcd-restored"}}, "keeps its data in /var/lib/etcd-restored (--data-dir), which is in none of its volumes (/var/lib/etcd-restored at /var/lib/etcd)"},
		"its log is elsewhere":     {controlplane.Member{Pod: "p", DataVolume: &host, Settings: controlplane.Settings{DataDir: "/var/lib/etcd", WALDir: "/wal"}}, "write-ahead log elsewhere (/wal)"},
		"it has no pod":            {controlplane.Member{DataVolume: &host}, "has no pod"},
	} {
		err := restorable(controlplane.ControlPlane{}, c.member)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plane := controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd", Owner: controlplane.Owner{Kind: "StaticPod", Name: "etcd"}}
	for flag, cfg := range map[string]restore.Config{
		"": {}, "--member": {Members: []string{"0"}}, "--skip-member": {Skip: []string{"0"}}, "--writer": {Writers: []string{"a/b"}}, "--discard-old-data": {DiscardOld: true},
		"--recreate-statefulset": {Recreate: true}, "--operator-stopped": {OperatorStopped: true}, "--keep-budgets": {KeepBudgets: true}, "--not-writer": {NotWriters: []string{"a/b"}},
	} {
		cfg.Target = site.Target{Plane: plane}
		err := New(restore.NewRun(site.Deps{}, nil, cfg, nil, nil)).Possible()
		if flag == "" && err != nil || flag != "" && (err == nil || !strings.Contains(err.Error(), flag+" is for the etcd of a hosted control plane")) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if notes := elsewhere([]controlplane.APIServer{{Overrides: []controlplane.Override{{Resource: "/events", Servers: []string{"https://a"}}}}, {Overrides: []controlplane.Override{{Resource: "/events", Servers: []string{"https://a"}}}}}); len(notes) != 1 || !strings.Contains(notes[0], "/events are kept in another etcd (https://a)") {
		t.Errorf("%q", notes)
	}
}
