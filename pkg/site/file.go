package site

import (
	"fmt"
	"os"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// JournalFile reads a journal that a client has left on its own disk; nil where name is no file.
func JournalFile(name string) (*plan.Operation, *Shared, error) {
	if name == "" {
		return nil, nil, nil
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return nil, nil, nil //nolint:nilerr // it is an operation's name
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	o, err := operation.Decode(b)
	if err != nil {
		return nil, nil, fmt.Errorf("read journal %s: %w", name, err)
	}
	sh, err := ReadShared(o)
	return o, sh, err
}
