//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// user is a user cluster hosted here: three members of etcd with their volumes, three API servers with their budget, what
// compacts and defragments, and a controller manager, all real. It goes with the test.
//
// On two cores it is ready after 18 s (one member and one API server: 9 s) and gone after 11 s. It takes 1.4 GiB of memory
// (0.5 GiB): each API server 320 MiB, the controller manager 140 MiB, each member 50 MiB and as much again as its database
// is large. fill takes 55 s for 512 MiB on three members. The admin cluster of four nodes takes 70 s to make.
type user struct {
	*hosted               // its etcd, which is called kube-etcd
	APIServers int        // replicas of kube-apiserver
	History    bool       // see userOptions
	FillLive   bool       // what fill writes stays, and is no history
	AccessMode string     // see userOptions
	Kubernetes string     // version
	PKI        userPKI    // of its API servers
	Volumes    []string   // the node of each member
	nodes      []hostNode // where pods run
	kubeconfig string     // of the user cluster's administrator, through the Service
}

// userOptions are what tests vary. Zero fields get defaults.
type userOptions struct {
	Namespace  string // the user cluster's name; a new one
	Members    int    // 3
	APIServers int    // as many as members
	Tag        string // of etcd's image: the main cluster's
	// History keeps what fill writes: nothing compacts. Without it, only the last 500 revisions are kept.
	History bool
	// Disk gives each member's volume a file system of its own of this size (in memory), such as "600m": one that can be
	// full without the node being so.
	Disk string
	// AccessMode is the volumes': ReadWriteOnce.
	AccessMode string
}

// hostNode is a node of the admin cluster.
type hostNode struct{ name, ip string }

// usersHome makes a cluster with three workers, or borrows the developer's.
func usersHome(t testing.TB) *cluster { return clusters.get(t, userKind) }

// userCluster makes one and waits until its API answers.
func userCluster(t testing.TB, c *cluster, o userOptions) *user {
	t.Helper()
	start := time.Now()
	u := &user{hosted: &hosted{c: c, Namespace: o.Namespace, Members: o.Members, Image: image(o.Tag)}, APIServers: o.APIServers, History: o.History, AccessMode: cmp.Or(o.AccessMode, "ReadWriteOnce")}
	if u.Members == 0 {
		u.Members = 3
	}
	if u.APIServers == 0 {
		u.APIServers = u.Members
	}
	if o.Tag == "" {
		u.Image = image(mainKind.tag)
	}
	u.defaults()
	u.nodes, u.Kubernetes = c.workers(t)
	for i := range u.Members {
		u.Volumes = append(u.Volumes, u.nodes[i%len(u.nodes)].name)
	}
	ips := u.addresses(t)
	u.Certs, u.PKI = makeEtcdPKI(t, u.names(), ips), makeUserPKI(t, u.serverNames(), ips)
	t.Cleanup(func() { u.remove(t) })
	for i, node := range u.Volumes {
		c.inNode(t, node, fmt.Sprintf("mkdir -p %s && mkdir -m 700 %[1]s/%d", u.Folder(), i))
		if o.Disk != "" {
			c.inNode(t, node, fmt.Sprintf("mount -t tmpfs -o mode=700,size=%s tmpfs %s/%d", o.Disk, u.Folder(), i))
		}
	}
	u.apply(t, "user.yaml")
	u.ready(t)
	u.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(u.kubeconfig, u.PKI.kubeconfig(t, u.address(t, "kube-apiserver"), u.PKI.Admin), 0o600); err != nil {
		t.Fatal(err)
	}
	u.answers(t)
	t.Logf("user cluster %s: %.0f s", u.Namespace, time.Since(start).Seconds())
	return u
}

// workers are the nodes that take pods, and the version of Kubernetes whose images are there.
func (c *cluster) workers(t testing.TB) (out []hostNode, version string) {
	t.Helper()
	var list corev1.NodeList
	if err := json.Unmarshal([]byte(c.kubectl(t, "get", "nodes", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		if len(n.Spec.Taints) > 0 || n.Spec.Unschedulable {
			continue
		}
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				out, version = append(out, hostNode{n.Name, a.Address}), n.Status.NodeInfo.KubeletVersion
				break
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("no node of %s takes pods", c.full)
	}
	return out, version
}

func (u *user) serverNames() []string {
	out := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	for _, end := range []string{"", "." + u.Namespace, "." + u.Namespace + ".svc", "." + u.Namespace + ".svc.cluster.local"} {
		out = append(out, "kube-apiserver"+end)
	}
	return out
}

// addresses are those by which etcd and API servers are reached, from wherever.
func (u *user) addresses(t testing.TB) []net.IP {
	t.Helper()
	out := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 250, 0, 1), net.ParseIP(u.c.nodeIP(t))}
	for _, n := range u.nodes {
		out = append(out, net.ParseIP(n.ip))
	}
	return out
}

