package reach

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// TestStagePod guards the one pod that can write: only the member's data, and by nobody but the member's user.
func TestStagePod(t *testing.T) {
	t.Parallel()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kubectl-etcd-x", UID: "uid-1"}}
	o := Options{Operation: "restore", OperationID: "20260102-abc", Lifetime: time.Hour, Data: true, stage: true}
	pod := utilityPod("kubectl-etcd-x", cm, hosted(), o)
	got, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "pod-stage.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the pod is now\n%s(UPDATE_GOLDEN=1 accepts it)", got)
	}
	// But for that one mount it is like every other utility pod.
	other := pod.DeepCopy()
	for i, m := range other.Spec.Containers[0].VolumeMounts {
		if m.MountPath == "/data" && !m.ReadOnly {
			other.Spec.Containers[0].VolumeMounts[i].ReadOnly = true
		}
	}
	safe(t, "stage", other)
}

// TestHotPod: only a hot restore's pod sees the node's processes, and that is all that it may do more.
func TestHotPod(t *testing.T) {
	t.Parallel()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kubectl-etcd-x", UID: "uid-1"}}
	o := Options{Operation: "restore", OperationID: "20260102-abc", Lifetime: time.Hour, Data: true, stage: true}
	cold := utilityPod("kubectl-etcd-x", cm, hosted(), o)
	o.HostPID = true
	hot := utilityPod("kubectl-etcd-x", cm, hosted(), o)
	if cold.Spec.HostPID || !hot.Spec.HostPID {
		t.Errorf("hostPID: %t, %t", cold.Spec.HostPID, hot.Spec.HostPID)
	}
	if hot.Spec.HostPID = false; !equality.Semantic.DeepEqual(cold, hot) {
		t.Errorf("more differs: %+v", hot)
	}
	o.stage = false
	if utilityPod("kubectl-etcd-x", cm, hosted(), o).Spec.HostPID {
		t.Error("a pod that only reads sees the node's processes")
	}
}

func TestStageMounts(t *testing.T) {
	t.Parallel()
	wal := hosted()
	volume := hostPath("log", "/wal", corev1.HostPathDirectory)
	wal.WALVolume, wal.WALDir = &volume, "/wal/etcd"
	together := hosted() // data and TLS files in one mount
	together.TLSVolumes = append(together.TLSVolumes, *together.DataVolume)
	together.ClientTLS.CA = "/data/ca.crt"
	for name, c := range map[string]struct {
		m    controlplane.Member
		want string
	}{
		"hosted":       {hosted(), "/data rw, /tls ro"},
		"kubeadm":      {kubeadm(), "/var/lib/etcd rw, /etc/kubernetes/pki/etcd ro"},
		"separate log": {wal, "/data rw, /wal ro, /tls ro"},
		"together":     {together, "/data rw, /tls ro"},
	} {
		var got []string
		for _, m := range memberMounts(c.m, Options{Data: true, stage: true}).mounts {
			got = append(got, m.MountPath+" "+map[bool]string{true: "ro", false: "rw"}[m.ReadOnly])
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOpenStageRefuses(t *testing.T) {
	t.Parallel()
	noNode, log := kubeadm(), hosted()
	noNode.Node = ""
	empty := hostPath("log", "/wal", corev1.HostPathDirectory)
	empty.Kind = "emptyDir"
	log.WALVolume = &empty
	inContainer := hosted()
	inContainer.DataVolume = nil
	for name, c := range map[string]struct {
		m    controlplane.Member
		op   string
		want string
	}{
		"no operation":          {hosted(), "", "no operation id"},
		"a path":                {hosted(), "../x", "no operation id"},
		"on no node":            {noNode, "op", "on no node"},
		"log in an emptyDir":    {log, "op", "log directory"},
		"data in the container": {inContainer, "op", "in no volume"},
	} {
		if _, err := OpenStage(t.Context(), nil, c.m, Options{OperationID: c.op}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusedCode(t *testing.T) {
	t.Parallel()
	if got := Refused(fmt.Errorf("wrapped: %w", frame.Errorf(agentapi.CodeLocked, "x"))); got != agentapi.CodeLocked {
		t.Errorf("%q", got)
	}
	if got := Refused(errors.New("x")); got != "" {
		t.Errorf("%q", got)
	}
}
