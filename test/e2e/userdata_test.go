//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// etcd is a client of the user cluster's etcd, through whichever members are ready.
func (u *user) etcd(t testing.TB) *clientv3.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(u.Certs.CA)
	certificate, err := tls.X509KeyPair(u.Certs.Cert, u.Certs.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{u.endpoint(t)}, TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}},
		DialTimeout: 20 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fillers is how many keys fill writes, side by side: members write what comes together to the disk at once.
const fillers = 64

// fill makes the database about this many bytes larger, nearly all of it history unless user.FillLive: the same few keys,
// written again and again with values that compress as objects do. Members keep the last 5,000 to 15,000 requests in
// memory, hence small ones.
func (u *user) fill(t testing.TB, size int) {
	t.Helper()
	if !u.History {
		t.Fatal("fill writes history, which maintenance compacts: make the user cluster with History")
	}
	fillEtcd(t, u.etcd(t), size, u.FillLive)
}

// fillEtcd does that to any etcd; with live, the values are of as many keys.
func fillEtcd(t testing.TB, c *clientv3.Client, size int, live bool) {
	t.Helper()
	const value = 32 << 10
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	errs := make([]error, fillers)
	var wg sync.WaitGroup
	for w := range fillers {
		wg.Go(func() {
			r := rand.New(rand.NewChaCha8([32]byte{byte(w)}))
			for i := 0; i < size/value/fillers && errs[w] == nil; i++ {
				key := fmt.Sprintf("/kubectl-etcd-e2e/fill/%d", w)
				if live {
					key += fmt.Sprintf("/%d/%d", time.Now().UnixNano(), i)
				}
				_, errs[w] = c.Put(ctx, key, string(etcdtest.Object(r, value)))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatalf("fill etcd: %v", err)
		}
	}
}

// etcdCount asks how many keys with a prefix there are, and for none of them.
var etcdCount = []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCountOnly()}

// writesPast waits until etcd's revision is beyond this one.
func (u *user) writesPast(t testing.TB, revision int64) {
	t.Helper()
	c := u.etcd(t)
	eventually(t, 2*time.Minute, fmt.Sprintf("revision %d", revision), func() error {
		r, err := c.Get(t.Context(), "/", etcdCount...)
		if err == nil && r.Header.Revision < revision {
			err = fmt.Errorf("it is %d", r.Header.Revision)
		}
		return err
	})
}

// state is what must be the same again after an undo, by kind and name: the specifications, labels and annotations of
// what runs the control plane, which volumes its claims have, and which objects there are that no controller made.
type state map[string]any

func (u *user) state(t testing.TB) state {
	t.Helper()
	var list unstructured.UnstructuredList
	out := u.kubectl(t, "get", "statefulsets,deployments,poddisruptionbudgets,persistentvolumeclaims,services,secrets,configmaps,leases,pods,jobs,serviceaccounts", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	s := state{}
	for _, o := range list.Items {
		name := o.GetKind() + "/" + o.GetName()
		switch o.GetKind() {
		case "StatefulSet", "Deployment", "PodDisruptionBudget", "Service":
			s[name] = map[string]any{"spec": o.Object["spec"], "labels": o.GetLabels(), "annotations": o.GetAnnotations(), "owners": o.GetOwnerReferences()}
		case "PersistentVolumeClaim":
			s[name] = map[string]any{"spec": o.Object["spec"], "uid": o.GetUID(), "deleted": o.GetDeletionTimestamp(), "owners": o.GetOwnerReferences()}
		case "Secret", "ConfigMap":
			s[name] = o.Object["data"]
		default: // pods that a StatefulSet or ReplicaSet makes are others each time
			if metav1.GetControllerOf(&o) == nil {
				s[name] = "is there"
			}
		}
	}
	return s
}

// unchanged waits until the state is as it was before, but for objects whose kind and name begin so.
func (u *user) unchanged(t testing.TB, before state, except ...string) {
	t.Helper()
	ignored := func(m state) state {
		out := state{}
		for name, v := range m {
			keep := true
			for _, prefix := range except {
				keep = keep && !strings.HasPrefix(name, prefix)
			}
			if keep {
				out[name] = v
			}
		}
		return out
	}
	eventually(t, 30*time.Second, "everything as before", func() error {
		if diff := cmp.Diff(ignored(before), ignored(u.state(t))); diff != "" {
			return fmt.Errorf("- before, + now:\n%s", diff)
		}
		return nil
	})
}
