package keys

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// Write writes all as a tar: what nodes have below nodes/NODE, with modes and owners as they have them, and what Secrets have below
// secrets/NAMESPACE/NAME.
func (c *Collection) Write(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, e := range c.entries {
		h := &tar.Header{Format: tar.FormatPAX, Name: e.Path, Mode: int64(e.Mode.Perm()), Uid: e.UID, Gid: e.GID, ModTime: e.ModTime}
		switch {
		case e.Mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
		case e.Mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.data))
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("pack %s: %w", e.Path, err)
		}
		if _, err := t.Write(e.data); err != nil {
			return fmt.Errorf("pack %s: %w", e.Path, err)
		}
	}
	return t.Close()
}

// Groups are what can be extracted apart.
var Groups = []string{"pki", "encryption", "manifests", "other"}

func group(k snapshot.Key) string {
	switch k.Kind {
	case snapshot.KeyCertificate, snapshot.KeyPrivate, snapshot.KeyPublic:
		return "pki"
	case snapshot.KeyEncryption:
		return "encryption"
	case snapshot.KeyManifest:
		return "manifests"
	}
	return "other"
}

// inGroups says whether a key is in one of them; no groups are all.
func inGroups(k snapshot.Key, groups []string) bool {
	return len(groups) == 0 || slices.Contains(groups, group(k))
}

// Extract unpacks an archive into a folder that does not exist yet, which appears when all of it is there. Only its owner can read
// what is in it, whatever the modes were. It returns how many files there are.
func Extract(r io.Reader, folder string, groups []string) (n int, err error) {
	folder = filepath.Clean(folder)
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return 0, fmt.Errorf("create folder %s: %w", folder, err)
	}
	part, err := os.MkdirTemp(filepath.Dir(folder), "."+filepath.Base(folder)+".*.part") // 0700
	if err != nil {
		return 0, fmt.Errorf("create folder %s: %w", folder, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	root, err := os.OpenRoot(part) // no name and no link leads out of it
	if err != nil {
		return 0, err
	}
	n, err = unpack(tar.NewReader(r), root, groups)
	if err = errors.Join(err, root.Close()); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("extract keys: there are none of these: %s", strings.Join(groups, ", "))
	}
	if err := os.Rename(part, folder); err != nil {
		return 0, fmt.Errorf("create folder %s: %w", folder, err)
	}
	return n, nil
}

func unpack(t *tar.Reader, root *os.Root, groups []string) (n int, err error) {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("extract keys: %w", err)
		}
		name := filepath.FromSlash(path.Clean(h.Name))
		switch h.Typeflag {
		case tar.TypeSymlink:
			if len(groups) > 0 || runtime.GOOS == "windows" { // where that is a privilege
				continue
			}
			err = errors.Join(root.MkdirAll(filepath.Dir(name), 0o700), root.Symlink(h.Linkname, name))
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(t); err != nil {
				return n, fmt.Errorf("extract %s: %w", h.Name, err)
			}
			if !inGroups(describe(data), groups) {
				continue
			}
			n++
			err = errors.Join(root.MkdirAll(filepath.Dir(name), 0o700), write(root, name, data))
		}
		if err != nil {
			return n, fmt.Errorf("extract %s: %w", h.Name, err)
		}
	}
}

func write(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
