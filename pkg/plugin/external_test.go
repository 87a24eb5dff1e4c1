package plugin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// lists is an API server with these pods and nodes, and nothing else.
type lists struct {
	pods  []corev1.Pod
	nodes []corev1.Node
}

func (l lists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var list any
	switch {
	case strings.HasSuffix(r.URL.Path, "/pods"):
		out := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		for _, p := range l.pods {
			if strings.Contains(r.URL.Path, "/namespaces/"+p.Namespace+"/") || r.URL.Path == "/api/v1/pods" {
				out.Items = append(out.Items, p)
			}
		}
		list = out
	case r.URL.Path == "/api/v1/nodes":
		list = corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}, Items: l.nodes}
	default:
		w.WriteHeader(http.StatusForbidden)
		list = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden}
	}
	_ = json.NewEncoder(w).Encode(list) // the client reports what it cannot read
}

func serverPod(namespace, name, node string, hostNetwork bool, containers ...corev1.Container) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "u"},
		Spec: corev1.PodSpec{NodeName: node, HostNetwork: hostNetwork, Containers: containers}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
}

func program(name string, argv ...string) corev1.Container {
	return corev1.Container{Name: name, Image: "registry.example.com/" + name + ":1", Command: argv}
}

// said is what a user reads on standard error, and shown what is on standard output.
func said(t *testing.T, l lists, args ...string) (said, shown string, code int) {
	t.Helper()
	srv := httptest.NewServer(l)
	defer srv.Close()
	var out, stderr bytes.Buffer
	code = Execute(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &stderr}, append(args, "--server", srv.URL))
	return stderr.String(), out.String(), code
}

// TestExternal: of an etcd that only a node or a pod itself can reach, it is said where it is and what runs it. Its
// address is not offered: on the machine that reads it, it would be another etcd.
func TestExternal(t *testing.T) {
	own := "--etcd-servers=https://127.0.0.1:4001"
	files := []string{"--etcd-cafile=/k/ca.crt", "--etcd-certfile=/k/c.crt", "--etcd-keyfile=/k/c.key"}
	api := serverPod("kube-system", "kube-apiserver-n1", "n1", true, program("kube-apiserver", append([]string{"kube-apiserver", own}, files...)...))
	manager := serverPod("kube-system", "etcd-manager-main-n1", "n1", true, program("etcd-manager", "sh", "-c", "exec /etcd-manager --backup-store=s3://state/main --client-urls=https://__name__:4001 --peer-urls=https://__name__:2380"))
	events := serverPod("kube-system", "etcd-manager-events-n1", "n1", true, program("etcd-manager", "/etcd-manager", "--backup-store=s3://state/events", "--client-urls=https://__name__:4002"))
	kine := serverPod("kube-system", "plane-0", "n2", false, program("kube-apiserver", "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379"),
		corev1.Container{Name: "db", Image: "registry.example.com/kine:1", Args: []string{"--endpoint=mysql://root:secret@tcp(db:3306)/x"}})
	socket := serverPod("kube-system", "plane-0", "n2", false, program("server", "sh", "-c", "kube-apiserver --etcd-servers=unix:///data/kine.sock & exec run"))
	far := serverPod("kube-system", "plane-0", "n2", true, program("kube-apiserver", "kube-apiserver", "--etcd-servers=https://127.0.0.1:2379,https://192.0.2.7:2379", "--etcd-cafile=/k/ca.crt"))
	node := func(version string, labels map[string]string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version}}}
	}
	etcdNode := map[string]string{"node-role.kubernetes.io/etcd": "true"}
	for name, c := range map[string]struct {
		lists
		says []string
	}{
		"a service of the node": {lists{pods: []corev1.Pod{api}}, []string{"error: reach etcd of kube-system/external-etcd: it is on node n1 itself, at port 4001 of its loopback address, where no pod runs it",
			"hint: run etcdctl snapshot save on that node, with the TLS files that the API server's container has (/k/ca.crt, /k/c.crt, /k/c.key)"}},
		"etcd-manager": {lists{pods: []corev1.Pod{events, api, manager}}, []string{"it is on node n1 itself, where etcd-manager runs it (pod etcd-manager-main-n1)",
			"hint: etcd-manager keeps backups in s3://state/main, which its etcd-manager-ctl lists and restores; or run etcdctl snapshot save on that node"}},
		"kine":           {lists{pods: []corev1.Pod{kine}}, []string{"there is none: kine stands in for it in pod plane-0 itself, with mysql behind it", "hint: back up that database with its own tools"}},
		"kine in itself": {lists{pods: []corev1.Pod{socket}}, []string{"there is none: kine stands in for it in pod plane-0 itself\n", "hint: back up that database"}},
		"one that can be reached": {lists{pods: []corev1.Pod{far}}, []string{"no pod runs it; its endpoints are https://192.0.2.7:2379\n",
			"hint: where they can be reached: kubectl etcd COMMAND --via direct --endpoint https://192.0.2.7:2379 --cacert CA --cert CERT --key KEY"}},
		"k3s":             {lists{nodes: []corev1.Node{node("v1.36.1+k3s1", etcdNode)}}, []string{"no etcd of this cluster found in kube-system or openshift-etcd: k3s has it in its own process, on node n1\n", "hint: run this on one of these nodes: k3s etcd-snapshot save\n"}},
		"k3s with sqlite": {lists{nodes: []corev1.Node{node("v1.36.1+k3s1", nil)}}, []string{"k3s keeps its data in a database that is no etcd\n", "hint: back that database up"}},
		"k0s":             {lists{nodes: []corev1.Node{node("v1.36.1+k0s", nil)}}, []string{"k0s has it in its own process\n", "k0s backup --save-path"}},
		"none at all":     {lists{nodes: []corev1.Node{node("v1.36.1", nil)}}, []string{"no etcd of this cluster found in kube-system or openshift-etcd\n"}},
	} {
		for _, args := range [][]string{{"backup"}, {"status"}, {"restore", "--from", "x.db", "--dry-run"}} {
			t.Run(name+"/"+args[0], func(t *testing.T) {
				got, _, code := said(t, c.lists, args...)
				if code == exitOK {
					t.Error("exit code 0")
				}
				for _, w := range c.says {
					command := "backup" // restore has no way to an etcd outside
					if args[0] == "status" {
						command = "status"
					}
					w = strings.ReplaceAll(w, "COMMAND", command)
					if !strings.Contains(got, w) {
						t.Errorf("it says\n%swhich lacks %q", got, w)
					}
				}
				for _, w := range []string{"127.0.0.1", "secret"} {
					if strings.Contains(got, w) {
						t.Errorf("it says %q:\n%s", w, got)
					}
				}
			})
		}
	}
}

func TestListExternal(t *testing.T) {
	api := serverPod("kube-system", "kube-apiserver-n1", "n1", true, program("kube-apiserver", "kube-apiserver", "--etcd-servers=https://127.0.0.1:4001"))
	said, shown, code := said(t, lists{pods: []corev1.Pod{api}}, "list", "-o", "wide")
	if code != exitOK || !strings.Contains(shown, "it is on node n1 itself, at port 4001 of its loopback address") {
		t.Errorf("code %d: %s\n%s", code, said, shown)
	}
}
