package store

import (
	"fmt"
	"os"
	"runtime"
)

// Spool is a file for the time being, of mode 0600. Where the system allows that, it has no name: a process that is killed leaves
// nothing.
type Spool struct {
	*os.File
	named bool
}

// NewSpool makes one in the system's folder for temporary files (TMPDIR).
func NewSpool() (*Spool, error) {
	f, err := os.CreateTemp("", "kubectl-etcd-")
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	return &Spool{f, os.Remove(f.Name()) != nil}, nil // Windows removes no open file
}

// Named says that it still has its name.
func (s *Spool) Named() bool { return s.named }

// Path is a name under which this process and those that it starts can open it; false where there is none.
func (s *Spool) Path() (string, bool) {
	if s.named {
		return s.Name(), true
	}
	if runtime.GOOS != "linux" {
		return "", false
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.Fd()), true
}

// Close gives its room back.
func (s *Spool) Close() error {
	err := s.File.Close()
	if s.named {
		_ = os.Remove(s.Name())
	}
	return err
}
