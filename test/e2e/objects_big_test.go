//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// TestBigObjects brings a namespace of 20,000 objects back, and takes them away again.
func TestBigObjects(t *testing.T) {
	c := clusters.get(t, mainKind)
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	k := kubernetes.NewForConfigOrDie(cfg).CoreV1()
	const ns, many = "big-objects", 20000
	c.kubectl(t, "create", "namespace", ns)
	t.Cleanup(func() { c.kubectl(t, "delete", "namespace", ns, "--ignore-not-found", "--timeout=5m") })
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i := range many {
		g.Go(func() error {
			_, err := k.ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("order-%d", i)}, Data: map[string]string{"item": "book", "number": fmt.Sprint(i)}}, metav1.CreateOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	r := c.etcd(t, "backup", "--to", "a.db").exits(0)
	snapshot := filepath.Join(r.dir, "a.db")
	c.kubectl(t, "delete", "namespace", ns, "--timeout=10m")
	programs := filepath.Join(testbed, "bin", "etcd-"+minor(mainKind.tag))
	restore := func(more ...string) *result {
		r := c.etcd(t, append([]string{"restore", "objects", "--from", snapshot, "-n", ns, "--etcd", programs + "/etcd", "--etcdutl", programs + "/etcdutl", "--journal", "j.json"}, more...)...).exits(0)
		t.Logf("%v: %.1f s", more, r.took.Seconds())
		return r
	}
	count := func() int {
		list, err := k.ConfigMaps(ns).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, m := range list.Items {
			if regexp.MustCompile(`^order-\d+$`).MatchString(m.Name) && m.Data["item"] == "book" {
				n++
			}
		}
		return n
	}
	r = restore("--yes").says(`(?s).*20\d\d\d created, 0 overwritten.*`)
	if n := count(); n != many {
		t.Errorf("%d objects are back, want %d", n, many)
	}
	restore("--dry-run=client").prints(`(?s).*there +configmaps/order-0 +big-objects.*`)
	restore("--yes").says(`(?s).*nothing to do.*`)
	undone := c.etcd(t, "restore", "objects", "undo", filepath.Join(r.dir, "j.json"), "--yes").exits(0).says(`(?s).*20\d\d\d deleted.*`)
	t.Logf("undo: %.1f s", undone.took.Seconds())
	if n := count(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}
