package keys

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

const (
	// mostBytes bounds what is read of a node: it is held in memory. Keys are kilobytes.
	mostBytes = 32 << 20
	// unnamedBytes is where a file that no flag names is no key: a log, a copy of a database.
	unnamedBytes = 1 << 20
)

// entry is one of the archive.
type entry struct {
	frame.File        // Path is the archive's
	data       []byte // of a regular file
}

// nodeRead is what came of reading a node: its files, or an error. left is what could not be removed from it.
type nodeRead struct {
	files   []entry
	skipped []skipped
	bytes   int64
	err     error
	left    error
}

// skipped is a file that no flag names and that is not saved.
type skipped struct{ path, why string }

// read reads the files of a node. The pod goes before it returns.
func (r *nodeRead) read(ctx context.Context, c *reach.Clients, n Node, data []string, o reach.Options) {
	f, err := reach.OpenFiles(ctx, c, n.beside, n.Paths, o)
	if err != nil {
		r.err = err
		return
	}
	defer func() { r.left = reach.Release(ctx, f) }()
	for _, p := range n.Paths {
		list, err := f.List(ctx, p.Path)
		if err != nil {
			r.err = err
			return
		}
		for _, file := range list {
			ofData := slices.ContainsFunc(data, func(d string) bool { return within(file.Path, d) })
			if ofData && !n.named[file.Path] {
				continue
			}
			if r.err = r.take(ctx, f, file, n.named[file.Path]); r.err != nil {
				return
			}
		}
	}
	for file := range n.named {
		if target, ok := resolve(r.files, "", file); !ok {
			r.err = fmt.Errorf("read %s: %s is not among the files of the node's folder", file, target)
			return
		}
	}
}

// take reads a file. One that is named must be read.
func (r *nodeRead) take(ctx context.Context, f *reach.Files, file frame.File, named bool) (err error) {
	e := entry{File: file}
	if file.Mode.IsRegular() {
		if !named && file.Size > unnamedBytes {
			r.skipped = append(r.skipped, skipped{file.Path, fmt.Sprintf("it has more than %d MiB", unnamedBytes>>20)})
			return nil
		}
		if r.bytes += file.Size; r.bytes > mostBytes {
			return fmt.Errorf("read %s: there are more than %d MiB beside the keys", file.Path, mostBytes>>20)
		}
		e.data, err = f.Read(ctx, file)
		if err != nil && !named && ctx.Err() == nil {
			r.skipped = append(r.skipped, skipped{file.Path, err.Error()})
			return nil
		}
	}
	r.files = append(r.files, e)
	return err
}

// resolve follows links from one file of a node to the next, as far as they lead to files that were read. The files' paths are below
// root, the names are the node's.
func resolve(files []entry, root, name string) (string, bool) {
	for range 8 {
		i := slices.IndexFunc(files, func(e entry) bool { return e.Path == root+name })
		if i < 0 {
			return name, false
		}
		link := files[i].Link
		if files[i].Mode&fs.ModeSymlink == 0 {
			return name, true
		}
		if name = path.Join(path.Dir(name), link); path.IsAbs(link) {
			name = path.Clean(link)
		}
	}
	return name, false
}
