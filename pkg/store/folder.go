package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Folder is a store of files below a folder; with an empty one names are paths.
type Folder string

func (d Folder) path(name string) string {
	if d == "" {
		return filepath.FromSlash(name)
	}
	return filepath.Join(string(d), filepath.FromSlash(name))
}

// URL is the file's path.
func (d Folder) URL(name string) string { return d.path(name) }

type folderWriter struct {
	*File
	name string
}

// Create begins a file as NAME.part, in a folder that is there; folders below the store's own are made.
func (d Folder) Create(_ context.Context, name string, o CreateOptions) (Writer, error) {
	path := d.path(name)
	if d != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("create folder %s: %w", filepath.Dir(path), reason(err))
		}
	}
	f, err := Create(path, o.Replace)
	if err != nil {
		return nil, err
	}
	return &folderWriter{f, name}, nil
}

func (w *folderWriter) Commit(ctx context.Context) (Info, error) {
	if ctx.Err() != nil {
		return Info{}, context.Cause(ctx)
	}
	if err := w.File.Commit(); err != nil {
		return Info{}, err
	}
	info, err := os.Stat(w.Path())
	if err != nil {
		return Info{}, fmt.Errorf("write %s: %w", w.Path(), reason(err))
	}
	return fileInfo(w.name, info), nil
}

func fileInfo(name string, info fs.FileInfo) Info {
	return Info{Name: filepath.ToSlash(name), Size: info.Size(), Changed: info.ModTime(), Version: fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())}
}

// Open reads a regular file.
func (d Folder) Open(ctx context.Context, name string, offset int64, version string) (io.ReadCloser, error) {
	now, err := d.Stat(ctx, name) // before it is opened: opening a pipe would block
	if err != nil {
		return nil, err
	}
	if version != "" && now.Version != version {
		return nil, fmt.Errorf("read %s: %w", d.path(name), ErrChanged)
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.path(name), reason(err))
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", d.path(name), reason(err)), f.Close())
	}
	return f, nil
}

// Stat finds a regular file.
func (d Folder) Stat(_ context.Context, name string) (Info, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return Info{}, fmt.Errorf("read %s: %w", d.path(name), reason(err))
	}
	if !info.Mode().IsRegular() {
		return Info{}, fmt.Errorf("read %s: not a regular file", d.path(name))
	}
	return fileInfo(name, info), nil
}

// List walks the folder; what is being written, and what is no regular file, is not there.
func (d Folder) List(ctx context.Context, prefix string, each func(Info) error) error {
	root := string(d)
	if root == "" {
		root = "."
	}
	if resolved, err := filepath.EvalSymlinks(root); err == nil { // a root that is a link is not followed otherwise
		root = resolved
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if path != root && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) { // lost+found
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", path, reason(err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !entry.Type().IsRegular() || strings.HasSuffix(path, partSuffix) {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); !strings.HasPrefix(name, prefix) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", path, reason(err))
		}
		return each(fileInfo(name, info))
	})
}

// Delete removes a file.
func (d Folder) Delete(_ context.Context, name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", d.path(name), reason(err))
	}
	return nil
}
