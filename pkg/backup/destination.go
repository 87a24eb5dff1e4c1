package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// destination opens the output before anything is made in the cluster.
func (r *run) destination(ctx context.Context) (*output, error) {
	// What goes elsewhere is compressed unless that is forbidden: it is less to send, and to pay for.
	compressed := r.cfg.Compress == CompressZstd || r.cfg.Compress == CompressAuto && (r.cfg.Store != nil || r.cfg.Encrypt.Any())
	if r.cfg.To == store.Stdout && r.cfg.Store == nil {
		out := &output{stdout: &interruptible{ctx: ctx, w: r.Stdout}, compressed: compressed}
		if !r.cfg.Encrypt.Any() || r.cfg.DryRun {
			return out, nil
		}
		w := streamed{out.stdout}
		p, err := newParcel(ctx, store.Stdout, r.cfg.Encrypt, nil, func(context.Context) (store.Writer, error) { return w, nil })
		out.parcel = p
		return out, err
	}
	extension := snapshot.None.Extension()
	if compressed {
		extension = snapshot.Zstd.Extension()
	}
	if r.cfg.Encrypt.Any() {
		extension += seal.Extension
	}
	name := snapshot.FileName(r.cfg.Context, r.cfg.Plane.Namespace, r.cfg.Plane.Name, r.started, extension)
	if r.cfg.Store != nil {
		switch r.name = r.cfg.To; {
		case r.name == "" || strings.HasSuffix(r.name, "/"):
			r.name += snapshot.PlaneName(r.cfg.Context, r.cfg.Plane.Namespace, r.cfg.Plane.Name) + "/" + name
		case !strings.Contains(path.Base(r.name), ".db"): // a folder is meant, mostly, and nobody would find it again
			return nil, &store.Error{What: "create " + r.cfg.Store.URL(r.name), Err: errors.New("a snapshot's name ends in .db, .db.zst, .db.age or .db.zst.age"), Way: "for a folder write " + r.cfg.Store.URL(r.name+"/")}
		}
		return r.openParcel(ctx)
	}
	file, err := store.Resolve(r.cfg.To, name)
	if err != nil {
		return nil, err
	}
	if !r.cfg.Encrypt.Any() {
		return openOutput(file, r.cfg, r.expected)
	}
	need := r.expected // the proof's share is elsewhere
	if compressed {
		need /= 3
	}
	if err := room(filepath.Dir(file), need); err != nil {
		return nil, err
	}
	r.cfg.Store, r.name = store.Folder(""), file
	return r.openParcel(ctx)
}

// openParcel begins an object, with a spool where there is room for one.
func (r *run) openParcel(ctx context.Context) (*output, error) {
	st := r.cfg.Store
	compressed, err := form(r.name, r.cfg)
	if err != nil {
		return nil, err
	}
	if r.cfg.DryRun {
		if !r.cfg.Force { // Create asks otherwise
			err = vacant(ctx, st, r.name)
		}
		return &output{planned: st.URL(r.name), compressed: compressed}, cmp.Or(err, r.sidecarPossible(ctx))
	}
	need := r.expected
	if compressed { // and unpacked beside itself for its proof
		need += r.expected / 3
	}
	var spool *store.Spool
	if free := store.Free(os.TempDir()); free >= 0 && need > free {
		if r.cfg.Prove == ProveFull {
			return nil, &store.Error{What: "keep the snapshot for its proof", Err: &ErrNoSpace{Folder: os.TempDir(), Need: need, Have: free}, Way: "name a folder with more room with TMPDIR, or prove only the stream: --prove=stream"}
		}
		r.warn("no room for a full proof: folder %s has %s free, and needs about %s (TMPDIR names another one); only the stream is proven", os.TempDir(), size(free), size(need))
	} else if r.cfg.Prove != ProveStream {
		if spool, err = store.NewSpool(); err != nil {
			return nil, err
		}
	}
	p, err := newParcel(ctx, st.URL(r.name), r.cfg.Encrypt, spool, func(ctx context.Context) (store.Writer, error) {
		return st.Create(ctx, r.name, store.CreateOptions{Size: r.expected, Replace: r.cfg.Force})
	})
	if err != nil {
		if spool != nil {
			_ = spool.Close()
		}
		return nil, err
	}
	if err := r.sidecarPossible(ctx); err != nil {
		p.abort()
		return nil, err
	}
	return &output{parcel: p, compressed: compressed}, nil
}

// sidecarPossible refuses a name beside which a sidecar is, or keys, or, where that may be replaced, something else that is called so.
func (r *run) sidecarPossible(ctx context.Context) error {
	if !r.cfg.Force {
		err := vacant(ctx, r.cfg.Store, snapshot.SidecarPath(r.name))
		if err == nil && r.cfg.WithKeys {
			err = vacant(ctx, r.cfg.Store, snapshot.KeysPath(r.name))
		}
		return err
	}
	_, err := stored.Sidecar(ctx, r.cfg.Store, r.name)
	return err
}

// vacant is an error where something has that name. Who may write need not read.
func vacant(ctx context.Context, st store.Store, name string) error {
	_, err := st.Stat(ctx, name)
	switch {
	case err == nil:
		return fmt.Errorf("create %s: %w", st.URL(name), store.ErrExists)
	case store.Missing(err), errors.Is(err, fs.ErrPermission):
		return nil
	}
	return err
}
