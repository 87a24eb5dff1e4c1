package rehearse

import (
	"context"
	"os/exec"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
)

// Tool is one of etcd's own programs.
type Tool struct {
	// Path is absolute; Version is what the program says of itself, such as 3.6.8.
	Path, Version string
}

// FindTool finds a program by its path or, with an empty one, by its name on the PATH, and asks it for its version with
// the argument that it has for that. The error is an ErrNoBinary.
func FindTool(ctx context.Context, path, name, versionArg string) (t Tool, err error) {
	if t.Path, err = findProgram(path, name); err != nil {
		return Tool{}, err
	}
	t.Version, err = programVersion(ctx, t.Path, versionArg)
	return t, err
}

// Run runs the tool to its end in the folder dir, with nothing of our environment that could configure it. It is killed
// when ctx ends, and on Unix systems also when this process does, however that comes about. The error has its last words.
func (t Tool) Run(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, t.Path, args...)
	cmd.Dir = dir
	cmd.Env = environment()
	return child.Run(cmd)
}
