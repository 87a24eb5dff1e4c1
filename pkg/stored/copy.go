package stored

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Copy copies an object, its keys if it has any, and its sidecar, without which it is refused: nothing would say that it arrived whole.
// It returns the size.
func Copy(ctx context.Context, src store.Store, name string, dst store.Store, to string, progress func(done, total int64)) (int64, error) {
	side, err := Sidecar(ctx, src, name)
	if err != nil {
		return 0, err
	}
	info, err := src.Stat(ctx, name)
	if err != nil {
		return 0, err
	}
	if side == nil {
		return 0, &store.Error{What: "copy " + src.URL(name), Err: fmt.Errorf("it has no sidecar, %s, to compare it with", path.Base(snapshot.SidecarPath(name))), Way: "prove it first: kubectl etcd verify"}
	}
	w, err := dst.Create(ctx, to, store.CreateOptions{Size: info.Size})
	if errors.Is(err, store.ErrExists) {
		return 0, &store.Error{What: "copy " + src.URL(name), Err: err, Way: "choose another name"}
	}
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	beside, err := besides(ctx, src, name, side, to)
	if err != nil {
		return 0, err
	}
	for _, b := range beside {
		if _, err := dst.Stat(ctx, b.name); err == nil {
			return 0, &store.Error{What: "create " + dst.URL(b.name), Err: store.ErrExists, Way: "choose another name"}
		}
	}
	r := store.Patience.Read(ctx, src, info, nil)
	defer func() { _ = r.Close() }()
	c := &counted{ctx: ctx, r: r, h: sha256.New(), total: info.Size, told: progress}
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, c, make([]byte, 1<<20))
	if err != nil {
		return 0, err
	}
	if sum := hex.EncodeToString(c.h.Sum(nil)); sum != side.SHA256 || n != side.Size {
		return 0, &store.Error{What: "copy " + src.URL(name), Err: fmt.Errorf("it has %d bytes with sha256 %s, and its sidecar says %d with %s: it is not what was written", n, sum, side.Size, side.SHA256)}
	}
	copied, err := w.Commit(ctx)
	if err != nil {
		return 0, err
	}
	return n, place(ctx, dst, copied, to, beside)
}

// small is an object that lies beside a snapshot.
type small struct {
	name string
	data []byte
}

// besides are what lies beside a snapshot, under the names beside its copy: its keys, if it has any, and last its sidecar.
func besides(ctx context.Context, src store.Store, name string, side *snapshot.Sidecar, to string) (out []small, err error) {
	if side.Keys != nil {
		keys, err := sealedKeys(ctx, src, name, side)
		if err != nil {
			return nil, err
		}
		out = append(out, small{snapshot.KeysPath(to), keys})
	}
	named := *side
	named.File = path.Base(strings.ReplaceAll(to, "\\", "/"))
	data, err := named.Encode()
	return append(out, small{snapshot.SidecarPath(to), data}), err
}

// place puts all of them beside a copy, or takes the copy away, which would be incomplete for ever.
func place(ctx context.Context, dst store.Store, copied store.Info, to string, all []small) error {
	made := []string{to}
	for _, b := range all {
		_, err := store.Put(ctx, dst, b.name, b.data, false)
		if err == nil {
			made = append(made, b.name)
			continue
		}
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if now, serr := dst.Stat(dctx, to); serr == nil && now.Version == copied.Version {
			for _, name := range made {
				err = errors.Join(err, dst.Delete(dctx, name))
			}
		}
		return err
	}
	return nil
}
