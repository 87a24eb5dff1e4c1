package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// cuttable is a member behind a link that can be cut, with enough data that a cut comes in the middle.
func cuttable(t *testing.T) *etcdtest.Proxy {
	t.Helper()
	c := cluster(t, "3.6")
	c.PutBytes(t, 16<<20)
	return etcdtest.NewProxy(t, c.Members[0].Endpoint)
}

func TestCutIsBegunAnew(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	for _, compress := range []backup.Compress{backup.CompressAuto, backup.CompressZstd} {
		p.CutAfter(3<<20, 2)
		l := &listener{}
		cfg := config(t, p.Endpoint)
		cfg.Compress = compress
		r, err := run(t, cfg, l)
		if err != nil || r.Attempts != 3 || len(l.warnings) != 2 || !strings.Contains(l.warnings[0], "attempt 1 of 3") {
			t.Fatalf("%+v, %v, %q", r, err, l.warnings)
		}
		proven(t, etcdtest.Find(t, "3.6"), r)
		empty(t, cfg.To, filepath.Base(r.File), filepath.Base(r.Sidecar))
	}
}

func TestCutTooOften(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	p.CutAfter(3<<20, 100)
	cfg := config(t, p.Endpoint)
	if r, err := run(t, cfg, &listener{}); !errors.Is(err, etcd.ErrCut) || !strings.Contains(err.Error(), p.Endpoint) {
		t.Errorf("%+v, %v", r, err)
	}
	if p.Left() != 97 {
		t.Errorf("%d attempts were made", 100-p.Left())
	}
	empty(t, cfg.To)
}

// What was written to a pipe cannot be taken back.
func TestCutStdoutIsNotRepeated(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	p.CutAfter(8<<20, 1)
	cfg := config(t, p.Endpoint)
	cfg.To = store.Stdout
	var out bytes.Buffer
	if r, err := backup.Run(t.Context(), deps(&listener{}, &out), cfg); !errors.Is(err, etcd.ErrCut) || out.Len() == 0 {
		t.Errorf("%+v, %v, %d bytes came", r, err, out.Len())
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 16<<20)
	for _, compress := range []backup.Compress{backup.CompressAuto, backup.CompressZstd} {
		cfg := config(t, endpoints(c)...)
		cfg.To, cfg.Compress, cfg.Force = filepath.Join(cfg.To, "x.db"), compress, true
		if compress == backup.CompressZstd {
			cfg.To += ".zst"
		}
		if err := os.WriteFile(cfg.To, []byte("yesterday's"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		l := &listener{onProgress: func(int64, int64, int64) {
			if seen++; seen == 2 {
				cancel()
			}
		}}
		_, err := backup.Run(ctx, deps(l, io.Discard), cfg)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		empty(t, filepath.Dir(cfg.To), filepath.Base(cfg.To))
		if b, _ := os.ReadFile(cfg.To); string(b) != "yesterday's" {
			t.Error("the old file is not what it was")
		}
	}
}
