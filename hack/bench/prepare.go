package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

type bench struct {
	s3                            string // of the gateway, on loopback
	node, kubeconfig, plugin, dir string
	rounds                        int
	kv                            pb.KVClient
	endpoint                      string
	filled                        int64
}

const pki = "/etc/kubernetes/pki/etcd"

func cpus() int { return runtime.NumCPU() }

// etcdctl is how an operator calls it in the member's container.
func (b *bench) etcdctl() []string {
	return []string{"-n", "kube-system", "exec", "etcd-" + b.node, "--", "etcdctl", "--endpoints=https://127.0.0.1:2379",
		"--cacert=" + pki + "/ca.crt", "--cert=" + pki + "/healthcheck-client.crt", "--key=" + pki + "/healthcheck-client.key"}
}

func (b *bench) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "KUBECONFIG="+b.kubeconfig, "AWS_ACCESS_KEY_ID="+storetest.AccessKey, "AWS_SECRET_ACCESS_KEY="+storetest.SecretKey, "AWS_EC2_METADATA_DISABLED=true")
	return c
}

func (b *bench) must(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := b.command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return out, nil
}

// prepare raises the quota (2 GiB of data need it), connects to etcd and makes
// the pod with tar that today's procedure copies through.
func (b *bench) prepare(ctx context.Context) error {
	const quota = `grep -q quota-backend /etc/kubernetes/manifests/etcd.yaml || sed -i 's|    - --snapshot-count|    - --quota-backend-bytes=8589934592\n    - --snapshot-count|' /etc/kubernetes/manifests/etcd.yaml`
	if _, err := b.must(ctx, "docker", "exec", b.node, "sh", "-c", quota); err != nil {
		return err
	}
	for _, f := range []string{"ca.crt", "healthcheck-client.crt", "healthcheck-client.key"} {
		if _, err := b.must(ctx, "docker", "cp", b.node+":"+pki+"/"+f, filepath.Join(b.dir, f)); err != nil {
			return err
		}
	}
	ip, err := b.must(ctx, "docker", "inspect", "-f", "{{.NetworkSettings.Networks.kind.IPAddress}}", b.node)
	if err != nil {
		return err
	}
	b.endpoint = "https://" + strings.TrimSpace(string(ip)) + ":2379"
	if err := b.connect(); err != nil {
		return err
	}
	if err := b.waitQuota(ctx); err != nil {
		return err
	}
	return b.tarPod(ctx)
}

func (b *bench) connect() error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(b.dir, "healthcheck-client.crt"), filepath.Join(b.dir, "healthcheck-client.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(b.dir, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conn, err := grpc.NewClient(strings.TrimPrefix(b.endpoint, "https://"), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: pool})))
	b.kv = pb.NewKVClient(conn)
	return err
}

// waitQuota waits until the kubelet has restarted etcd with the new flag.
func (b *bench) waitQuota(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		out, err := b.must(ctx, "kubectl", append(b.etcdctl(), "endpoint", "status", "-w", "json")...)
		if err == nil && bytes.Contains(out, []byte(`"dbSizeQuota":8589934592`)) {
			_, err = b.must(ctx, "kubectl", "get", "--raw", "/readyz")
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for etcd with the larger quota: %w; last seen: %s", ctx.Err(), out)
		case <-time.After(time.Second):
		}
	}
}

func (b *bench) tarPod(ctx context.Context) error {
	pod := map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "tar", "namespace": "kube-system"},
		"spec": map[string]any{
			"nodeName": b.node, "tolerations": []any{map[string]any{"operator": "Exists"}},
			"containers": []any{map[string]any{"name": "tar", "image": "busybox:1.35", "command": []string{"sleep", "864000"},
				"volumeMounts": []any{map[string]any{"name": "data", "mountPath": "/data"}}}},
			"volumes": []any{map[string]any{"name": "data", "hostPath": map[string]any{"path": "/var/lib/etcd"}}},
		},
	}
	j, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	apply := b.command(ctx, "kubectl", "apply", "-f", "-")
	apply.Stdin = bytes.NewReader(j)
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("make the pod with tar: %w: %s", err, out)
	}
	_, err = b.must(ctx, "kubectl", "-n", "kube-system", "wait", "--for=condition=Ready", "pod/tar", "--timeout=60s")
	return err
}

// fill writes objects that look like Kubernetes' until etcd holds size bytes.
// They are under a prefix that no API server watches: its caches are not what
// is measured.
func (b *bench) fill(ctx context.Context, size int64) error {
	fmt.Fprintf(os.Stderr, "filling to %d MiB\n", size>>20)
	for last := time.Now(); ; {
		out, err := b.must(ctx, "kubectl", append(b.etcdctl(), "endpoint", "status", "-w", "json")...)
		if err != nil {
			return err
		}
		var st []struct{ Status struct{ DbSize int64 } }
		if err := json.Unmarshal(out, &st); err != nil || len(st) != 1 {
			return fmt.Errorf("read etcd's size: %s", out)
		}
		missing := size - st[0].Status.DbSize
		if missing < 1<<20 {
			return nil
		}
		if time.Since(last) > 10*time.Second {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "  %d MiB to go\n", missing>>20)
		}
		// An object takes about 1.3 times its bytes in the database.
		for n := max(missing/2, 1<<20) / (64 * object); n > 0; n-- {
			if err := b.put(ctx, 64); err != nil {
				return err
			}
		}
	}
}

// object is the mean size of an object, as of pods in a busy cluster.
const object = 8 << 10

func (b *bench) put(ctx context.Context, n int) error {
	var ops []*pb.RequestOp
	for range n {
		b.filled++
		r := rand.New(rand.NewPCG(7, uint64(b.filled))) //nolint:gosec // data for a benchmark
		key := fmt.Sprintf("/bench/pods/namespace-%d/deployment-%x-%d", b.filled%97, r.Uint32(), b.filled)
		ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: etcdtest.Object(r, object/2+r.IntN(object))}}})
	}
	_, err := b.kv.Txn(ctx, &pb.TxnRequest{Success: ops})
	return err
}
