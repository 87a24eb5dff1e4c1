package restore

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestBackoff(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	for want, containers := range map[time.Duration][]corev1.ContainerStatus{
		0:                {{}, waiting("PodInitializing", "back-off 10s restarting failed container")},
		40 * time.Second: {waiting("CrashLoopBackOff", "back-off 10s restarting failed container=a pod=b"), waiting("CrashLoopBackOff", "back-off 40s restarting failed container=etcd pod=kube-etcd-0_x(y)")},
		5 * time.Minute:  {waiting("CrashLoopBackOff", "other words")},
	} {
		if got := backoff(containers); got != want {
			t.Errorf("%v, not %v", got, want)
		}
	}
}

func TestUnserved(t *testing.T) {
	for _, c := range []struct {
		members, voted int
		want           bool
	}{{1, 0, true}, {1, 1, false}, {3, 1, true}, {3, 2, false}, {5, 2, true}, {5, 3, false}, {4, 2, true}, {4, 3, false}} {
		if got := unserved(c.members, c.voted); got != c.want {
			t.Errorf("%d of %d have voted: %t", c.voted, c.members, got)
		}
	}
}
