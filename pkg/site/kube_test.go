package site

import (
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestBackoff(t *testing.T) {
	waiting := func(name, reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	got := backoff([]corev1.ContainerStatus{
		{Name: "runs"}, waiting("starts", "PodInitializing", "back-off 10s restarting failed container"),
		waiting("a", "CrashLoopBackOff", "back-off 10s restarting failed container=a pod=b"),
		waiting("etcd", "CrashLoopBackOff", "back-off 40s restarting failed container=etcd pod=kube-etcd-0_x(y)"),
		waiting("b", "CrashLoopBackOff", "other words"),
	})
	if want := map[string]time.Duration{"a": 10 * time.Second, "etcd": 40 * time.Second, "b": 5 * time.Minute}; !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}
