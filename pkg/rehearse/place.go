package rehearse

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// makeDir makes the temporary folder. The snapshot's own folder is preferred, because the system's folder for temporary
// files is often in memory, and what is restored is as large as the snapshot.
func makeDir(c Config) (string, error) {
	const pattern = "etcd-rehearsal-*"
	parent := c.Dir
	if parent == "" {
		parent = filepath.Dir(c.Snapshot)
	}
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil && c.Dir == "" {
		dir, err = os.MkdirTemp("", pattern)
	}
	if err == nil {
		// The programs run in another folder than we do.
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("create temporary folder: %w", err)
	}
	return dir, nil
}

// socketFolder returns where etcd's sockets go, a folder that only our user can enter. It is not the one with the data
// where that can be avoided: a socket's path must be short, and not every file system has sockets.
func socketFolder(dir string) (string, error) {
	if runtime.GOOS == "windows" {
		return dir, nil // which has ports instead
	}
	temp, err := os.MkdirTemp("", "etcd-rehearsal-*")
	if err == nil {
		if temp, err = filepath.Abs(temp); err == nil && fitsSocket(temp) {
			return temp, nil
		}
		_ = os.Remove(temp)
	}
	// As in a pod with a read-only root.
	if fitsSocket(dir) {
		return dir, nil
	}
	return "", fmt.Errorf("create socket: neither %s nor %s will do: its path has to be short and plain; name another folder by TMPDIR", os.TempDir(), dir)
}

// maxSocketPath is below the limit of every system: 103 bytes on macOS, 107 on Linux.
const maxSocketPath = 100

// plainPath is what means the same as a path and in a URL.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

func fitsSocket(dir string) bool {
	return len(filepath.Join(dir, clientSocket)) <= maxSocketPath && plainPath.MatchString(dir)
}
