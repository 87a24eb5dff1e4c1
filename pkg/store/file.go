// Package store is where snapshots are put. A file gets its name only when it
// is complete: until then it is NAME.part, locked by whoever writes it.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// partSuffix is what a file is called behind its name until it is complete.
const partSuffix = ".part"

// Stdout is the destination that means standard output.
const Stdout = "-"

var (
	// ErrExists says that the destination is there already.
	ErrExists = errors.New("file exists")
	// ErrBusy says that another process writes the same destination.
	ErrBusy = errors.New("another backup is writing this file")
)

// Resolve turns what the user named into a file: a folder, or a name that ends
// in a slash, gets name put behind it. The folder has to exist.
func Resolve(to, name string) (string, error) {
	path := to
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		path = filepath.Join(to, name)
	} else if strings.HasSuffix(to, "/") || strings.HasSuffix(to, string(filepath.Separator)) {
		return "", fmt.Errorf("open folder %s: %w", to, fs.ErrNotExist)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("open folder %s: %w", filepath.Dir(path), reason(err))
	} else if !info.IsDir() {
		return "", fmt.Errorf("open folder %s: not a folder", filepath.Dir(path))
	}
	return path, nil
}

// reason drops the operation and path that an error already speaks of.
func reason(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

// File is a file that is being written. Exactly one of Commit and Abort ends it.
type File struct {
	*os.File
	info  os.FileInfo // which file it is, known also when it is closed
	path  string
	force bool
}

// Check says whether Create would refuse path, without making anything.
func Check(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("create %s: %w", path, ErrExists)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("create %s: not a regular file", path)
	}
	return nil
}

// Create begins path. Unless force is set an existing one is refused, now and
// again at Commit. What a killed client left as NAME.part is used anew.
func Create(path string, force bool) (*File, error) {
	if err := Check(path, force); err != nil {
		return nil, err
	}
	part := path + partSuffix
	if info, err := os.Lstat(part); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("create %s: not a regular file", part)
	}
	for {
		f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("create %s: %w", part, reason(err))
		}
		if err := lock(f); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
		// Between open and lock the other writer may have given the file its
		// final name: then this is a finished backup, not ours to write.
		info, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("create %s: %w", part, reason(err))
		}
		if same(info, part) {
			if err := errors.Join(f.Chmod(0o600), f.Truncate(0)); err != nil {
				_ = f.Close()
				return nil, fmt.Errorf("create %s: %w", part, err)
			}
			return &File{File: f, info: info, path: path, force: force}, nil
		}
		_ = f.Close()
	}
}

func same(info os.FileInfo, path string) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(info, there)
}

// Path is the name that the file gets at Commit.
func (f *File) Path() string { return f.path }

// Commit makes the file durable, then gives it its name, then makes the name
// durable. After an error there is no part, and no file where there was none
// before; what a forced file has replaced already cannot be had back, so then
// the new one stays.
func (f *File) Commit() error {
	if err := f.commit(); err != nil {
		f.Abort()
		if !f.force && same(f.info, f.path) {
			_ = os.Remove(f.path)
		}
		return fmt.Errorf("write %s: %w", f.path, reason(err))
	}
	return nil
}

func (f *File) commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := publish(f.File, f.path, f.force); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

// Abort removes what was written; what was there before stays. After Commit,
// successful or not, it does nothing.
func (f *File) Abort() {
	// While the lock is held, so that another writer's part is never removed.
	removed := same(f.info, f.Name()) && os.Remove(f.Name()) == nil
	_ = f.Close()
	if !removed && same(f.info, f.Name()) {
		_ = os.Remove(f.Name()) // Windows removes no open file
	}
}
