package static

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const folder = "/etc/kubernetes/manifests/"

// disk is a node's: what its files have, "-> FILE" is a link.
type disk map[string]string

func (d disk) List(_ context.Context, at string) (list []frame.File, _ error) {
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if name != at && !strings.HasPrefix(name, strings.TrimSuffix(at, "/")+"/") {
			continue
		}
		f := frame.File{Path: name, Size: int64(len(d[name]))}
		if link, ok := strings.CutPrefix(d[name], "-> "); ok {
			f.Mode, f.Link = fs.ModeSymlink, link
		}
		list = append(list, f)
	}
	return list, nil
}

func (d disk) Read(_ context.Context, f frame.File) ([]byte, error) { return []byte(d[f.Path]), nil }
func (d disk) Close(context.Context) error                          { return nil }

// mute is a cluster of which nothing can be read.
func mute(t *testing.T) *reach.Clients {
	t.Helper()
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	core, err := corev1client.NewForConfig(&restclient.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	return &reach.Clients{Core: core}
}

func manifestOf(namespace, name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec: {containers: [{name: a, image: b}]}\n", name, namespace)
}

// TestNodeFiles: of two manifests of one pod nobody can say which one runs next; whatever else lies there is no reason to refuse, and what is not
// known is told.
func TestNodeFiles(t *testing.T) {
	t.Parallel()
	etcd, server := manifestOf("kube-system", "etcd"), manifestOf("kube-system", "kube-apiserver")
	for name, c := range map[string]struct {
		more    disk // besides what kubeadm makes
		without string
		opens   error
		dry     bool
		refused string
		note    string
	}{
		"as kubeadm makes it": {},
		"a copy of etcd's": {more: disk{folder + "etcd.yaml.bak": etcd},
			refused: "node n1 has 2 manifests of pod kube-system/etcd (/etc/kubernetes/manifests/etcd.yaml, /etc/kubernetes/manifests/etcd.yaml.bak), and its kubelet runs one of them"},
		"in JSON":                {more: disk{folder + "a": `{"kind":"Pod","metadata":{"name":"etcd","namespace":"kube-system"}}`}, refused: "2 manifests of pod kube-system/etcd"},
		"through a link":         {more: disk{folder + "a": "-> etcd.yaml"}, refused: "2 manifests of pod kube-system/etcd"},
		"a link elsewhere":       {more: disk{folder + "a": "-> /root/a.yaml"}, note: "is not known: /etc/kubernetes/manifests/a leads to /root/a.yaml, elsewhere"},
		"a hidden one":           {more: disk{folder + ".etcd.yaml.swp": etcd}},
		"in a folder below":      {more: disk{folder + "old/etcd.yaml": etcd}},
		"two of somebody else's": {more: disk{folder + "a.yaml": manifestOf("kube-system", "proxy"), folder + "b.yaml": manifestOf("kube-system", "proxy")}},
		"of that name elsewhere": {more: disk{folder + "mine.yaml": manifestOf(`""`, "etcd")}},
		"what is no pod":         {more: disk{folder + "config": "kind: Other\nmetadata: {name: etcd, namespace: kube-system}", folder + "note": "{{"}},
		"another folder":         {without: folder + "etcd.yaml", note: "is not known: pod kube-system/etcd has no manifest in the folder that was read"},
		"no pod starts":          {opens: errors.New("no pod starts"), note: "whether node n1 has a second manifest of a pod of the control plane is not known: no pod starts"},
		"a dry run":              {more: disk{folder + "etcd.yaml.bak": etcd}, dry: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := disk{folder + "etcd.yaml": etcd, folder + "kube-apiserver.yaml": server}
			maps.Copy(d, c.more)
			delete(d, c.without)
			pod := func(name string) *corev1.Pod {
				return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name + "-n1"}, Spec: corev1.PodSpec{NodeName: "n1"}}
			}
			plane := controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd", Layout: controlplane.Kubeadm, Owner: controlplane.Owner{Kind: "StaticPod"}, Members: []controlplane.Member{{Object: pod("etcd")}}}
			r := newWay(restore.NewRun(site.Deps{Clients: mute(t), Report: &said{}}, nil, restore.Config{Target: site.Target{Plane: plane}, DryRun: c.dry}, nil, nil))
			opened := 0
			r.open = func(_ context.Context, beside *corev1.Pod, paths []reach.HostPath) (nodeReader, error) {
				opened++
				if beside.Spec.NodeName != "n1" || len(paths) != 1 || paths[0].Path+"/" != folder {
					t.Errorf("%s reads %v", beside.Name, paths)
				}
				return d, c.opens
			}
			sc := &restore.Scene{Encryption: map[string]string{}}
			err := r.nodeFiles(t.Context(), sc, &found{servers: []*corev1.Pod{pod("kube-apiserver")}})
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v", err)
			}
			if notes := strings.Join(sc.Notes, "|"); (notes != "") != (c.note != "") || !strings.Contains(notes, c.note) {
				t.Errorf("%q", notes)
			}
			if want := map[bool]int{false: 1}[c.dry]; opened != want {
				t.Errorf("%d pods were made", opened)
			}
		})
	}
}

// TestKeyFile: a key file that keeps the pod from starting does not keep the manifests from being read.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	d := disk{folder + "etcd.yaml": manifestOf("kube-system", "etcd"), "/srv/enc.yaml": "keys"}
	for _, bad := range []bool{false, true} {
		r := newWay(restore.NewRun(site.Deps{Clients: mute(t), Report: &said{}}, nil,
			restore.Config{Target: site.Target{Plane: controlplane.ControlPlane{Layout: controlplane.Kubeadm}}}, nil, nil))
		r.open = func(_ context.Context, _ *corev1.Pod, paths []reach.HostPath) (nodeReader, error) {
			if bad && len(paths) > 1 {
				return nil, errors.New("it is no file")
			}
			return d, nil
		}
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-n1"}, Spec: corev1.PodSpec{NodeName: "n1"}}
		n := &node{name: "n1", ours: []*corev1.Pod{p}, configs: map[string]string{"n1:/enc.yaml": "/srv/enc.yaml"}, manifests: map[string][]string{}, texts: map[string]string{}}
		if err := r.readNode(t.Context(), n); err != nil || n.complete() != nil || (n.texts["n1:/enc.yaml"] == "keys") == bad {
			t.Errorf("bad %t: %v, %+v", bad, err, n)
		}
	}
}

// TestHostFile: what an API server's flag names, as its node has it.
func TestHostFile(t *testing.T) {
	t.Parallel()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "kube-apiserver-n1"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "kube-apiserver", VolumeMounts: []corev1.VolumeMount{
			{Name: "enc", MountPath: "/etc/kubernetes/enc"}, {Name: "one", MountPath: "/config.yaml"}, {Name: "secret", MountPath: "/secret"}, {Name: "enc", MountPath: "/by-name", SubPathExpr: "$(NAME)"}}}},
		Volumes: []corev1.Volume{
			{Name: "enc", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/keys/"}}},
			{Name: "one", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/one.yaml"}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}}}
	n := &node{name: "n1", ours: []*corev1.Pod{p}}
	for file, want := range map[string]string{
		"/etc/kubernetes/enc/a/enc.yaml": "/srv/keys/a/enc.yaml", "/config.yaml": "/srv/one.yaml", "/secret/enc.yaml": "", "/elsewhere": "", "/by-name/enc.yaml": "",
	} {
		a := controlplane.APIServer{Pod: "kube-apiserver-n1", Container: "kube-apiserver", Encryption: file}
		if got := n.hostFile(a); got != want {
			t.Errorf("%s: %q", file, got)
		}
	}
}
