//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ownedMember is a member whose pod has an owner of its own, and that one an owner in turn.
const ownedMember = `apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: NS, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: db, uid: DB, controller: true}]}
`

const ownedPod = `apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: NS, labels: {app: db}, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: NAME, uid: UID, controller: true}]}
spec:
  hostname: NAME
  subdomain: peers
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - name: etcd
    image: IMAGE
    command: [etcd, --name=NAME, --data-dir=/data, "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://NAME.peers.NS.svc:2379",
      "--listen-peer-urls=http://0.0.0.0:2380", "--initial-advertise-peer-urls=http://NAME.peers.NS.svc:2380",
      "--initial-cluster=db-x7=http://db-x7.peers.NS.svc:2380,db-q2=http://db-q2.peers.NS.svc:2380"]
`

// TestDiscovery: what a cluster's pods are, as the API server tells it, and that those found are reached.
func TestDiscovery(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	ns := fmt.Sprintf("e2e-%06x", rand.Uint32()&0xffffff)
	in := strings.NewReplacer("NS", ns, "IMAGE", image(mainKind.tag))
	c.kubectl(t, "create", "namespace", ns)
	t.Cleanup(func() { c.kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	text, err := os.ReadFile(filepath.Join("testdata", "discovery.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, in.Replace(string(text)))
	uid := func(name string) string {
		return c.kubectl(t, "-n", ns, "get", "configmap", name, "-o", "jsonpath={.metadata.uid}")
	}
	c.kubectl(t, "-n", ns, "create", "configmap", "db")
	db := uid("db")
	for _, name := range []string{"db-x7", "db-q2"} {
		c.apply(t, in.Replace(strings.NewReplacer("NAME", name, "DB", db).Replace(ownedMember)))
		c.apply(t, in.Replace(strings.NewReplacer("NAME", name, "UID", uid(name)).Replace(ownedPod)))
	}
	c.kubectl(t, "-n", ns, "wait", "pod", "pair", "sidecar", "launched", "db-x7", "db-q2", "--for=condition=Ready", "--timeout=90s")
	c.kubectl(t, "-n", ns, "wait", "job", "fails", "--for=condition=Failed", "--timeout=60s")

	type plane struct {
		Name   string
		Owner  struct{ Kind, Name string }
		Beside []string
		Ready  int
		Notes  []string

		Members []struct{ Name, Pod, Container, DataDir string }
	}
	var list struct{ Items []plane }
	r := c.etcd(t, "list", "-n", ns, "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	var got []string
	for _, p := range list.Items {
		line := fmt.Sprintf("%s of %s/%s, %d ready, beside %v:", p.Name, p.Owner.Kind, p.Owner.Name, p.Ready, p.Beside)
		for _, m := range p.Members {
			line += fmt.Sprintf(" %s in %s/%s at %s", m.Name, m.Pod, m.Container, m.DataDir)
		}
		got = append(got, line)
	}
	want := []string{
		"db of ConfigMap/db, 2 ready, beside []: db-q2 in db-q2/etcd at /data db-x7 in db-x7/etcd at /data",
		"launched of Pod/launched, 1 ready, beside []: of-a-script in launched/store at /data/s",
		"pair of Pod/pair, 1 ready, beside [pair-events]: m in pair/pair at /data/main",
		"pair-events of Pod/pair, 1 ready, beside [pair]: m in pair/events at /data/events",
		"sidecar of Pod/sidecar, 1 ready, beside []: s in sidecar/etcd at /data/s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	put := func(pod, container, port string, n int) {
		for i := range n {
			eventually(t, 20*time.Second, "write a key", func() error {
				_, err := c.tryKubectl(t, nil, "-n", ns, "exec", pod, "-c", container, "--", "etcdctl", "--endpoints=http://127.0.0.1:"+port, "put", fmt.Sprint("/registry/x/", i), container)
				return err
			})
		}
	}
	put("pair", "pair", "2379", 1)
	put("pair", "events", "3379", 2)
	put("sidecar", "etcd", "2379", 3)
	var file string
	for i, name := range []string{"pair", "pair-events", "sidecar"} {
		file = filepath.Join(t.TempDir(), name+".db")
		r := c.etcd(t, "backup", ns+"/"+name, "--to", file, "-o", "jsonpath={.snapshot.liveKeys} {.snapshot.proof}")
		if want := fmt.Sprint(i+1, " full"); r.code != 0 || strings.TrimSpace(r.stdout) != want {
			t.Errorf("backup of %s: got %q, want %q: %s", name, r.stdout, want, r)
		}
	}
	// What is not to be restored says whose it is.
	for name, words := range map[string]string{"db": "run by ConfigMap db", "pair": "its members are run by Pod pair"} {
		if r := c.etcd(t, "restore", ns+"/"+name, "--from", file, "--dry-run"); r.code != 1 || !strings.Contains(r.stderr, words) || strings.Contains(r.stderr, "static pod") {
			t.Errorf("restore of %s: %s", name, r)
		}
	}
	c.nothingLeft(t, ns)
}
