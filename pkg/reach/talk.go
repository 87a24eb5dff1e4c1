package reach

import (
	"context"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// talk is how one agent is spoken with. It is told once where that agent is, how it is started and which one it has to
// be; what is asked of it through a talk need not know.
type talk struct {
	exec   *podexec.Client
	target podexec.Target
	argv   []string
	sha256 string // of the agent; nothing is asked of another one
}

// call holds one proven conversation; the agent that is expected is set here.
func (t *talk) call(ctx context.Context, name string, body any, o podexec.CallOptions) (*podexec.Reply, error) {
	o.ExpectAgent = t.sha256
	return t.exec.Call(ctx, t.target, t.argv, podexec.Request{Name: name, Body: body}, o)
}

// copyTo uploads a file, and goes on where a link was cut; progress may be nil.
func (t *talk) copyTo(ctx context.Context, src io.ReaderAt, size int64, path string, progress func(done, total int64)) error {
	_, err := t.exec.CopyTo(ctx, t.target, t.argv, src, size, path, podexec.CopyOptions{ExpectAgent: t.sha256, Progress: progress})
	return err
}