// What the manifest asks for, besides the fields.

func (u *user) Folder() string { return "/var/lib/kubectl-etcd-e2e/" + u.Namespace }
func (u *user) EtcdSecret() string {
	return fmt.Sprintf("kube-etcd-certs-%.4x", sha256.Sum256(u.Certs.CA))
}
func (u *user) Servers() (out []string) {
	for i := range u.APIServers {
		out = append(out, fmt.Sprintf("kube-apiserver-%d", i))
	}
	return out
}

// EtcdServers are all members' client URLs.
func (u *user) EtcdServers() string {
	var out []string
	for i := range u.Members {
		out = append(out, fmt.Sprintf("https://%s.kube-etcd:2379", u.pod(i)))
	}
	return strings.Join(out, ",")
}

// ShellImage has etcd's client and a shell, whatever the members run.
func (u *user) ShellImage() string { return strings.TrimSuffix(u.Image, "-sh") + "-sh" }

// Pause is between two rounds of maintenance, in seconds. A large database is blocked for seconds in each.
func (u *user) Pause() int {
	if u.History {
		return 600
	}
	return 10
}

// Kept is how many revisions maintenance leaves. With several API servers they are more: until the last of them serves, and
// is asked what there was at the restored revision, the first has taken writes for a while.
func (u *user) Kept() int {
	if u.APIServers > 1 {
		return 5000
	}
	return 500
}

// apply makes what a file in testdata says of this user cluster.
func (u *user) apply(t testing.TB, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template.Must(template.New(file).Funcs(template.FuncMap{
		"b64":     base64.StdEncoding.EncodeToString,
		"manager": func() []byte { return u.PKI.kubeconfig(t, "https://kube-apiserver:6443", u.PKI.Manager) },
	}).Parse(string(text)))
	var b bytes.Buffer
	if err := tmpl.Execute(&b, u); err != nil {
		t.Fatal(err)
	}
	u.c.apply(t, b.String())
}

// ready waits until every pod of the control plane is. One kubectl watches all of it: two cores have better things to do
// than to start many.
func (u *user) ready(t testing.TB) {
	t.Helper()
	_, err := u.c.tryKubectl(t, nil, "-n", u.Namespace, "rollout", "status", "--timeout=4m", "statefulset/kube-etcd", "statefulset/kube-apiserver",
		"deployment/kube-controller-manager", "deployment/gke-master-etcd-maintenance")
	if err != nil {
		t.Fatalf("control plane not ready: %v\n%s", err, u.kubectl(t, "get", "pods,events", "-o", "wide"))
	}
}

// answers waits until the user cluster's API does, where its users reach it.
func (u *user) answers(t testing.TB) {
	t.Helper()
	eventually(t, 2*time.Minute, "the user cluster's API answers", func() error {
		out, err := u.api(t, "get", "--raw", "/readyz", "--request-timeout=5s")
		if err == nil && out != "ok" {
			err = errors.New(out)
		}
		return err
	})
}

// api runs kubectl as the user cluster's administrator.
func (u *user) api(t testing.TB, args ...string) (string, error) {
	return output(testContext(t), nil, "kubectl", append([]string{"--kubeconfig", u.kubeconfig}, args...)...)
}

// address is where a machine outside of the admin cluster reaches one of the Services.
func (u *user) address(t testing.TB, service string) string {
	t.Helper()
	port := u.kubectl(t, "get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}")
	return "https://" + net.JoinHostPort(u.c.nodeIP(t), port)
}

// client is for the user cluster's API, through all API servers or (as "kube-apiserver-1") one of them.
func (u *user) client(t testing.TB, service string) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", u.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if service != "kube-apiserver" {
		cfg.Host = u.address(t, service)
	}
	cfg.QPS = -1 // the pace is the test's
	return cfg
}

// remove deletes it with its data. The nodes' folders go last: a member would write them anew.
func (u *user) remove(t testing.TB) {
	if os.Getenv("KEEP") == "user" { // to look at
		return
	}
	u.c.kubectl(t, "delete", "namespace", u.Namespace, "--ignore-not-found", "--wait=false")
	// An API server with watchers takes all of its 30 s to end, which nobody needs here.
	u.kubectl(t, "delete", "pods", "--all", "--grace-period=1", "--timeout=2m")
	u.c.kubectl(t, "wait", "--for=delete", "namespace/"+u.Namespace, "--timeout=2m")
	u.c.kubectl(t, "delete", "persistentvolume", "-l", "kubectl-etcd-e2e="+u.Namespace, "--ignore-not-found", "--timeout=1m")
	for _, n := range u.nodes {
		u.c.inNode(t, n.name, fmt.Sprintf("for d in %s/*; do if mountpoint -q $d; then umount $d; fi; done; rm -rf %[1]s", u.Folder()))
	}
}
