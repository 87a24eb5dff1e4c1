//go:build unix

package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadSidecarNoFile: a pipe would block whoever opens it for ever, an interrupt notwithstanding.
func TestReadSidecarNoFile(t *testing.T) {
	t.Parallel()
	for name, create := range map[string]func(path string) error{
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"device": func(path string) error { return os.Symlink(os.DevNull, path) },
	} {
		path := filepath.Join(t.TempDir(), "a.db")
		if err := create(SidecarPath(path)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSidecar(path); !errors.Is(err, ErrInvalidSidecar) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
