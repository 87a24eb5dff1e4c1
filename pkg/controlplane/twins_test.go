package controlplane

import (
	"strings"
	"testing"
)

const twin = `apiVersion: v1
kind: Pod
metadata:
  name: NAME-0
  namespace: twins
  uid: u-NAME
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: NAME, uid: s-NAME, controller: true}]
spec:
  containers:
  - name: etcd
    image: quay.io/coreos/etcd:v3.5.9
    command: [etcd, --name=etcd, --data-dir=/data, "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://NAME:2379", "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=etcd=http://127.0.0.1:2380"]
status: {phase: Running, podIP: 10.0.0.1}
`

// TestTwins: two etcds of one member each, which call themselves alike and name their peers by the loopback, are two.
func TestTwins(t *testing.T) {
	a, client := serve(t, "kubeception")
	a.Add(t, strings.ReplaceAll(twin, "NAME", "main")+"---\n"+strings.ReplaceAll(twin, "NAME", "events"))
	planes := find(t, client, "twins")
	if len(planes) != 2 || len(planes[0].Members) != 1 || len(planes[1].Members) != 1 {
		t.Errorf("\n%s", summary(planes))
	}
}
