package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

// bucket is where backups go.
const bucket = "s3://backups/bench/"

// serveS3 starts an S3 gateway over a folder, on this machine: it takes its share of the processors.
func (b *bench) serveS3(ctx context.Context) (stop func(), err error) {
	root, metadata := filepath.Join(b.dir, "s3"), filepath.Join(b.dir, "meta")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "backups"), 0o700), os.MkdirAll(metadata, 0o700)); err != nil {
		return nil, err
	}
	b.s3, stop, err = storetest.ServeS3(ctx, root, metadata)
	return stop, err
}

// stores are ways into a bucket: ours, and what operators do today.
func (b *bench) stores() []way {
	return []way{
		b.stored("kubectl etcd backup --to s3://"),
		{"today: `snapshot save`, `kubectl cp`, then the upload", func(ctx context.Context, b *bench, s *sample) error {
			to := filepath.Join(b.dir, "cp.db")
			defer func() { _ = os.Remove(to) }()
			if err := b.copied(ctx, s, to); err != nil {
				return err
			}
			defer b.empty()
			_, err := b.step(ctx, s, "curl", "-fsS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", storetest.AccessKey+":"+storetest.SecretKey, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", to, b.s3+"/backups/by-hand.db")
			return err
		}},
	}
}

func (b *bench) stored(name string) way {
	w := b.plugged(name, "--via=agent", "--to", bucket, "--s3-endpoint", b.s3)
	run := w.run
	w.run = func(ctx context.Context, b *bench, s *sample) error {
		defer b.empty()
		return run(ctx, b, s)
	}
	return w
}

// empty makes room for the next one.
func (b *bench) empty() { _ = os.RemoveAll(filepath.Join(b.dir, "s3", "backups", "bench")) }
