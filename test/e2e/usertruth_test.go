//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// versions are the ConfigMaps of the applications' namespace: resource versions by name.
type versions map[string]string

// truth is what etcd holds, asked past every API server: their answers may come from caches that are what is in doubt.
func (u *user) truth(t testing.TB) versions {
	t.Helper()
	var out versions
	c := u.etcd(t)
	eventually(t, time.Minute, "etcd lists the objects", func() (err error) {
		out, err = truth(t.Context(), c)
		return err
	})
	return out
}

func truth(ctx context.Context, c *clientv3.Client) (versions, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	prefix := "/registry/configmaps/" + applications + "/"
	r, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	out := versions{}
	for _, kv := range r.Kvs {
		out[strings.TrimPrefix(string(kv.Key), prefix)] = strconv.FormatInt(kv.ModRevision, 10)
	}
	return out, nil
}

// within says what v has that is not in other.
func (v versions) within(other versions) error {
	var errs []string
	for name, version := range v {
		if o, ok := other[name]; !ok {
			errs = append(errs, name+" is missing there")
		} else if o != version {
			errs = append(errs, fmt.Sprintf("%s has version %s, there %s", name, version, o))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d differ, as %q", len(errs), len(v), errs[:min(3, len(errs))])
	}
	return nil
}

// agrees waits until what is seen somewhere lies between what etcd held just before and what it holds just after.
// Applications only create, so without a restore in that moment this is exact.
func (u *user) agrees(t testing.TB, limit time.Duration, what string, seen func(context.Context) (versions, error)) {
	t.Helper()
	c := u.etcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	eventually(t, limit, what+" is what etcd holds", func() error { return agreed(ctx, c, seen) })
}

func agreed(ctx context.Context, c *clientv3.Client, seen func(context.Context) (versions, error)) error {
	before, err := truth(ctx, c)
	if err != nil {
		return err
	}
	view, err := seen(ctx)
	if err != nil {
		return err
	}
	after, err := truth(ctx, c)
	if err != nil {
		return err
	}
	if err := before.within(view); err != nil {
		return fmt.Errorf("etcd's in its view: %w", err)
	}
	if err := view.within(after); err != nil {
		return fmt.Errorf("its view in etcd: %w", err)
	}
	return nil
}

// serversAgree waits until each API server, by itself, answers with what etcd holds: fresh, and from its cache.
func (u *user) serversAgree(t testing.TB, limit time.Duration) {
	t.Helper()
	for _, server := range u.Servers() {
		cfg := u.client(t, server)
		cfg.Timeout = 10 * time.Second
		client, err := corev1client.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for what, version := range map[string]string{"a fresh list of ": "", "the cache of ": "0"} {
			u.agrees(t, limit, what+server, func(ctx context.Context) (versions, error) {
				list, err := client.ConfigMaps(applications).List(ctx, metav1.ListOptions{ResourceVersion: version})
				if err != nil {
					return nil, err
				}
				out := versions{}
				for _, o := range list.Items {
					out[o.Name] = o.ResourceVersion
				}
				return out, nil
			})
		}
	}
}
